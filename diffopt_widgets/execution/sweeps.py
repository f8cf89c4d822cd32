"""Sweeps: the same run with varied options, one after the other or in an executor's processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.execution.driver import drive_to_end, run_to_end, saver_for
from diffopt_widgets.execution.interrupt import end_interrupted_loop, interrupt_held_back, note_interrupted
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.runs.run import Run, name_by_difference, vary
from diffopt_widgets.settings import Fault, SettingsError, as_settings
from diffopt_widgets.settings.arguments import check_flag, wrong_kind
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.tasks import Task, own_task, task_key
from diffopt_widgets.training.environment import check_runs

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import RunSaver, RunStore

_IMPORTABLE = (
    "Write its build as a function of a module, a .py file, and import it from there; or sweep without an executor."
)


@lists_run_options
def sweep(
    settings: Settings | str,
    over: Mapping[str, Sequence[Any]],
    task: str | Task = RunOptions.task,
    steps: int = RunOptions.steps,
    *,
    executor: Executor | None = None,
    progress: bool = True,
    store: RunStore | str | os.PathLike[str] | None = None,
    **options: Unpack[RunKeywords],
) -> list[Run]:
    """Train every combination of the values in `over`, all from the same weights and on the same batches.

    Args:
        settings: settings that the runs share, or the name of an optimizer for its defaults.
        over: values to try by option name, such as `{"d_coef": [0.5, 1.0, 1.2]}`; several names give every combination. The
            name `optimizer` compares optimizers: `{"optimizer": ["ADAMW", "PRODIGY"]}`.
        options: options of each run, as in `train`; they can be varied too.
        executor: where to train: None trains one run after the other, a `ProcessPoolExecutor` several at once. A task of your
            own is sent to its processes, so its `build` must be importable from a module. Processes that would be forked are
            started anew instead (a fork hangs once torch has computed with threads), so a script needs the usual
            `if __name__ == "__main__":` around the sweep.
        progress: whether to show a progress bar for each run.
        store: a `RunStore` or its path; the runs are saved there while they train.

    Returns:
        The runs in the order of the combinations, each named by what differs. Ctrl-C stops the run that is training after its
        current step and those that wait for their turn; `resume(run)` carries out any of them to its end.
        With an executor it raises KeyboardInterrupt, and a store keeps what the runs have recorded.

    Raises:
        SettingsError: a value cannot be used, or, without an executor, a run cannot be done on this machine; then nothing is
            trained.
        UnknownTask: there is no such task.
        StoreError: the store cannot be opened or written; then nothing is trained.
        RuntimeError: a process of the executor ended before its runs did.
    """
    settings = as_settings(settings)
    check_flag("progress", progress)
    if executor is not None and not (callable(getattr(executor, "map", None)) and hasattr(executor, "submit")):
        raise wrong_kind("executor", executor, "an executor", "Write ProcessPoolExecutor(2), or leave it out.")
    over = _checked_over(over)
    saver = saver_for(store)
    if "task" in over:
        over = {**over, "task": [task_key(task) for task in over["task"]]}
    plans = vary(RunPlan.of(settings, task_key(task), steps, **options), over)
    if executor is None:  # the processes of an executor may run on other machines
        check_runs(plans)
    runs = [Run(plan, name) for plan, name in zip(plans, name_by_difference(plans), strict=True)]
    if executor is None:
        return _in_turn(runs, saver, progress=progress)
    path = store if store is None or isinstance(store, str | os.PathLike) else store.path  # each process opens its own
    tasks = [_pickled_task(run.plan.task, executor) for run in runs]
    try:
        with _never_forked(executor, len(runs)) as started:
            return list(started.map(partial(_run_to_end_quietly, path), tasks, runs))
    except BrokenProcessPool as error:
        raise RuntimeError(
            'a process of the sweep ended before its runs did. In a script, put the sweep below `if __name__ == "__main__":`, '
            "since each process imports the script; otherwise memory may be short: try fewer processes"
        ) from error


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


def _checked_over(over: object) -> dict[str, list[Any]]:
    """Return the values to try as lists, also those of an array, a range or a generator.

    Raises:
        SettingsError: they are not lists of values by name.
    """
    example = 'Write {"lr": [1e-4, 1e-3]}.'
    if not isinstance(over, Mapping):
        raise wrong_kind("over", over, "a dict of lists of values", example)
    lists: dict[str, list[Any]] = {}
    for name, values in over.items():
        if not isinstance(name, str):
            raise wrong_kind("over", name, "the name of an option", example)
        listed = _listed(values)
        if listed is None:
            problem = f"{name} has one value, and a list of values is wanted"
            raise SettingsError((Fault("over", values, problem, "", f'Write {{"{name}": [{safe_repr(values)}, …]}}.'),))
        if not listed:
            raise SettingsError((Fault("over", None, f"{name} has no values", "", example),))
        lists[name] = listed
    return lists


def _listed(values: Any) -> list[Any] | None:  # Any: lists and arrays of many packages
    """Return several values as a list of plain ones; None for a single value."""
    if isinstance(values, str | bytes | Mapping | AbstractSet) or not isinstance(values, Iterable):
        return None
    if hasattr(values, "tolist"):  # numpy, torch, pandas
        plain = values.tolist()
        return plain if isinstance(plain, list) else None
    return list(values)


def _in_turn(runs: list[Run], saver: RunSaver | None, *, progress: bool) -> list[Run]:
    end_interrupted_loop()
    stopped = False
    with interrupt_held_back() as interrupted, progress_bars(shown=progress) as show:
        for run in runs:
            if stopped or interrupted():
                run.end("stopped", "Not started: the sweep was stopped before its turn")
                continue
            try:
                drive_to_end(run, show=show, saver=saver, interrupted=interrupted)
            except KeyboardInterrupt:
                stopped = True
                note_interrupted()
    return runs


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


def _run_to_end_quietly(store: str | os.PathLike[str] | None, pickled: Task | bytes | None, run: Run) -> Run:
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
    return run_to_end(run, progress=False, saver=saver_for(store))


@cache
def _end_with_parent() -> None:
    """End this process as soon as the one that sweeps is gone, which would otherwise leave it training, or waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, name="ends with the sweep", daemon=True).start()
