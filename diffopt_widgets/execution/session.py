"""Session: carries out runs on the kernel's own event loop, those of a batch side by side, so that buttons answer meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from diffopt_widgets.execution.interrupt import Interrupt
from diffopt_widgets.execution.rounds import Rounds
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
    """Runs that train side by side, batch after batch.

    `start`, `pause`, `resume`, `stop` and `stop_run` only set flags, so any thread may call them. An interrupt of the kernel
    stops it like `stop`, also while no cell runs.

    Args:
        on_change: called on the event loop with a run that has new records or another status, and once more when an ended
            run is no longer one of those in `training`. For runs that `stop` drops it is called before, so that the last
            call is about a run that was training.
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
        self._rounds = Rounds(self._report, on_begin=self._begins, on_begun=self._save)
        self._batches: list[tuple[weakref.ref[Run], ...]] = []
        """Runs that were started together, for those that have not all ended, and the last ones. Who shows them holds them."""
        self._latest: weakref.ref[Run] | None = None
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self.owner: object = None
        """The bench that ends these runs when it is closed: the last one that took them over."""
        _sessions.add(self)

    @property
    def busy(self) -> bool:
        """True when a run is in progress, paused or waiting."""
        return self._rounds.busy

    @property
    def has_loop(self) -> bool:
        """True when the event loop that it trains on is running."""
        return self._loop.is_running()

    @property
    def training(self) -> list[Run]:
        """The runs in progress, which train side by side."""
        return self._rounds.training

    @property
    def waiting(self) -> list[Run]:
        """The runs that wait for their turn."""
        return self._rounds.waiting

    @property
    def paused(self) -> bool:
        """True when the runs in progress have been asked to pause."""
        return self._paused

    @property
    def runs(self) -> list[Run]:
        """The runs in progress and those that wait."""
        return [*self.training, *self.waiting]

    @property
    def together(self) -> tuple[Run, ...]:
        """The latest run, and all that were started together with it."""
        return next((runs for runs in map(_alive, self._batches) if self.latest in runs), ())

    @property
    def latest(self) -> Run | None:
        """The run that began last; from a start on after a rest, the first one that was started then."""
        return self._latest() if self._latest else None

    def listen(self, on_change: Callable[[Run], None]) -> None:
        """Call `on_change` too from now on."""
        self._listeners.append(on_change)

    def saver_of(self, run: Run) -> RunSaver | None:
        """Return the saver with which a run was started here."""
        return self._savers.get(run)

    def start(self, runs: Iterable[Run], saver: RunSaver | None = None) -> None:
        """Carry out these runs side by side, and save them; a stopped run continues where it was.

        They begin when all that were started before have ended. Runs that continue while others of their comparison are in
        progress go on beside these.

        Raises:
            ValueError: one of them is over or in progress; then none is started.
        """
        added = list(runs)
        for place, run in enumerate(added):
            queued = run in self.runs or run in added[:place]
            if queued or not run.can_begin:
                state = "in progress or waiting already" if queued else f"{run.status} and cannot go on"
                raise ValueError(printable(f"{run.name} is {state}; make a new Run of its plan to train it again"))
        for run in added:
            run.queue()
            if saver is not None:
                self._savers[run] = saver
        if added and not self.busy:
            self._latest = weakref.ref(added[0])
        training = set(self.training)
        beside = any(set(added) < set(batch) and training & set(batch) for batch in map(_alive, self._batches))
        self._rounds.add(added, beside=beside)
        self._note_together(tuple(added))
        self._loop.call_soon_threadsafe(self._begin)

    def pause(self) -> None:
        """Pause the runs in progress after their current step; do nothing when there are none."""
        self._paused = self.busy

    def resume(self) -> None:
        """Continue the paused runs."""
        self._paused = False

    def stop(self) -> None:
        """End the runs in progress after their current step, and drop the waiting ones; runs started later are not affected."""
        self._paused = False
        self._rounds.stop()

    def stop_run(self, run: Run) -> None:
        """End one run after its current step, or drop it when it waits; the others go on, or stay paused.

        Raises:
            ValueError: it is neither in progress nor waiting here.
        """
        if run not in self.runs:
            raise ValueError(printable(f"{run.name} is not in progress here, so there is nothing to stop"))
        self._rounds.stop([run])

    async def wait(self) -> None:
        """Return when nothing is in progress or waiting any more, and all of it was reported."""
        while self.busy:
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
        while self.busy:
            try:
                await self._take_turns()
            except asyncio.CancelledError:  # somebody cancels all tasks of the loop, or the loop ends
                self._end_all()
                raise
            except (KeyboardInterrupt, SystemExit):  # "Interrupt kernel" stops the runs; it must not end the event loop
                self.stop()
            except Exception:  # noqa: BLE001  # the other runs must have their turn
                run = self._rounds.turn_of
                _log.exception("%s failed", run)
                if run is not None:
                    run.fail("The bench itself failed", traceback.format_exc())
                    self._report(run)
        self._paused = False

    def _end_all(self) -> None:
        """End all runs at once: nothing trains them any more, so none may look as if it did."""
        self.stop()
        for _ in self._rounds.steps():
            pass

    async def _take_turns(self) -> None:
        self._interrupt.watch()
        held, slice_began = False, time.perf_counter()
        for _ in self._rounds.steps():
            if self._paused:
                held = True
                await self._wait_while_paused()
            if held and not self._paused:
                held = False
                self._unpause()
            if time.perf_counter() - slice_began >= SLICE_SECONDS:
                await asyncio.sleep(0)
                self._interrupt.watch()
                slice_began = time.perf_counter()

    async def _wait_while_paused(self) -> None:
        """Wait until the pause is over, or until a run is stopped, which then ends while the others stay paused."""
        if not self.training:  # the last of them was stopped alone: there is nothing to resume
            self._paused = False
            return
        for run in self.training:
            if run.status == "running":
                run.pause()
                self._report(run)
        while self._paused and not self._rounds.stopping:
            await asyncio.sleep(0.02)
            self._interrupt.watch()

    def _unpause(self) -> None:
        for run in self.training:
            if run.status == "paused":
                run.unpause()
                self._report(run)

    def _begins(self, run: Run) -> None:
        self._latest = weakref.ref(run)
        self._report(run)

    def _save(self, run: Run) -> bool:
        """Save a run; return whether to show it, as its saver says."""
        saver, shown = self._savers.get(run), True
        if saver is not None:
            with _logged(run):
                shown = saver.save(run)
        return shown

    def _report(self, run: Run) -> None:
        if not self._save(run):
            return
        for listener in self._listeners:
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
