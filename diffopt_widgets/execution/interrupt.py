"""Interrupt: Ctrl-C and the kernel's "Interrupt" stop a training between two steps, so that it can go on later."""

from __future__ import annotations

import contextlib
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

_PACKAGE = __name__.partition(".")[0] + "."


class Interrupt:
    """Has SIGINT call `stop`, besides what it does otherwise.

    A kernel ignores the signal while no cell runs, and sets a handler of its own for each cell, which it removes again. So
    `watch` is called many times while something trains, and `release` at its end. In another thread than the main one,
    where Python allows no handlers, both do nothing.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._handlers: list[_Handler] = []

    def watch(self) -> None:
        """Make sure that the next SIGINT calls `stop`."""
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGINT)
        if before is None or any(handler.stop is self._stop for handler in _chain(before)):
            return  # None: not set from Python, so it could not be set back
        while isinstance(before, _Handler) and before.stop is None:
            before = before.before
        self._handlers.append(_Handler(self._stop, before))
        signal.signal(signal.SIGINT, self._handlers[-1])

    def release(self) -> None:
        """Leave SIGINT as it was; a kernel may set the handler once more at the end of a cell, and it then does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        for handler in self._handlers:  # also one that a kernel keeps, to set it again
            handler.stop = None
        self._handlers.clear()
        current = signal.getsignal(signal.SIGINT)
        while isinstance(current, _Handler) and current.stop is None:
            current = current.before
            signal.signal(signal.SIGINT, current)


class _Handler:
    """Signal handler that calls `stop`, if there is one, and then what it replaced."""

    def __init__(self, stop: Callable[[], None], before: Any) -> None:  # Any: a function or one of signal's two numbers
        self.stop: Callable[[], None] | None = stop
        self.before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.stop is not None:
            self.stop()
        if callable(self.before):
            self.before(number, frame)
        elif self.before == signal.SIG_DFL:
            signal.default_int_handler(number, frame)


def _chain(handler: Any) -> list[_Handler]:  # Any: as above
    """Return the handlers of this module, from the one in use to the first."""
    found = []
    while isinstance(handler, _Handler):
        found.append(handler)
        handler = handler.before
    return found


@contextlib.contextmanager
def interrupt_held_back() -> Iterator[Callable[[], bool]]:
    """Hold back the first SIGINT; the function that it yields says whether it has come. The next one acts as always.

    In another thread than the main one, or where the signal is ignored, nothing is held back.
    """
    before = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if not callable(before):
        yield lambda: False
        return
    came = False

    def hold_back(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            before(number, frame)
            return
        came = True
        if before is not signal.default_int_handler:  # a handler of the user's, or of a bench that trains too
            with contextlib.suppress(KeyboardInterrupt):
                before(number, frame)

    def let_go() -> None:
        if signal.getsignal(signal.SIGINT) is hold_back:
            signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, hold_back)
    try:
        yield lambda: came
    finally:
        try:
            let_go()
        except KeyboardInterrupt:  # the second one comes at this very moment
            let_go()
            raise


_Loop = tuple[FrameType, CodeType, int]
_interrupted: _Loop | None = None


def end_interrupted_loop() -> None:
    """End a loop over trainings when the one before was interrupted, and otherwise do nothing.

    A training that was interrupted is returned, so that it can go on. A loop around it would begin the next one at once.

    Raises:
        KeyboardInterrupt: the last interrupted training was called from the same place in the same loop.
    """
    global _interrupted  # there is one SIGINT in a process
    last, _interrupted = _interrupted, None
    if last is not None and _same(last, _loop_around()):
        raise KeyboardInterrupt("the training before this one was interrupted, which ends the loop")


def note_interrupted() -> None:
    """Note that the training that is being carried out was interrupted, for `end_interrupted_loop`."""
    global _interrupted  # noqa: PLW0603  # there is one SIGINT in a process
    _interrupted = _loop_around()


def _same(one: _Loop, other: _Loop | None) -> bool:
    return other is not None and all(a is b for a, b in zip(one[:2], other[:2], strict=True)) and one[2] == other[2]


def _loop_around() -> _Loop | None:
    """Return the place that called this package: its code and instruction, and the outermost frame of the same cell or file."""
    caller: FrameType | None = inspect.currentframe()
    while caller is not None and str(caller.f_globals.get("__name__")).startswith(_PACKAGE):
        caller = caller.f_back
    if caller is None:
        return None
    outermost = caller
    while outermost.f_back is not None and outermost.f_back.f_globals is caller.f_globals:
        outermost = outermost.f_back
    return outermost, caller.f_code, caller.f_lasti
