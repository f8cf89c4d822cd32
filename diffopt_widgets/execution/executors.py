"""Executors: runs of a sweep in other processes or threads, whatever `concurrent.futures` executor has them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from diffopt_widgets.execution.driver import drive_to_end, saver_for
from diffopt_widgets.execution.interrupt import end_interrupted_loop, interrupt_held_back, note_interrupted
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.tasks import Task, own_task, task_key
from diffopt_widgets.training.checkpoint import Checkpoint, CheckpointError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.store import RunStore

NOT_STARTED = "Not started: the sweep was stopped before its turn"
"""Message of a run that a stopped sweep did not come to."""

_IMPORTABLE = (
    "Write its build as a function of a module, a .py file, and import it from there; or sweep without an executor."
)


def train_in_executor(
    runs: list[Run], executor: Executor, store: RunStore | str | os.PathLike[str] | None
) -> list[Run]:
    """Train the runs in an executor's processes or threads.

    Raises:
        RuntimeError: a process of the executor ended before its runs did.
    """
    end_interrupted_loop()
    path = store if store is None or isinstance(store, str | os.PathLike) else store.path  # each process opens its own
    tasks = [_pickled_task(run.plan.task, executor) for run in runs]
    checkpoints = [_checkpoint(run) for run in runs]  # a run is sent without what it kept
    sweep = uuid4().hex
    try:
        with interrupt_held_back() as interrupted, _never_forked(executor, len(runs)) as started:
            futures = [
                started.submit(_run_to_end_quietly, sweep, path, task, run, checkpoint)
                for task, run, checkpoint in zip(tasks, runs, checkpoints, strict=True)
            ]
            try:
                _wait(futures, sweep, interrupted, started)
                ended = _all_ended(runs, futures, stopped=interrupted())
            finally:
                for future in futures:
                    future.cancel()
            if interrupted():
                note_interrupted()
            return ended
    except BrokenProcessPool as error:
        raise RuntimeError(
            'a process of the sweep ended before its runs did. In a script, put the sweep below `if __name__ == "__main__":`, '
            "since each process imports the script; otherwise memory may be short: try fewer processes"
        ) from error


_stopped_sweeps: set[str] = set()
"""Sweeps that an interrupt has stopped, as far as this process knows."""


def _wait(futures: Sequence[Future[Any]], sweep: str, interrupted: Callable[[], bool], executor: Executor) -> None:
    """Wait until all runs have ended, or one of them cannot be carried out; after an interrupt no other is begun."""
    while not all(future.done() for future in futures):
        if interrupted() and sweep not in _stopped_sweeps:
            _stopped_sweeps.add(sweep)  # for an executor's threads
            for future in futures:
                future.cancel()
            for pid in (
                getattr(executor, "_processes", None) or ()
            ):  # a terminal's Ctrl-C reaches them too, a notebook's not
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGINT)
        elif not interrupted() and any(future.done() and future.exception() is not None for future in futures):
            return
        time.sleep(0.02)


def _all_ended(
    runs: Sequence[Run], futures: Sequence[Future[tuple[Run, Checkpoint | None]]], *, stopped: bool
) -> list[Run]:
    """Return the runs as they came back; those whose process was ended have failed.

    Raises:
        BrokenProcessPool: this is so for all of them.
    """
    ended, broken = [], None
    for run, future in zip(runs, futures, strict=True):
        try:
            ended.append(_ended(run, future, stopped=stopped))
        except BrokenProcessPool as error:
            broken = error
            run.fail(
                "Its process, or one beside it, was ended before the run did. Memory may be short: try fewer processes",
                "",
            )
            ended.append(run)
    if broken is not None and all(run.status == "failed" for run in ended):
        raise broken
    return ended


def _ended(run: Run, future: Future[tuple[Run, Checkpoint | None]], *, stopped: bool) -> Run:
    """Return the run as it came back; one that the interrupt kept from beginning, or whose process it ended, is stopped.

    Raises:
        BrokenProcessPool: its process was ended otherwise.
    """
    if stopped and (future.cancelled() or future.exception() is not None):
        if not run.ended:
            words = "its process was ended" if not future.cancelled() else NOT_STARTED
            run.end("stopped", words[:1].upper() + words[1:])
        return run
    back, checkpoint = future.result()
    if checkpoint is not None:
        back.keep(checkpoint)
    return back


@contextlib.contextmanager
def _never_forked(executor: Executor, runs: int) -> Iterator[Executor]:
    """Give the executor, or one with the same arguments whose processes start anew where its own would be forked.

    A forked process has torch's locks but not the threads that hold them, and waits for these without end.
    """
    context = getattr(executor, "_mp_context", None)
    if not isinstance(executor, ProcessPoolExecutor) or context is None or context.get_start_method() != "fork":
        yield executor
        return
    workers = min(getattr(executor, "_max_workers", None) or os.cpu_count() or 1, max(runs, 1))
    initializer, arguments = getattr(executor, "_initializer", None), getattr(executor, "_initargs", ())
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=initializer, initargs=arguments) as started:
        yield started


def _pickled_task(key: str, executor: Executor) -> Task | bytes | None:
    """Task of the user's own in a form that can be sent to an executor; None for a task of the bench, which is there already.

    Raises:
        SettingsError: it cannot be pickled.
    """
    task = own_task(key)
    if task is None or not isinstance(
        executor, ProcessPoolExecutor
    ):  # other executors may pickle differently or not at all
        return task
    try:
        return pickle.dumps(task)
    except Exception as error:
        raise SettingsError(
            (Fault("task", key, f"it cannot be sent to another process: {error}", "", _IMPORTABLE),)
        ) from error


def _run_to_end_quietly(
    sweep: str, store: str | os.PathLike[str] | None, pickled: Task | bytes | None, run: Run, begun: Checkpoint | None
) -> tuple[Run, Checkpoint | None]:
    """Carry out a run of a sweep; return it with the checkpoint from which it can go on, if an interrupt stopped it."""
    _end_with_parent()
    task = pickled
    if isinstance(pickled, bytes):
        try:
            task = pickle.loads(pickled)  # noqa: S301  # the parent process pickled it
        except Exception as error:
            message = f"the task {run.plan.task!r} cannot be loaded in another process: {error}. {_IMPORTABLE}"
            raise RuntimeError(message) from error
    if isinstance(task, Task):
        task_key(task)
    if begun is not None and run.kept is None:
        run.keep(begun)
    _heed_interrupts(sweep)
    if sweep in _stopped_sweeps:
        run.end("stopped", NOT_STARTED)
        return run, None
    with contextlib.suppress(KeyboardInterrupt):
        drive_to_end(run, show=lambda _: None, saver=saver_for(store), interrupted=lambda: sweep in _stopped_sweeps)
    return run, None if multiprocessing.parent_process() is None else _checkpoint(run)


def _checkpoint(run: Run) -> Checkpoint | None:
    """Return the checkpoint from which a stopped run can go on; None where it has none, or its class cannot be saved."""
    if run.kept is None or isinstance(run.kept, Checkpoint):
        return run.kept
    try:
        return Checkpoint.of(run.kept)
    except CheckpointError:
        return None


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

    It reaches these processes too. Between two runs it would otherwise end them, and the executor with all its runs.
    """
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: _stopped_sweeps.add(sweep))
