"""Session: carries out runs one after the other on the kernel's own event loop, so that buttons answer meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable

from diffopt_widgets.execution.driver import drive
from diffopt_widgets.runs.run import Run

SLICE_SECONDS = 0.05
"""How long training may hold the event loop at a time."""

_log = logging.getLogger(__name__)


class Session:
    """Runs in turn: `start`, `pause`, `resume`, `stop` only set flags, so any callback or thread may call them.

    Args:
        on_change: called on the event loop with a run when it has new records or another status; when a run has ended,
            once more as soon as it is no longer `current`. Runs that `stop` drops are told while the stopped one still is
            `current`, so that its own end is told last.
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
        self._on_change = on_change
        self._waiting: deque[Run] = deque()
        self._dropped: deque[Run] = deque()
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self._to_stop: Run | None = None
        self.current: Run | None = None
        """The run in progress."""

    @property
    def busy(self) -> bool:
        """Whether a run is in progress, paused or waiting."""
        return self.current is not None or bool(self._waiting)

    @property
    def waiting(self) -> int:
        """How many runs wait for their turn."""
        return len(self._waiting)

    @property
    def paused(self) -> bool:
        """Whether the run in progress is asked to wait."""
        return self._paused

    def start(self, runs: Iterable[Run]) -> None:
        """Carry out these runs after those that are waiting; a stopped one goes on where it was.

        Raises:
            ValueError: one of them is over or in progress; none is started then.
        """
        found = list(runs)
        for place, run in enumerate(found):
            here = run is self.current or run in self._waiting or run in found[:place]
            if here or not (run.status == "waiting" or run.can_continue):
                state = "in progress or waiting already" if here else f"{run.status} and cannot go on"
                raise ValueError(f"{run.name} is {state}; make a new Run of its plan to train it again")
        for run in found:
            run.status = "waiting"
        self._waiting.extend(found)
        self._loop.call_soon_threadsafe(self._begin)

    def pause(self) -> None:
        """Let the run in progress wait after its current step; does nothing when there is none."""
        self._paused = self.busy

    def resume(self) -> None:
        """Let a paused run go on."""
        self._paused = False

    def stop(self) -> None:
        """End the run in progress after its current step, and drop those that wait now; later ones are not meant."""
        self._to_stop = self.current
        self._paused = False
        while self._waiting:
            run = self._waiting.popleft()
            run.status = "stopped"
            if not len(run.history):  # else its message says how far it came
                run.message = "Not started: stopped before its turn"
            self._dropped.append(run)
        self._loop.call_soon_threadsafe(self._tell_dropped)

    async def wait(self) -> None:
        """Return when nothing is in progress or waiting any more."""
        while self.busy:
            await asyncio.sleep(0.01)

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            run = self.current = self._waiting.popleft()
            try:
                await self._carry_out(run)
            except KeyboardInterrupt:  # "Interrupt kernel" means Stop; it must not end the event loop
                self.stop()
            except Exception:  # noqa: BLE001  # the runs that wait must have their turn
                _log.exception("%s failed", run.name)
                run.status, run.message, run.trace = "failed", "The bench itself failed", traceback.format_exc()
            finally:
                self._tell_dropped()  # before the end of the run that was stopped: that is what a person waits for
                self.current = None
                if self._to_stop is run:
                    self._to_stop = None  # it may be started again
                self._tell(run)
        self._paused = False

    async def _carry_out(self, run: Run) -> None:
        steps = drive(run, on_publish=self._tell)
        self._tell(run)
        slice_began = time.perf_counter()
        try:
            for _ in steps:
                if self._paused:
                    await self._sit_out(run)
                if self._to_stop is run:
                    return
                if time.perf_counter() - slice_began >= SLICE_SECONDS:
                    await asyncio.sleep(0)
                    slice_began = time.perf_counter()
        finally:
            steps.close()

    async def _sit_out(self, run: Run) -> None:
        run.status = "paused"
        self._tell(run)
        while self._paused:
            await asyncio.sleep(0.02)
        run.status = "running"
        self._tell(run)

    def _tell_dropped(self) -> None:
        while self._dropped:
            self._tell(self._dropped.popleft())

    def _tell(self, run: Run) -> None:
        try:
            self._on_change(run)
        except Exception:  # noqa: BLE001  # a fault in the display must not end the training
            _log.exception("the display of %s failed", run.name)
