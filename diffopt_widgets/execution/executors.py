"""Executors: runs of a sweep in other threads, processes or machines, whose records come back while they train.

Anything with `submit(function, argument)`, whose futures have `done()`, `result()` and `cancel()`, is an executor: those of
`concurrent.futures`, of submitit and parsl, and a Dask `Client`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from diffopt_widgets.execution.driver import saver_for
from diffopt_widgets.execution.interrupt import end_interrupted_loop, interrupt_held_back, note_interrupted
from diffopt_widgets.execution.outcome import RunFailed
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.execution.reports import (
    IMPORTABLE,
    NOT_STARTED,
    Channel,
    DaskChannel,
    FolderChannel,
    Job,
    Outcome,
    RefusedJob,
    Report,
    ThreadChannel,
    carry_out,
    checkpoint_of,
    other_version,
    take,
    take_outcome,
)
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import wrong_kind
from diffopt_widgets.tasks import Task, own_task
from diffopt_widgets.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from distributed import Client

    from diffopt_widgets.store import RunStore
    from diffopt_widgets.training.loop import Training

MOST_ATTEMPTS = 3
"""Number of times that a run is begun whose process is ended before the run is."""

CHECKPOINT_SECONDS = 30.0
"""Shortest time between two checkpoints that a worker sends."""
CHECKPOINT_COST = 1 / 100
"""Largest share of the training time that making them may take."""

_LOOK_SECONDS = 0.05
_END_SECONDS = 10.0
"""Longest wait for an executor that is gone to say so, and for the last word of a Dask worker."""

_VERSION = "getattr(__import__('diffopt_widgets'), '__version__', '')"
_VERSION_IF_ANY = f"{_VERSION} if __import__('importlib.util').util.find_spec('diffopt_widgets') else ''"
"""Expression that any Python can evaluate, also one without this package."""


class _Future(Protocol):
    """Answer of an executor to a job: a future, or a job of submitit."""

    def done(self) -> bool: ...
    def result(self) -> Any: ...
    def cancel(self) -> object: ...


class GoneError(Exception):
    """Error of an executor that has ended with all its runs."""


class _Place:
    """An executor of any kind; this one may have its workers on other machines, which see the folder of the store."""

    def __init__(self, executor: Any, beside: str | os.PathLike[str] | None = None) -> None:
        self._executor = executor
        self.channel: Channel = FolderChannel(beside)

    def submit(self, version: str, job: Job) -> _Future:
        """Send a job."""
        future: _Future = self._executor.submit(carry_out, version, job)
        return future

    def task(self, key: str) -> Task | bytes | None:
        """Return a task of the user's own as it travels; None for a task of the bench."""
        return own_task(key)  # an executor of another kind may pickle differently, or not at all

    def begun(self, run: Run) -> Training | Checkpoint | None:
        """Return the state from which a run goes on, as it travels."""
        return checkpoint_of(run)

    def version(self) -> str:
        """Ask a worker for the version of this package there; empty where there is none."""
        return str(self._executor.submit(eval, _VERSION_IF_ANY).result())

    def renew(self) -> None:
        """Begin again with other workers.

        Raises:
            GoneError: that is not possible.
        """
        raise GoneError

    def check(self) -> None:
        """Check that the executor is there.

        Raises:
            GoneError: it is not.
        """

    def close(self) -> None:
        """End what was started here."""
        self.channel.close()


