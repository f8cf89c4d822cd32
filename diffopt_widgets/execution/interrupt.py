"""Interrupt: the kernel's "Interrupt" stops a training on the event loop, also while no cell runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupt:
    """Has SIGINT call `stop`, besides what it does otherwise.

    A kernel ignores the signal while no cell runs, and sets a handler of its own for each cell, which it removes again. So
    `watch` is called many times while something trains, and `release` at its end. In another thread than the main one,
    where Python allows no handlers, both do nothing.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def watch(self) -> None:
        """Make sure that the next SIGINT calls `stop`."""
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGINT)
        if before is None or any(handler.stop is self._stop for handler in _chain(before)):
            return  # None: not set from Python, so it could not be set back
        while isinstance(before, _Handler) and before.stop is None:
            before = before.before
        signal.signal(signal.SIGINT, _Handler(self._stop, before))

    def release(self) -> None:
        """Leave SIGINT as it was; a kernel may set the handler once more at the end of a cell, and it then does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        current = signal.getsignal(signal.SIGINT)
        for handler in _chain(current):
            if handler.stop is self._stop:
                handler.stop = None
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
