"""Reports: what a run that is carried out in another thread, process or machine tells of itself while it trains.

A worker sends a `Report` at each publish, about ten times a second, through the channel of its sweep: a queue between threads, a
folder that both sides see, or the events of a Dask scheduler.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from diffopt_widgets.execution.driver import drive_to_end
from diffopt_widgets.records import History
from diffopt_widgets.runs.run import Run
from diffopt_widgets.tasks import Task, task_key
from diffopt_widgets.training.checkpoint import Checkpoint, CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from distributed import Client
    from numpy.typing import NDArray

    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.training.loop import Training

NOT_STARTED = "Not started: the sweep was stopped before its turn"
"""Message of a run that a stopped sweep did not come to."""

IMPORTABLE = (
    "Write its build as a function of a module, a .py file, and import it from there; or train in this process."
)

_FOLLOWED = ("device", "output", "eval_before", "eval_after", "samples", "wanted", "state_bytes", "trained_with")
"""Fields of a run that are told when they have changed."""

_STOP_SECONDS = 0.1
"""Interval at which a worker looks whether its sweep is stopped."""


@dataclass(frozen=True)
class Report:
    """New parts of a run since the last report of the same attempt."""

    key: str
    attempt: str
    """Name of this execution of the run: when its process is ended, another one begins it again."""
    groups: tuple[str, ...]
    rows: int
    """Number of rows of the history before these."""
    step: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]
    changes: Mapping[str, Any]
    """New values of `_FOLLOWED`."""
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class Job:
    """A run on its way to a worker."""

    sweep: str
    channel: Channel
    task: Task | bytes | None
    """Task of the user's own, perhaps pickled."""
    run: Run
    begun: Training | Checkpoint | None
    """State from which the run goes on."""
    checkpoint_seconds: float
    checkpoint_cost: float
    """Shortest time between two checkpoints, and the largest share of the time that they may take."""


@dataclass(frozen=True)
class Outcome:
    """A run as it came back from a worker, with the state from which it can go on if it was stopped."""

    run: Run
    kept: Training | Checkpoint | None


class RefusedJob(RuntimeError):
    """Error of a worker that cannot carry out any run of its sweep: it has another version, or lacks the task."""


# ------------------------------------------------------------------------------------------------------------- channels


class Channel(Protocol):
    """Way of the reports from the workers of a sweep to the program that sweeps."""

    def send(self, report: Report) -> None:
        """Send a report; in a worker."""

    def stopped(self) -> bool:
        """Return whether the sweep is stopped, or nobody waits for it any more; in a worker."""

    def keep(self, run: Run, checkpoint: Checkpoint) -> None:
        """Keep a run for an attempt that this program does not start itself; in a worker."""

    def kept(self, key: str) -> tuple[Run, Checkpoint] | None:
        """Return what an earlier attempt kept; in a worker."""

    def received(self) -> Iterator[Report]:
        """Yield the reports that have arrived since the last call."""

    def stop(self) -> None:
        """Have the workers stop their runs after the current step."""

    def close(self) -> None:
        """Free what the channel uses."""


class _KeepsNothing:
    """Part of the channels of executors that begin no run again by themselves."""

    def keep(self, run: Run, checkpoint: Checkpoint) -> None:
        """Do nothing."""

    def kept(self, key: str) -> tuple[Run, Checkpoint] | None:  # noqa: ARG002  # as in the protocol
        """Return nothing."""
        return None


class ThreadChannel(_KeepsNothing):
    """Channel between threads of one process."""

    def __init__(self) -> None:
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._stopped = threading.Event()

    def send(self, report: Report) -> None:
        """Put a report into the queue."""
        self._reports.put(report)

    def stopped(self) -> bool:
        """Return whether the sweep is stopped."""
        return self._stopped.is_set()

    def received(self) -> Iterator[Report]:
        """Empty the queue."""
        with contextlib.suppress(Empty):
            while True:
                yield self._reports.get_nowait()

    def stop(self) -> None:
        """Set the flag that the threads look at."""
        self._stopped.set()

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


