"""Session: carries out runs one after the other on the kernel's own event loop, so that buttons answer meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from diffopt_widgets.execution.driver import drive
from diffopt_widgets.execution.interrupt import Interrupt
from diffopt_widgets.plain_text import printable
from diffopt_widgets.runs.run import Run

if TYPE_CHECKING:
    from diffopt_widgets.store import RunSaver

SLICE_SECONDS = 0.05
"""Longest time for which training holds the event loop at once."""

_log = logging.getLogger(__name__)

_sessions: weakref.WeakSet[Session] = (
    weakref.WeakSet()
)  # of the process: a notebook forgets a bench whose cell is run again


def sessions_in_progress() -> list[Session]:
    """Return the sessions of this process that train, are paused or have runs waiting."""
    return [session for session in _sessions if session.busy and session.has_loop]


class Session:
    """Queue of runs that train in turn. `start`, `pause`, `resume` and `stop` only set flags, so any thread may call them.

    An interrupt of the kernel stops it like `stop`, also while no cell runs.

    Args:
        on_change: called on the event loop with a run that has new records or another status, and once more when an ended
            run is no longer `current`. For runs that `stop` drops it is called while the stopped run is still `current`, so
            that the last call is about the stopped run.
        loop: the event loop to train on; the running one when not given.

    Raises:
        RuntimeError: there is no running event loop (a plain script: use `train()` there).
    """

    def __init__(self, on_change: Callable[[Run], None], loop: asyncio.AbstractEventLoop | None = None) -> None:
        try:
            self._loop = loop or asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "there is no running event loop here, as in a notebook; use train() or sweep()"
            ) from None
        self._listeners = [on_change]
        self._savers: weakref.WeakKeyDictionary[Run, RunSaver] = weakref.WeakKeyDictionary()
        self._interrupt = Interrupt(self.stop)
        self._waiting: deque[Run] = deque()
        self._dropped: deque[Run] = deque()
        self._batches: list[tuple[weakref.ref[Run], ...]] = []
        """Runs that were started together, for those that have not all ended, and the last ones. Who shows them holds them."""
        self._latest: weakref.ref[Run] | None = None
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self._to_stop: Run | None = None
        self.current: Run | None = None
        """The run in progress."""
        self.owner: object = None
        """The bench that ends these runs when it is closed: the last one that took them over."""
        _sessions.add(self)

    @property
    def busy(self) -> bool:
        """True when a run is in progress, paused or waiting."""
        return self.current is not None or bool(self._waiting)

    @property
    def has_loop(self) -> bool:
        """True when the event loop that it trains on is running."""
        return self._loop.is_running()

    @property
    def waiting(self) -> int:
        """Number of runs that wait for their turn."""
        return len(self._waiting)

    @property
    def paused(self) -> bool:
        """True when the run in progress has been asked to pause."""
        return self._paused

    @property
    def runs(self) -> list[Run]:
        """The run in progress and those that wait."""
        return [*([self.current] if self.current else []), *self._waiting]

    @property
    def together(self) -> tuple[Run, ...]:
        """The latest run, and all that were started together with it."""
        return next((runs for runs in map(_alive, self._batches) if self.latest in runs), ())

    @property
    def latest(self) -> Run | None:
        """The run in progress, or the last one that was; from a start on after a rest, the first one that was started then."""
        return self._latest() if self._latest else None

    def listen(self, on_change: Callable[[Run], None]) -> None:
        """Call `on_change` too from now on."""
        self._listeners.append(on_change)

    def saver_of(self, run: Run) -> RunSaver | None:
        """Return the saver with which a run was started here."""
        return self._savers.get(run)

    def start(self, runs: Iterable[Run], saver: RunSaver | None = None) -> None:
        """Carry out these runs after those that are waiting, and save them; a stopped run continues where it was.

        Raises:
            ValueError: one of them is over or in progress; then none is started.
        """
        added = list(runs)
        for place, run in enumerate(added):
            queued = run is self.current or run in self._waiting or run in added[:place]
            if queued or not run.can_begin:
                state = "in progress or waiting already" if queued else f"{run.status} and cannot go on"
                raise ValueError(printable(f"{run.name} is {state}; make a new Run of its plan to train it again"))
        for run in added:
            run.queue()
            if saver is not None:
                self._savers[run] = saver
        if added and not self.busy:
            self._latest = weakref.ref(added[0])
        self._waiting.extend(added)
        self._note_together(tuple(added))
        self._loop.call_soon_threadsafe(self._begin)

    def pause(self) -> None:
        """Pause the run in progress after its current step; do nothing when there is none."""
        self._paused = self.busy

    def resume(self) -> None:
        """Continue a paused run."""
        self._paused = False

    def stop(self) -> None:
        """End the run in progress after its current step, and drop the waiting runs; runs started later are not affected."""
        self._to_stop = self.current
        self._paused = False
        while self._waiting:
            run = self._waiting.popleft()
            taken = len(run.history)  # a run with steps has a message on how far it came
            run.end("stopped", None if taken else "Not started: stopped before its turn")
            self._dropped.append(run)
        self._loop.call_soon_threadsafe(self._report_dropped)

    async def wait(self) -> None:
        """Return when nothing is in progress or waiting any more, and all of it was reported."""
        while self.busy or self._dropped:
            await asyncio.sleep(0.01)

    def _note_together(self, added: tuple[Run, ...]) -> None:
        """Note runs that are started together; one that continues belongs to those with which it was started first."""
        batches = list(map(_alive, self._batches))
        batch = next((batch for batch in batches if set(added) <= set(batch)), added)
        going = [
            other
            for other in batches
            if other is not batch and (self.latest in other or any(not run.ended for run in other))
        ]
        self._batches = [tuple(map(weakref.ref, runs)) for runs in (*going, batch)]

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._work())

    async def _work(self) -> None:
        try:
            await self._train_all()
        finally:
            self._interrupt.release()

    async def _train_all(self) -> None:
        while self._waiting:
            run = self.current = self._waiting.popleft()
            self._latest = weakref.ref(run)
            try:
                await self._train(run)
            except (KeyboardInterrupt, SystemExit):  # "Interrupt kernel" stops the run; it must not end the event loop
                self.stop()
            except Exception:  # noqa: BLE001  # the waiting runs must have their turn
                _log.exception("%s failed", run.name)
                run.fail("The bench itself failed", traceback.format_exc())
            finally:
                self._report_dropped()  # before the report on the stopped run, which a person waits for
                self.current = None
                if self._to_stop is run:
                    self._to_stop = None  # the same run may be started again
                self._report(run)
        self._paused = False

    async def _train(self, run: Run) -> None:
        self._interrupt.watch()
        steps = drive(run, on_publish=self._report)
        self._report(run)
        slice_began = time.perf_counter()
        try:
            for _ in steps:
                if self._paused:
                    await self._wait_while_paused(run)
                if self._to_stop is run:
                    return
                if time.perf_counter() - slice_began >= SLICE_SECONDS:
                    await asyncio.sleep(0)
                    self._interrupt.watch()
                    slice_began = time.perf_counter()
        finally:
            steps.close()

    async def _wait_while_paused(self, run: Run) -> None:
        run.pause()
        self._report(run)
        while self._paused:
            await asyncio.sleep(0.02)
            self._interrupt.watch()
        run.unpause()
        self._report(run)

    def _report_dropped(self) -> None:
        while self._dropped:
            self._report(self._dropped.popleft())

    def _report(self, run: Run) -> None:
        saver, shown = self._savers.get(run), True
        if saver is not None:
            with _logged(run):
                shown = saver.save(run)
        for listener in self._listeners if shown else ():
            with _logged(run):
                listener(run)


@contextlib.contextmanager
def _logged(run: Run) -> Iterator[None]:
    """Log a fault in store or display, which must not end the training."""
    try:
        yield
    except Exception:  # noqa: BLE001
        _log.exception("the display of %s failed", run.name)


def _alive(batch: tuple[weakref.ref[Run], ...]) -> tuple[Run, ...]:
    return tuple(run for held in batch if (run := held()) is not None)
