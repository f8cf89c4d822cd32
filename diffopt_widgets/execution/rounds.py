"""Rounds: which runs train, whose turn it is, and which wait; for a sweep and for the session of a bench."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from diffopt_widgets.execution.driver import drive
from diffopt_widgets.runs.run import Run
from diffopt_widgets.training.checkpoint import Checkpoint

MOST_TOGETHER = 32
"""Greatest number of runs that advance together."""

MOST_WEIGHTS = 50_000_000
"""Greatest number of weights of the runs that advance together: each holds its model, gradients and state in memory."""

TURN_SECONDS = 0.1
"""Length of a turn, after which the next run trains; a run publishes about once in each."""

NOT_STARTED = "Not started: stopped before its turn"


def _nothing(_: Run) -> None:
    """Default callback: do nothing."""


@dataclass(eq=False)
class _Entry:
    """A run that trains, or waits until it has begun."""

    run: Run
    batch: int
    steps: Generator[None, None, None]
    begun: bool = False
    stopping: bool = False


class Rounds:
    """Runs that advance together, a tenth of a second each in turn; each of them gives the same numbers as alone.

    Whoever carries them out iterates over `steps`; nothing happens in between. Runs that are added together are a batch: they
    begin in their order while there is room beside each other, and the next batch begins when all of them have ended. `add`
    and `stop` may be called from any thread, and from a signal handler.

    Args:
        on_publish: called with a run that has new records or another status, and once more when it is no longer one of the
            `training` or `waiting`.
        on_begin: called with a run before it is prepared.
        on_begun: called with a run that is prepared.
        not_started: message of a run that is stopped before its first step.
        by_step: tells whether a turn of a run is one step, and its first one comes when all have begun that have room: for runs
            whose gradients are computed together.

    >>> from diffopt_widgets import RunPlan, Settings
    >>> rounds = Rounds(lambda _: None)
    >>> rounds.add([Run(RunPlan(Settings("SGD", lr=rate), "swiss_roll", 2)) for rate in (0.1, 0.2)])
    >>> [run.name for run in rounds.steps()][:2], rounds.busy
    (['SGD · lr 0.1', 'SGD · lr 0.1'], False)
    """

    def __init__(
        self,
        on_publish: Callable[[Run], None],
        *,
        on_begin: Callable[[Run], None] = _nothing,
        on_begun: Callable[[Run], object] = _nothing,
        not_started: str = NOT_STARTED,
        by_step: Callable[[Run], bool] = lambda _: False,
    ) -> None:
        self._on_publish, self._on_begin, self._on_begun = on_publish, on_begin, on_begun
        self._not_started = not_started
        self._by_step = by_step
        self._entries: list[_Entry] = []
        """All that have not ended, in the order in which they were added."""
        self._turns: deque[_Entry] = deque()
        """Those that train; the last one has its turn."""
        self._batch = 0
        self.stopping = False
        """True when `stop` was called, until the runs that it means have ended."""
        self.turn_of: Run | None = None
        """The run that has its turn, or had the last one."""

    @property
    def busy(self) -> bool:
        """True when a run is training or waiting."""
        return bool(self._entries)

    @property
    def training(self) -> list[Run]:
        """The runs that train side by side."""
        return [entry.run for entry in tuple(self._entries) if entry.begun]

    @property
    def waiting(self) -> list[Run]:
        """The runs that wait for their turn."""
        return [entry.run for entry in tuple(self._entries) if not entry.begun and not entry.stopping]

    def add(self, runs: Iterable[Run], *, beside: bool = False) -> None:
        """Add runs, as a batch that begins after all others.

        Args:
            runs: runs that wait or were stopped.
            beside: whether they belong to those that train, and advance together with them.
        """
        training = [entry.batch for entry in tuple(self._entries) if entry.begun]
        if beside and training:
            batch = training[0]
        else:
            self._batch += 1
            batch = self._batch
        self._entries.extend([_Entry(run, batch, drive(run, on_publish=self._on_publish)) for run in runs])

    def stop(self, runs: Sequence[Run] | None = None) -> None:
        """End these runs, or all: those that train after the current step, those that wait at once."""
        for entry in tuple(self._entries):
            if not entry.stopping and (runs is None or entry.run in runs):
                entry.stopping = self.stopping = True
                if not entry.begun:
                    # a run with steps has a message on how far it came
                    entry.run.end("stopped", None if len(entry.run.history) else self._not_started)

    def steps(self) -> Iterator[Run]:
        """Carry out the runs until none is left, and yield after each step, with the run that took it.

        It may be left at any step, also by an exception, and be called again: then the runs go on where they were.
        """
        while True:
            while (stopped := self._next_to_stop()) is not None:
                self._close(stopped)
                yield stopped.run
            if (new := self._next_to_begin()) is not None:
                yield from self._begin(new)
                if self._by_step(new.run):
                    continue
            elif self._turns:
                self._turns.rotate(-1)
            elif not self._entries:
                return
            if self._turns:
                yield from self._turn(self._turns[-1])

    def _next_to_stop(self) -> _Entry | None:
        """Return the next run to stop: those that wait before those that train."""
        if not self.stopping:
            return None
        self.stopping = False  # before they are looked for, so that none that is stopped meanwhile is missed
        found = sorted((entry for entry in tuple(self._entries) if entry.stopping), key=lambda one: one.begun)
        if len(found) > 1:
            self.stopping = True
        return found[0] if found else None

    def _next_to_begin(self) -> _Entry | None:
        """Return the first run that waits, if it belongs to those that train and has room beside them."""
        waiting = [entry for entry in tuple(self._entries) if not entry.begun and not entry.stopping]
        first = min(waiting, key=lambda entry: entry.batch, default=None)
        if first is None or any(entry.batch != first.batch for entry in self._turns):
            return None
        return first if _has_room([entry.run for entry in self._turns]) else None

    def _begin(self, entry: _Entry) -> Iterator[Run]:
        self.turn_of = entry.run
        try:
            self._on_begin(entry.run)
            if entry.stopping:
                return
            entry.begun = True
            self._turns.append(entry)
            over = next(entry.steps, entry) is entry
        except BaseException as error:
            if entry.run.status == "waiting":  # it was interrupted before anything of it was done
                entry.run.end("stopped", self._not_started)
            self._leave_at(error, entry)
            raise
        if over:
            self._leave(entry)
            return
        self._on_begun(entry.run)
        yield entry.run

    def _turn(self, entry: _Entry) -> Iterator[Run]:
        """Take steps until the turn is over, or something is to be stopped."""
        self.turn_of = entry.run
        began = time.perf_counter()
        while not self.stopping:
            try:
                over = next(entry.steps, entry) is entry
            except BaseException as error:
                self._leave_at(error, entry)
                raise
            if over:
                self._leave(entry)
                return
            yield entry.run
            if self._by_step(entry.run) or time.perf_counter() - began >= TURN_SECONDS:
                return

    def _close(self, entry: _Entry) -> None:
        """End a run that was stopped; another Ctrl-C may come before its end is noted and saved."""
        if entry.begun:
            with contextlib.suppress(KeyboardInterrupt):
                entry.steps.close()
            _end(entry.run)
        self._leave(entry)

    def _leave_at(self, error: BaseException, entry: _Entry) -> None:
        """Take out a run that something interrupted; a second Ctrl-C may have come while its end was noted."""
        if not isinstance(error, Exception):
            _end(entry.run)
        self._leave(entry)

    def _leave(self, entry: _Entry) -> None:
        self._entries.remove(entry)
        if entry in self._turns:
            self._turns.remove(entry)
        self._on_publish(entry.run)


def _end(run: Run) -> None:
    """End a run as stopped, however often Ctrl-C is pressed meanwhile."""
    while not run.ended:
        with contextlib.suppress(KeyboardInterrupt):
            run.end("stopped")


def _has_room(training: Sequence[Run]) -> bool:
    """Check whether another run of their size can train beside these."""
    weights = [run.kept.weights for run in training if run.kept is not None and not isinstance(run.kept, Checkpoint)]
    return len(training) < MOST_TOGETHER and (len(training) + 1) * max(weights, default=0) <= MOST_WEIGHTS