class FolderChannel(_KeepsNothing):
    """Channel through a folder that the workers see too: no port is opened. Each report is a file until it is read.

    Args:
        beside: the folder in which to make it; the system's folder for temporary files when None.
    """

    def __init__(self, beside: str | os.PathLike[str] | None = None) -> None:
        self._path = Path(
            tempfile.mkdtemp(prefix=".diffopt-sweep-", dir=beside)
        ).absolute()  # readable by its owner only
        self._sent = 0
        self._next_look = 0.0
        self._is_stopped = False

    def send(self, report: Report) -> None:
        """Write a report; its name begins with a point until it is whole.

        Raises:
            RefusedJob: this machine does not see the folder.
        """
        self._sent += 1
        name = f"{report.attempt}-{self._sent:09d}"
        try:
            (self._path / f".{name}").write_bytes(pickle.dumps(report))
            (self._path / f".{name}").rename(self._path / name)
        except FileNotFoundError:
            if self._path.exists():
                raise
            if self._sent == 1:  # later it is gone because nobody waits for this run any more
                raise RefusedJob(
                    f"a worker does not see the folder {self._path}, through which records come back. Give the sweep a "
                    "store in a folder that all machines share"
                ) from None

    def stopped(self) -> bool:
        """Look, not more often than ten times a second, whether the sweep is stopped or over."""
        if not self._is_stopped and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _STOP_SECONDS
            self._is_stopped = not self._path.exists() or (self._path / _STOP).exists()
        return self._is_stopped

    def received(self) -> Iterator[Report]:
        """Yield the reports that are there, the oldest first, and remove them."""
        with os.scandir(self._path) as entries:
            whole = [entry for entry in entries if entry.name != _STOP and not entry.name.startswith(".")]
        for entry in sorted(whole, key=lambda entry: (entry.stat().st_mtime_ns, entry.name)):
            path = Path(entry.path)
            yield pickle.loads(path.read_bytes())  # noqa: S301  # our own worker wrote it
            path.unlink()

    def stop(self) -> None:
        """Write the file that the workers look for."""
        (self._path / _STOP).touch()

    def close(self) -> None:
        """Remove the folder, which ends a worker that still trains."""
        shutil.rmtree(self._path, ignore_errors=True)


_STOP = "stop"


class DaskChannel:
    """Channel through the events of a Dask scheduler; in a worker there is no client.

    Dask begins a run again by itself when its worker has died, so the last checkpoint lies with the scheduler.
    """

    def __init__(self, topic: str, client: Client | None = None) -> None:
        self._topic = topic
        self._client = client
        self._reports: SimpleQueue[bytes] = SimpleQueue()
        if client is not None:
            client.subscribe_topic(topic, lambda event: self._reports.put(event[1]))

    def __reduce__(self) -> tuple[type[DaskChannel], tuple[str]]:
        return DaskChannel, (self._topic,)

    def send(self, report: Report) -> None:
        """Log a report as an event of this worker."""
        from distributed import get_worker

        get_worker().log_event(self._topic, pickle.dumps(report))

    def stopped(self) -> bool:
        """Return whether Dask has cancelled the run, as it does when the client is gone."""
        from distributed import get_worker

        worker = get_worker()
        state = worker.state.tasks.get(worker.get_current_task())
        return state is None or state.state == "cancelled"

    def keep(self, run: Run, checkpoint: Checkpoint) -> None:
        """Keep a run in the metadata of the scheduler."""
        from distributed import get_client

        get_client().set_metadata([self._topic, run.key], pickle.dumps((run.as_stopped(), checkpoint)))

    def kept(self, key: str) -> tuple[Run, Checkpoint] | None:
        """Return what an earlier attempt kept at the scheduler."""
        from distributed import get_client

        data = get_client().get_metadata([self._topic, key], default=None)
        if data is None:
            return None
        run, checkpoint = pickle.loads(data)  # noqa: S301  # our own worker kept it
        return run, checkpoint

    def received(self) -> Iterator[Report]:
        """Empty the queue of events."""
        with contextlib.suppress(Empty):
            while True:
                yield pickle.loads(self._reports.get_nowait())  # noqa: S301  # our own worker logged it

    def stop(self) -> None:
        """Tell the workers, which do not ask."""
        if self._client is not None:
            self._client.run(stop_sweep, self._topic, on_error="ignore")

    def close(self) -> None:
        """Subscribe no longer, and free what the scheduler keeps."""
        if self._client is not None and self._client.status == "running":
            self._client.unsubscribe_topic(self._topic)
            self._client.set_metadata([self._topic], None)


# ---------------------------------------------------------------------------------------------------------- in a worker


_stopped_sweeps: set[str] = set()
"""Sweeps that this process was told to stop."""


def stop_sweep(sweep: str) -> None:
    """Have the runs of a sweep in this process stop after their step."""
    _stopped_sweeps.add(sweep)


def carry_out(version: str, job: Job, *, make: Callable[[RunPlan], Training] | None = None) -> Outcome:
    """Carry out a run in a worker and report on it; return it as it has ended.

    Args:
        version: of this package, in the program that waits for the run.
        job: the run.
        make: makes the training of its plan, as in `drive`.

    Raises:
        RefusedJob: this process has another version of the package, or lacks the task.
    """
    from diffopt_widgets import __version__

    if version != __version__:
        raise RefusedJob(other_version(version, __version__))
    if isinstance(job.channel, FolderChannel):
        _end_with_parent()
        _heed_interrupts(job.sweep)
    register(job)
    run, begun = job.channel.kept(job.run.key) or (job.run, job.begun)
    if begun is not None:
        run.keep(begun)
    reporter = _Reporter(run, job)

    def stopped() -> bool:
        return job.sweep in _stopped_sweeps or job.channel.stopped()

    if stopped():
        run.end("stopped", None if len(run.history) else NOT_STARTED)
    else:
        with contextlib.suppress(KeyboardInterrupt):
            drive_to_end(run, show=reporter.send, interrupted=stopped, make=make)
    return Outcome(run, run.kept if isinstance(job.channel, ThreadChannel) else checkpoint_of(run))


