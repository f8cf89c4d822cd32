"""Sweeps: the same run with some options varied, one after the other or in an executor's processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.execution.driver import drive_to_end, run_to_end, saver_for
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.runs.run import Run, name_by_difference, vary
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.tasks import get_task
from diffopt_widgets.training.environment import check_runs

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import RunSaver, RunStore


@lists_run_options
def sweep(
    settings: Settings,
    over: Mapping[str, Sequence[Any]],
    task: str = RunOptions.task,
    steps: int = RunOptions.steps,
    *,
    executor: Executor | None = None,
    progress: bool = True,
    store: RunStore | str | os.PathLike[str] | None = None,
    **options: Unpack[RunKeywords],
) -> list[Run]:
    """Train every combination of the values in `over`, all from the same weights and on the same batches.

    Args:
        settings: what the runs have in common.
        over: values to try by option name, such as `{"d_coef": [0.5, 1.0, 1.2]}`; several names give every combination.
        options: those of each run, as in `train`; they can be varied too.
        executor: where to train; None trains in turn, a `ProcessPoolExecutor` side by side.
        progress: whether to show a progress bar for each run.
        store: a `RunStore`, or the path of one, that keeps the runs as they go.

    Returns:
        The runs in the order of the combinations, each named by what differs. KeyboardInterrupt stops the run that is
        training and those that wait for their turn.

    Raises:
        SettingsError: a value cannot be used, or without an executor a run would be refused here; nothing is trained then.
        KeyError: there is no such task.
        StoreError: the store cannot be opened; nothing is trained then.
    """
    saver = saver_for(store)
    plans = vary(RunPlan.of(settings, get_task(task).key, steps, **options), over)
    if executor is None:  # an executor's processes may be on other machines
        check_runs(plans)
    runs = [Run(plan, name) for plan, name in zip(plans, name_by_difference(plans), strict=True)]
    if executor is None:
        return _in_turn(runs, saver, progress=progress)
    path = store if store is None or isinstance(store, str | os.PathLike) else store.path  # each process opens its own
    return list(executor.map(partial(_run_to_end_quietly, path), runs))


def _in_turn(runs: list[Run], saver: RunSaver | None, *, progress: bool) -> list[Run]:
    stopped = False
    with progress_bars(shown=progress) as show:
        for run in runs:
            if stopped:
                run.status, run.message = "stopped", "Not started: the sweep was stopped before its turn"
                continue
            try:
                drive_to_end(run, show=show, saver=saver)
            except KeyboardInterrupt:
                stopped = True
    return runs


def _run_to_end_quietly(store: str | os.PathLike[str] | None, run: Run) -> Run:
    return run_to_end(run, progress=False, saver=saver_for(store))
