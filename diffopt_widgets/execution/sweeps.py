"""Sweeps: the same run with varied options, side by side in this process or in an executor's."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.execution.driver import run_to_end, saver_for, warn_of_ends
from diffopt_widgets.execution.executors import train_in_executor
from diffopt_widgets.execution.interrupt import end_interrupted_loop, interrupt_held_back, note_interrupted
from diffopt_widgets.execution.progress import HarmlessStream, progress_bars
from diffopt_widgets.execution.reports import NOT_STARTED
from diffopt_widgets.execution.rounds import Rounds
from diffopt_widgets.execution.search import Searched, by_optuna, check_search, search_by_optuna
from diffopt_widgets.execution.stacks import Stacked, Stacks, check_stacked
from diffopt_widgets.runs.run import Run, divergence
from diffopt_widgets.runs.space import MOST_RUNS, checked_over, draw, vary, with_seeds
from diffopt_widgets.settings import Fault, SettingsError, as_settings
from diffopt_widgets.settings.arguments import check_flag, check_number, wrong_kind
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.settings.variations import name_by_difference, short_name
from diffopt_widgets.tasks import Task, task_key
from diffopt_widgets.training.environment import check_runs, warn_of_warmup

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from distributed import Client
    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.runs.space import Over
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import RunSaver, RunStore

TRIAL_STEPS = 5
"""Number of steps from which the time of a run is estimated."""


@lists_run_options
def sweep(
    settings: Settings | str,
    over: Over = MappingProxyType({}),
    task: str | Task = RunOptions.task,
    steps: int = RunOptions.steps,
    *,
    seeds: int | Sequence[int] = 1,
    search: Literal["grid", "random", "tpe", "gp", "qmc"] = "grid",
    trials: int | None = None,
    prune: Literal["median", "hyperband", "wilcoxon"] | None = None,
    study_storage: str | None = None,
    executor: Executor | Client | None = None,
    stacked: Stacked = False,
    progress: bool = True,
    store: RunStore | str | os.PathLike[str] | None = None,
    resume: bool = False,
    most: int = MOST_RUNS,
    **options: Unpack[RunKeywords],
) -> list[Run]:
    """Train with every combination of the values in `over`, all from the same weights and on the same batches.

    The runs advance together, a tenth of a second each in turn, so that their curves grow side by side; each of them gives
    the same numbers as alone.

    Args:
        settings: settings that the runs share, or the name of an optimizer for its defaults.
        over: values to try by option name, such as `{"d_coef": [0.5, 1.0, 1.2]}` or `{"lr": dw.Range(1e-4, 1e-2)}`; several
            names give every combination. The name `optimizer` compares optimizers, `{"optimizer": ["ADAMW", "PRODIGY"]}`,
            and options that only some of them have are varied for those; a dict gives each values of its own,
            `{"optimizer": {"ADAMW": {"lr": [1e-3, 1e-2]}, "PRODIGY": {}}}`. A list of dicts lists the runs one by one.
        options: options of each run, as in `train`; they can be varied too.
        seeds: a number of seeds, from `seed` on, or a list of them: each combination is trained with each.
        search: "grid" trains every combination, "random" as many as `trials` says, drawn at random (with `seed`). "tpe", "gp" and
            "qmc" have Optuna's sampler of that name propose `trials` combinations, a few at a time, from the losses of those
            before (extra `optuna`). They lower the loss on the fixed evaluation set at the end of a run, the mean over its seeds;
            a run without one counts with its `final_loss`, and one that diverged as infinitely bad. The same call proposes the
            same combinations. Only "tpe" knows options that some of the optimizers lack.
        trials: number of combinations that a search tries; one that is proposed again is not trained again.
        prune: whether Optuna ends trials early that promise little, which leaves their runs stopped: "median" and "hyperband" look
            at the evaluation loss on the way; "wilcoxon" trains seed by seed, from five on, and compares with the best trial on
            the same seeds.
        study_storage: address of the storage for Optuna's study, such as "sqlite:///study.db", which `optuna-dashboard` opens. By
            default it is a file beside the store, such as `runs.optuna.sqlite`, and in memory without a store.
        executor: where to train: None trains in this process; a `ProcessPoolExecutor` in several others, a Dask `Client` (extra
            `dask`) on the machines of its cluster, and so does any executor with `submit` (docs/cluster.md). Records come back
            while the runs train, and a run whose worker is killed is begun again from its last checkpoint. A task of your own is
            sent along, so its `build` must be importable from a module. Processes that would be forked are started anew instead
            (a fork hangs once torch has computed with threads), so a script needs the usual `if __name__ == "__main__":` around
            the sweep.
        stacked: whether runs that share task, batch size and precision have their losses and gradients computed together, in one
            pass over their stacked weights; each steps with its own optimizer. It may be faster where a small model leaves a GPU
            idle. "auto" computes the first steps in both ways, and goes on stacked where that is faster and the numbers are the
            same to the bit; True where they are rounded differently too, and then warns. With `progress` it is said in words
            what was done (docs/sweeps.md).
        progress: whether to show progress bars.
        store: a `RunStore` or its path; the runs are saved there while they train.
        resume: whether to take the sweep up from the store: of the runs that it has with the same plan, those that are done
            are returned, those that diverged too, and those that were stopped or interrupted go on. A search by Optuna takes
            up its study too, also with more `trials`.
        most: greatest number of runs; more are refused, with an estimate of the time that they would take.

    Returns:
        The runs in the order of the combinations, each named by what differs. A warning names those that failed, and says why.
        Ctrl-C stops the runs that are training after their current step, and those that wait for their turn, also those of an
        executor; `resume(run)` carries out any of them to its end.

    Raises:
        SettingsError: a value cannot be used, or, without an executor, a run cannot be done on this machine; then nothing is
            trained.
        MissingBackend: the search needs Optuna, which is not installed.
        UnknownTask: there is no such task.
        StoreError: the store cannot be opened or written; then nothing is trained.
        RuntimeError: the workers of the executor have another version or none, or ended before any run had begun.

    >>> runs = sweep("ADAMW", {"lr": [1e-3, 1e-2]}, "swiss_roll", 3, seeds=2, progress=False)
    >>> [(run.settings.lr, run.plan.seed) for run in runs]
    [(0.001, 0), (0.001, 1), (0.01, 0), (0.01, 1)]
    """
    settings = as_settings(settings)
    check_flag("progress", progress)
    check_flag("resume", resume)
    if executor is not None and (isinstance(executor, type) or not callable(getattr(executor, "submit", None))):
        raise wrong_kind("executor", executor, "an executor", "Write ProcessPoolExecutor(2), or leave it out.")
    base = RunPlan.of(settings, task_key(task), steps, **options)
    check_search(search, trials, prune, study_storage, executor)
    check_stacked(stacked, executor, prune)
    searched = None
    if by_optuna(search) and trials:
        searched = Searched(base, checked_over(over), search, trials, seeds, prune, study_storage)
    plans = _planned(base, over, search=search, trials=trials, seeds=seeds) if searched is None else searched.expected()
    saver = saver_for(store)
    if executor is None:  # the processes of an executor may run on other machines
        check_runs(plans)
    warn_of_warmup(plans)
    check_number("most", most)
    fewer = 'Try fewer values, draw some with search="random" and trials=50' if searched is None else "Try fewer trials"
    todo = f"{fewer}, or write most={len(plans)}."
    check_count(plans, most, todo)

    stacks = Stacks(stacked)

    def train(runs: list[Run]) -> list[Run]:
        if executor is None:
            return train_together(runs, saver=saver, progress=progress, stacks=stacks)
        train_in_executor([run for run in runs if run.can_begin], executor, store, progress=progress)
        return runs

    def take_up(runs: list[Run]) -> list[Run]:
        return _taken_up(runs, store) if resume else runs

    if searched is None:
        runs = train(take_up([Run(*named) for named in zip(plans, name_by_difference(plans), strict=True)]))
    else:
        take_up([])  # there must be a store for it
        continued = take_up if resume else None
        runs = search_by_optuna(searched, train, continued, store=_path_of(store), saver=saver, progress=progress)
    warn_of_ends(runs)
    if progress:
        HarmlessStream(sys.stdout).write("".join(f"{words}\n" for words in stacks.words()))
    stacks.warn()
    return runs


def _planned(
    base: RunPlan, over: object, *, search: str, trials: int | None, seeds: int | Sequence[int]
) -> list[RunPlan]:
    """Return the plans of the runs.

    Raises:
        SettingsError: a value cannot be used, or nothing is varied.
    """
    checked = checked_over(over)
    if search not in ("grid", "random"):
        raise SettingsError(
            (Fault("search", search, "there is no such search", '"grid", "random", "tpe", "gp" or "qmc"'),)
        )
    counted = isinstance(trials, int) and not isinstance(trials, bool) and trials >= 1
    if search == "random" and not counted:
        raise SettingsError(
            (Fault("trials", trials, "a random search needs a number of trials", "", "Write trials=20."),)
        )
    if search == "grid" and trials is not None:
        todo = 'Write search="random", or leave trials out.'
        raise SettingsError((Fault("trials", trials, "a grid trains every combination", "", todo),))
    plans = draw(base, checked, trials, base.seed) if search == "random" and trials else vary(base, checked)
    seeded = with_seeds(plans, seeds)
    if len(seeded) > len(plans) and any(plan.seed != base.seed for plan in plans):
        raise SettingsError(
            (Fault("seeds", None, "the seeds are given twice, here and in over", "", "Leave one out."),)
        )
    if len(set(seeded)) < len(seeded):
        twice = next(plan for plan in seeded if seeded.count(plan) > 1)
        problem = (
            f"{short_name(twice.settings)} with seed {twice.seed} stands there twice, and both would be the same run"
        )
        raise SettingsError((Fault("over", None, problem, "", "Leave one out."),))
    return seeded


def check_count(plans: Sequence[RunPlan], most: int, todo: str) -> None:
    """Check that there are not more runs than a person may have meant.

    Raises:
        SettingsError: there are; it says how long they would take, and then what to do.
    """
    if len(plans) > most:
        words = duration(estimated_seconds(plans))
        problem = f"these are {len(plans):,} runs, and would take about {words} here, one after the other"
        raise SettingsError((Fault("runs", None, problem, "", todo),))


def estimated_seconds(plans: Sequence[RunPlan]) -> float:
    """Estimate the training time of runs, one after the other, from a few steps of the first plan of each optimizer and task."""
    speeds: dict[tuple[str, str], float] = {}
    total = 0.0
    for plan in plans:
        kind = (plan.settings.optimizer, plan.task)
        if kind not in speeds:
            trial = run_to_end(Run(replace(plan, steps=TRIAL_STEPS)), progress=False)
            speeds[kind] = trial.seconds / max(len(trial.history), 1)
        total += speeds[kind] * plan.steps
    return total


def duration(seconds: float) -> str:
    """Return a length of time in words.

    >>> duration(50), duration(600), duration(9000), duration(400_000), duration(0.02)
    ('50 seconds', '10 minutes', '2.5 hours', '4.6 days', '1 second')
    """
    sizes = ((1, "second", 100), (60, "minute", 100), (3600, "hour", 48), (86_400, "day", math.inf))
    size, unit = next((size, unit) for size, unit, below in sizes if seconds < size * (below - 0.5))
    number = seconds / size
    text = f"{number:.1f}".removesuffix(".0") if 1 < number < 9.5 else f"{max(round(number), 1)}"
    return f"{text} {unit}{'s' * (text != '1')}"


def _path_of(store: RunStore | str | os.PathLike[str] | None) -> Path | None:
    """Return the path of a store that was opened."""
    if store is None:
        return None
    return Path(store) if isinstance(store, str | os.PathLike) else store.path


def _taken_up(runs: Sequence[Run], store: RunStore | str | os.PathLike[str] | None) -> list[Run]:
    """Return the runs, with those of a store in place of those with the same plan.

    Raises:
        SettingsError: there is no store.
    """
    if store is None:
        problem = "a sweep is taken up from a store, and none is given"
        raise SettingsError((Fault("resume", True, problem, "", 'Write store="runs.sqlite" too.'),))
    from diffopt_widgets.store import RunStore

    kept = (store if isinstance(store, RunStore) else RunStore(store)).find([run.plan for run in runs])
    return [_continued(run, kept.get(run.plan)) for run in runs]


def _continued(run: Run, kept: Run | None) -> Run:
    """Return the run of a store where it is over for good or can go on, and otherwise the new one."""
    usable = kept is not None and (kept.status == "done" or kept.can_continue or bool(divergence(kept)))
    if kept is None or not usable:
        return run
    kept.rename(run.name)
    return kept


def train_together(
    runs: list[Run], *, saver: RunSaver | None = None, progress: bool = True, stacks: Stacks | None = None
) -> list[Run]:
    """Carry out runs that wait or were stopped, a tenth of a second each in turn, or in `stacks`; Ctrl-C stops all of them."""
    end_interrupted_loop()
    waiting = [run for run in runs if run.can_begin]
    stacks = Stacks(wanted=False) if stacks is None else stacks
    stopped = False

    def publish(run: Run) -> None:
        stacks.follow(run)
        if saver is None or saver.save(run):
            show(run)

    def begun(run: Run) -> None:
        stacks.join(run)
        publish(run)

    with interrupt_held_back() as interrupted, progress_bars(shown=progress, runs=len(waiting)) as show:
        rounds = Rounds(
            publish,
            on_begin=lambda run: None if run.ended else show(run),
            on_begun=begun,
            not_started=NOT_STARTED,
            by_step=stacks.holds,
        )
        rounds.add(waiting)
        try:
            for _ in rounds.steps():
                if interrupted():
                    break
            stopped = interrupted()
        except KeyboardInterrupt:
            stopped = True
        rounds.stop()
        for _ in rounds.steps():  # which ends those that are left
            pass
    if stopped:
        note_interrupted()
    return runs