def other_version(here: str, there: str) -> str:
    """Say that the two sides of an executor have different versions of the package, or one has none."""
    has = f"have version {there}" if there else "do not have it"
    return (
        f"this program has diffopt-widgets {here}, and the executor's workers {has}. "
        f"Install the same version there: pip install diffopt-widgets=={here}"
    )


def checkpoint_of(run: Run) -> Checkpoint | None:
    """Return the checkpoint from which a run can go on; None where it has none, or its class cannot be saved."""
    if run.kept is None or isinstance(run.kept, Checkpoint):
        return run.kept
    try:
        return Checkpoint.of(run.kept)
    except CheckpointError:
        return None


class _Reporter:
    """Sends what is new of a run, and from time to time a checkpoint."""

    def __init__(self, run: Run, job: Job) -> None:
        self._job = job
        self._attempt = uuid4().hex
        self._rows = len(run.history)
        self._told: dict[str, Any] = {}
        self._next = time.monotonic() + job.checkpoint_seconds

    def send(self, run: Run) -> None:
        """Send a report on the run as it is now."""
        history, rows = run.history, self._rows
        self._rows = max(rows, len(history))
        changes = {name: value for name in _FOLLOWED if self._told.get(name) is not (value := getattr(run, name))}
        self._told |= changes
        columns = {name: history.column(name)[rows:].copy() for name in history.names()}
        step, groups = history.step[rows:].copy(), history.groups
        checkpoint = self._checkpoint(run)
        self._job.channel.send(Report(run.key, self._attempt, groups, rows, step, columns, changes, checkpoint))

    def _checkpoint(self, run: Run) -> Checkpoint | None:
        if run.ended or time.monotonic() < self._next:
            return None
        from diffopt_widgets.store.own_runs import LARGEST_CHECKPOINT

        began = time.monotonic()
        checkpoint = checkpoint_of(run)
        if checkpoint is not None and len(checkpoint.data) > LARGEST_CHECKPOINT:
            checkpoint = None
        if checkpoint is not None:
            self._job.channel.keep(run, checkpoint)
        spent = time.monotonic() - began
        self._next = time.monotonic() + max(self._job.checkpoint_seconds, spent / self._job.checkpoint_cost)
        return checkpoint


def register(job: Job) -> None:
    """Make the task of the user's own known in this process.

    Raises:
        RefusedJob: it cannot be loaded here.
    """
    task = job.task
    if isinstance(task, bytes):
        try:
            task = pickle.loads(task)  # noqa: S301  # the program that sweeps pickled it
        except Exception as error:
            message = f"the task {job.run.plan.task!r} cannot be loaded in another process: {error}. {IMPORTABLE}"
            raise RefusedJob(message) from error
    if isinstance(task, Task):
        task_key(task)


@cache
def _end_with_parent() -> None:
    """End this process when the one that sweeps is gone, which would otherwise leave it training, or waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, name="ends with the sweep", daemon=True).start()


def _heed_interrupts(sweep: str) -> None:
    """Have SIGINT stop the runs of a sweep after their step in a process of an executor.

    A terminal's Ctrl-C reaches these processes too. Between two runs it would otherwise end them, and the executor with all its
    runs.
    """
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: stop_sweep(sweep))


# ------------------------------------------------------------------------------------------- in the program that sweeps


def take(run: Run, report: Report) -> None:
    """Add what is new in a report to the run: rows that it has already are left out, and rows after a gap too."""
    _take_rows(run, report.groups, report.rows, report.step, report.columns)
    changes = dict(report.changes)
    if "samples" in changes:
        changes["samples"] = {**run.samples, **changes["samples"]}
    run.take_over(changes)
    if report.checkpoint is not None:
        run.keep(report.checkpoint)


def take_outcome(run: Run, outcome: Outcome) -> None:
    """End the run as it has ended in its worker; rows that no report brought are added."""
    back = outcome.run
    history = back.history
    _take_rows(run, history.groups, 0, history.step, {name: history.column(name) for name in history.names()})
    run.take_over({name: getattr(back, name) for name in _FOLLOWED})
    if back.status == "failed":
        run.fail(back.message, back.trace, back.fix)
    else:
        run.end("done" if back.status == "done" else "stopped", back.message)
    if outcome.kept is not None or back.status != "stopped":
        run.keep(outcome.kept)


def _take_rows(
    run: Run,
    groups: tuple[str, ...],
    rows: int,
    step: NDArray[np.int64],
    columns: Mapping[str, NDArray[np.float64]],
) -> None:
    if groups and not run.history.groups:
        run.take_over({"history": History(groups)})
    known = len(run.history) - rows
    if 0 <= known < len(step):
        new = {name: column[known:] for name, column in columns.items()}
        run.history.extend_columns(step[known:], new, keep=new.keys())