class _Threads(_Place):
    """Threads of this process."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.channel = ThreadChannel()

    def begun(self, run: Run) -> Training | Checkpoint | None:
        """Return the state as it is."""
        return run.kept


class _Processes(_Place):
    """Processes of this machine.

    Where the executor's own would be forked, others are started: a forked process has torch's locks but not the threads that hold
    them, and waits for these without end. Others are started too when one was killed, since that ends the whole executor.
    """

    def __init__(self, executor: ProcessPoolExecutor, runs: int) -> None:
        super().__init__(executor)
        self._given = executor
        self._runs = runs
        context = getattr(executor, "_mp_context", None)
        forked = context is not None and context.get_start_method() == "fork"
        if forked or getattr(executor, "_broken", False):  # by a process that was killed in an earlier sweep
            self.renew()

    def task(self, key: str) -> Task | bytes | None:
        """Return a task pickled.

        Raises:
            SettingsError: it cannot be pickled.
        """
        return pickled(key, pickle.dumps)

    def renew(self) -> None:
        """Start processes with the same arguments."""
        old, given = self._executor, self._given
        if old is not given:
            old.shutdown(wait=False, cancel_futures=True)
        workers = min(getattr(given, "_max_workers", None) or os.cpu_count() or 1, max(self._runs, 1))
        initializer, arguments = getattr(given, "_initializer", None), getattr(given, "_initargs", ())
        spawn = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(workers, mp_context=spawn, initializer=initializer, initargs=arguments)

    def close(self) -> None:
        """End the processes that were started here, once their runs are over."""
        self.channel.close()
        if self._executor is not self._given:
            self._executor.shutdown()


class _Dask(_Place):
    """Workers of a Dask cluster."""

    def __init__(self, client: Client, sweep: str) -> None:
        if client.asynchronous:
            raise wrong_kind(
                "executor", client, "a Client that waits", "Write Client(address) without asynchronous=True."
            )
        self._client = client
        versions = set(client.run(eval, _VERSION_IF_ANY).values())
        from diffopt_widgets import __version__

        for version in sorted(versions - {__version__}):
            raise RuntimeError(other_version(__version__, version))
        self.channel = DaskChannel(sweep, client)

    def submit(self, version: str, job: Job) -> _Future:
        """Send a job."""
        name = f"train-{job.run.key}-{uuid4().hex[:6]}"  # a run can be sent again
        future: _Future = self._client.submit(carry_out, version, job, key=name, pure=False)
        return future

    def task(self, key: str) -> Task | bytes | None:
        """Return a task pickled as Dask does it: one of a notebook travels with its code.

        Raises:
            SettingsError: it cannot be pickled.
        """
        import cloudpickle

        return pickled(key, cloudpickle.dumps)

    def version(self) -> str:
        """Ask the workers."""
        return str(next(iter(self._client.run(eval, _VERSION_IF_ANY).values())))

    def check(self) -> None:
        """Check that the client is connected."""
        if self._client.status not in {"running", "connecting"}:
            raise GoneError


def pickled(key: str, dumps: Callable[[Task], bytes]) -> bytes | None:
    """Return a task of the user's own as it travels to another process; None for a task of the bench.

    Raises:
        SettingsError: it cannot be pickled.
    """
    task = own_task(key)
    try:
        return None if task is None else dumps(task)
    except Exception as error:
        raise SettingsError(
            (Fault("task", key, f"it cannot be sent to another process: {error}", "", IMPORTABLE),)
        ) from error


def _place(
    executor: Any, store: RunStore | str | os.PathLike[str] | None, sweep: str, runs: int
) -> _Place:  # Any: of any package
    """Return the place that an executor gives."""
    if isinstance(executor, ThreadPoolExecutor):
        return _Threads(executor)
    if isinstance(executor, ProcessPoolExecutor):
        return _Processes(executor, runs)
    if (distributed := sys.modules.get("distributed")) is not None:
        client = executor if isinstance(executor, distributed.Client) else getattr(executor, "_client", None)
        if isinstance(client, distributed.Client):  # a client, or its get_executor()
            return _Dask(client, sweep)
    path = store if store is None or isinstance(store, str | os.PathLike) else store.path
    return _Place(executor, None if path is None else Path(path).absolute().parent)


def train_in_executor(
    runs: list[Run],
    executor: Executor | Client,
    store: RunStore | str | os.PathLike[str] | None,
    *,
    progress: bool = False,
    on_publish: Callable[[Run], None] = lambda _: None,
) -> list[Run]:
    """Train runs in an executor's threads, processes or machines; their records come into these same runs while they train.

    A run whose worker is killed is begun again from its last checkpoint, or from the start; it keeps the records that it has.

    Args:
        runs: runs that wait or were stopped.
        executor: an executor of any kind, or a Dask client.
        store: where this process saves them; the workers need not see it, unless the executor is none that is known here: then
            its folder is the one through which the records come.
        progress: whether to show progress bars.
        on_publish: called with a run that has new records or has ended.

    Raises:
        SettingsError: a task cannot be sent to other processes.
        RuntimeError: the workers cannot carry out runs, or have ended before any had begun.
    """
    end_interrupted_loop()
    saver = saver_for(store)
    sweep = f"diffopt-{uuid4().hex}"
    place = _place(executor, store, sweep, len(runs))
    with (
        contextlib.closing(place),
        interrupt_held_back() as interrupted,
        progress_bars(shown=progress, runs=len(runs)) as show,
    ):

        def publish(run: Run) -> None:
            if saver is None or saver.save(run):
                show(run)
                on_publish(run)

        _Sweep(place, sweep, runs, publish).carry_out(interrupted)
        if interrupted():
            note_interrupted()
    return runs


@dataclass(eq=False)
class _Sent:
    """A run at an executor."""

    run: Run
    task: Task | bytes | None
    future: _Future | None = None
    heard: bool = False
    """True when its worker has reported since it was sent."""
    attempt: str = ""
    """Name of the present attempt, as its worker reports it."""
    earlier: frozenset[str] = frozenset()
    ended_early: int = 0
    """Number of attempts that ended before the run did."""
    over: bool = False


class _Sweep:
    """Runs at an executor, until all have ended."""

    def __init__(self, place: _Place, name: str, runs: Sequence[Run], publish: Callable[[Run], None]) -> None:
        self._place = place
        self._name = name
        self._publish = publish
        self._sent = {run.key: _Sent(run, place.task(run.plan.task)) for run in runs}
        self._stopped = False
        self._begun = False
        """True when any worker has reported."""
        self._unheard = 0
        """Number of times in a row that the executor broke before any worker had reported."""

    def carry_out(self, interrupted: Callable[[], bool]) -> None:
        """Send all runs and take what they report, until they have ended."""
        try:
            for sent in self._sent.values():
                self._submit(sent)
            while self._open():
                if interrupted() and not self._stopped:
                    self._stop()
                self._hear()
                self._place.check()
                self._settle([sent for sent in self._open() if sent.future is not None and sent.future.done()])
                self._send_alone()
                time.sleep(_LOOK_SECONDS)
        except GoneError as error:
            self._hear()
            self._end_all(error)
        finally:
            self._leave()

    def _open(self) -> list[_Sent]:
        return [sent for sent in self._sent.values() if not sent.over]

    def _submit(self, sent: _Sent) -> None:
        from diffopt_widgets import __version__

        run, begun = sent.run, self._place.begun(sent.run)
        copied = Run(run.plan, run.name, key=run.key) if begun is None else run.as_stopped()
        job = Job(self._name, self._place.channel, sent.task, copied, begun, CHECKPOINT_SECONDS, CHECKPOINT_COST)
        sent.heard = False
        try:
            sent.future = self._place.submit(__version__, job)
        except Exception as error:
            if self._begun:
                raise GoneError from error
            raise

    def _hear(self) -> None:
        """Take all reports that have come."""
        changed: dict[str, Run] = {}
        for report in self._place.channel.received():
            sent = self._sent.get(report.key)
            if sent is not None and not sent.over and self._is_present(sent, report):
                take(sent.run, report)
                changed[report.key] = sent.run
        for run in changed.values():
            self._publish(run)

    def _is_present(self, sent: _Sent, report: Report) -> bool:
        """Check that a report is of the present attempt; a new attempt takes the place of the one before."""
        if report.attempt in sent.earlier:
            return False  # a worker that was given up, and goes on
        if report.attempt != sent.attempt:
            again = bool(sent.attempt)
            sent.earlier |= {sent.attempt}
            sent.attempt = report.attempt
            _begin(sent.run)
            if again:
                sent.run.set_message(f"Tried again: its process was ended after step {len(sent.run.history)}")
        sent.heard = self._begun = True
        return True

    def _settle(self, done: Sequence[_Sent]) -> None:
        """End the runs that came back, and try those again whose worker was ended."""
        if done:
            self._hear()  # what was reported before the end
        broken = False
        for sent in done:
            try:
                outcome = sent.future.result() if sent.future is not None else None
            except BrokenExecutor:
                broken = True
            except Exception as error:  # noqa: BLE001  # an executor of any package raises what it likes
                self._lost(sent, error)
            else:
                self._take(sent, outcome)
        if broken:
            self._renew()

    def _take(self, sent: _Sent, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        self._begun = True
        if outcome.run.message != NOT_STARTED:
            _begin(sent.run)
        take_outcome(sent.run, outcome)
        self._end(sent)

    def _end(self, sent: _Sent) -> None:
        sent.over = True
        self._publish(sent.run)

    def _lost(self, sent: _Sent, error: Exception) -> None:
        """Try a run again whose worker was ended, unless it cannot be carried out there.

        Raises:
            RuntimeError: no worker can do it.
            GoneError: the executor is gone.
        """
        if self._stopped:
            self._end_stopped(sent)
        elif isinstance(error, CancelledError) or type(error).__name__ == "FutureCancelledError":
            raise GoneError from error
        elif isinstance(error, RefusedJob) or (not sent.heard and not self._begun):
            raise self._words(error) from error
        else:
            sent.ended_early += 1
            if type(error).__name__ == "KilledWorker":  # Dask has tried again itself
                sent.ended_early = MOST_ATTEMPTS
            if sent.ended_early < MOST_ATTEMPTS:
                self._submit(sent)
            else:
                self._fail(sent, error)

    def _words(self, error: Exception) -> Exception:
        """Say what the workers lack."""
        from diffopt_widgets import __version__

        text = f"{type(error).__name__}: {error}"
        if (
            isinstance(error, RefusedJob)
            or "diffopt_widgets" not in text
            or not _LACKS & set(text.replace(":", " ").split())
        ):
            return RuntimeError(str(error)) if isinstance(error, RefusedJob) else error
        with contextlib.suppress(Exception):
            if (there := self._place.version()) != __version__:
                return RuntimeError(other_version(__version__, there))
        return RuntimeError(f"the executor's workers cannot load diffopt-widgets {__version__} as it is here: {error}")

    def _renew(self) -> None:
        """Begin the runs again that were at an executor one of whose processes was ended."""
        until = time.monotonic() + _END_SECONDS
        waiting = [sent for sent in self._open() if sent.future is not None]
        while not all(sent.future.done() for sent in waiting if sent.future) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        self._hear()
        heard = [sent for sent in waiting if sent.heard]
        if self._stopped:
            for sent in waiting:
                self._end_stopped(sent)
            return
        self._unheard = 0 if heard else self._unheard + 1
        if not self._begun or self._unheard >= MOST_ATTEMPTS:
            raise GoneError
        self._place.renew()
        for sent in waiting:
            sent.future = None
            sent.ended_early += sent.heard
            if sent.ended_early >= MOST_ATTEMPTS:
                self._fail(sent, None)
            elif sent.ended_early < MOST_ATTEMPTS - 1:
                self._submit(sent)

    def _send_alone(self) -> None:
        """Send a run alone for its last attempt, when the others are over: so it ends no other one with it."""
        left = self._open()
        if left and all(sent.future is None for sent in left):
            self._submit(left[0])

    def _fail(self, sent: _Sent, error: Exception | None) -> None:
        trace = "" if error is None else "".join(traceback.format_exception(error))
        if error is None or type(error).__name__ == "KilledWorker":
            words = (
                f"Its process, or one beside it, was ended before the run did, {MOST_ATTEMPTS} times. Memory may be short: "
                "try fewer processes"
            )
        else:
            words = f"Its worker failed {MOST_ATTEMPTS} times: {type(error).__name__}: {error}"
        sent.run.fail(words, trace)
        self._end(sent)

    def _stop(self) -> None:
        """Stop the runs that train, and call back those that do not yet."""
        self._stopped = True
        self._place.channel.stop()
        for sent in self._open():
            if sent.future is None:
                self._end_stopped(sent)
            elif not sent.heard:
                sent.future.cancel()

    def _end_stopped(self, sent: _Sent) -> None:
        if not sent.run.ended:
            begun = sent.run.status != "waiting"
            sent.run.end("stopped", "Its process was ended" if begun else NOT_STARTED)
        self._end(sent)

    def _end_all(self, cause: GoneError) -> None:
        """End all runs whose executor is gone; what they have is kept.

        Raises:
            RuntimeError: none had begun.
        """
        if not self._begun:
            raise RuntimeError(
                'a process of the sweep ended before its runs did. In a script, put the sweep below `if __name__ == "__main__":`, '
                "since each process imports the script; otherwise memory may be short: try fewer processes"
            ) from cause
        left = self._open()
        for sent in left:
            run, taken = sent.run, len(sent.run.history)
            kept = run.kept
            run.end("stopped", f"Its executor ended after step {taken}" if taken else NOT_STARTED)
            if taken and kept is not None:
                step = kept.step if isinstance(kept, Checkpoint) else kept.taken
                run.set_message(f"{run.message}. dw.resume(run) goes on from step {step}")
            self._end(sent)
        text = f"The executor ended before {len(left)} of {len(self._sent)} runs did; what was trained is kept."
        warnings.warn(text, RunFailed, stacklevel=5)

    def _leave(self) -> None:
        """Free the workers of what is not over, which an error or a second Ctrl-C left there."""
        left = self._open()
        if left and not self._stopped:
            with contextlib.suppress(Exception):
                self._place.channel.stop()
        for sent in left:
            if sent.future is not None:
                with contextlib.suppress(Exception):
                    sent.future.cancel()
            if not sent.run.ended:
                sent.run.end("stopped", None if len(sent.run.history) else NOT_STARTED)
                with contextlib.suppress(Exception):
                    self._publish(sent.run)


_LACKS = {"ModuleNotFoundError", "ImportError", "AttributeError"}


def _begin(run: Run) -> None:
    if run.can_begin:
        run.begin()
