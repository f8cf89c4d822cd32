"""Search: combinations that Optuna's samplers choose from the losses of those before, by ask and tell."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

from diffopt_widgets.catalogue.values import format_value, safe_repr
from diffopt_widgets.execution.driver import drive, evaluation_points
from diffopt_widgets.execution.interrupt import end_interrupted_loop, interrupt_held_back, note_interrupted
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.execution.rounds import NOT_STARTED
from diffopt_widgets.runs.run import Run, divergence
from diffopt_widgets.runs.space import Range, axes_by_optimizer, option_of, plan_at, with_seeds
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.faults import kind_of
from diffopt_widgets.settings.variations import words_of
from diffopt_widgets.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    import optuna

    from diffopt_widgets.runs.space import Axis, Over
    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.store import RunSaver

SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "qmc": "QMCSampler"}
"""Searches in which Optuna chooses, each with the sampler that does."""

PRUNERS = {"median": "MedianPruner", "hyperband": "HyperbandPruner", "wilcoxon": "WilcoxonPruner"}
"""Ways to end a trial early, each with Optuna's pruner that decides."""

TOGETHER = 4
"""Number of trials that are asked for at once and advance together. The later ones of them know nothing of the earlier."""

FEWEST_SEEDS = 5
"""Smallest number of seeds with which the Wilcoxon test can end a trial before its last: four pairs are the fewest that can
be below its threshold of 0.1."""

UNJUDGED = 1 / 3
"""Part of the steps in which the median pruner ends no trial: warm-ups, and optimizers that find their rate, begin slowly."""

PRUNED = "Pruned "
"""Beginning of the message of a run that its search ended early."""

_INCOMPARABLE = ("task", "steps", "batch_size", "accumulation", "seed", "maximize")
"""What makes losses incomparable where it differs, so that a search for the lowest cannot choose it."""

_SHORT_POINTS = 4
"""Number of equal parts of a run without evaluations, after each of which but the last it may be pruned."""

MOST_SEEDS = 32
"""Greatest number of runs of trials that advance together, where a trial has many seeds."""

MOST_TRIALS = 100_000
"""Greatest number of trials of a search."""

MEASURE = "loss on the fixed evaluation set at the end of the run, mean over its seeds"
"""What a study minimizes."""

Train: TypeAlias = Callable[[list[Run]], list[Run]]
"""Carries runs out together, and returns them."""

Turn: TypeAlias = "Generator[None, None, None]"
"""Run in progress, one step for each `next`."""


def is_pruned(run: Run) -> bool:
    """Check whether a run was ended early by its search."""
    return run.status == "stopped" and run.message.startswith(PRUNED)


def objective(run: Run) -> float | None:
    """Return what a search lowers: the loss on the fixed evaluation set at the end, which the tasks of the bench all have.

    For a run without one it is its `final_loss`, the mean training loss of the last twentieth of its steps.
    """
    return run.final_loss if run.eval_after is None else run.eval_after


def by_optuna(search: object) -> bool:
    """Check whether Optuna chooses in a search of this name."""
    return isinstance(search, str) and search in SAMPLERS


def check_search(search: str, trials: int | None, prune: str | None, storage: object, executor: object) -> None:
    """Check what a search is asked for, apart from what is varied.

    Raises:
        SettingsError: it cannot be used.
    """
    faults = []
    if prune is not None and not (isinstance(prune, str) and prune in PRUNERS):
        faults.append(Fault("prune", prune, "there is no such pruner", _either(PRUNERS)))
    if not by_optuna(search):
        todo = 'Write search="tpe", or leave it out.'
        given = {"prune": prune, "study_storage": storage}
        problem = "only a search by Optuna has it"
        faults += [Fault(name, None, problem, "", todo) for name, value in given.items() if value is not None]
    elif not isinstance(trials, int) or isinstance(trials, bool) or not 1 <= trials <= MOST_TRIALS:
        allowed = f"a whole number, from 1 to {MOST_TRIALS:,}"
        faults.append(Fault("trials", trials, "a search needs a number of trials", allowed, "Write trials=40."))
    if prune in ("median", "hyperband") and executor is not None:
        todo = 'Leave out the executor, or write prune="wilcoxon" or None.'
        problem = f"{prune} holds runs on their way to compare them, and those of an executor cannot be held"
        faults.append(Fault("prune", prune, problem, "", todo))
    if storage is not None and not (isinstance(storage, str) and "://" in storage) and not _is_storage(storage):
        todo = 'Write study_storage="sqlite:///study.db".'
        faults.append(Fault("study_storage", storage, "it is no address of a database", "", todo))
    if faults:
        raise SettingsError(tuple(faults))


def _is_storage(storage: object) -> bool:
    return hasattr(storage, "create_new_study")


def _either(names: Mapping[str, str]) -> str:
    *first, last = (f'"{name}"' for name in names)
    return f"{', '.join(first)} or {last}"


@dataclass(frozen=True)
class Searched:
    """Request for a search.

    Args:
        base: plan that all of its runs share but for what is varied.
        over: what is varied.
        search: key of `SAMPLERS`.
        trials: number of combinations.
        seeds: as `sweep` takes them.
        prune: key of `PRUNERS`; None ends no trial early.
        storage: address of Optuna's storage; None keeps the study beside the store, or in memory without one.
    """

    base: RunPlan
    over: Over
    search: str
    trials: int
    seeds: int | Sequence[int]
    prune: str | None = None
    storage: Any = None  # Any: an address, or one of Optuna's own storages

    def space(self) -> Space:
        """Return what it chooses from.

        Raises:
            SettingsError: a value cannot be used, or there is nothing to search.
        """
        axes = axes_by_optimizer(self.base, self.over)
        faults = []
        if not self.over:
            todo = 'Write over={"lr": dw.Range(1e-4, 1e-2)}.'
            faults.append(Fault("over", None, "nothing is varied, so there is nothing to search", "", todo))
        for name in dict.fromkeys(name for own in axes.values() for name in own):
            if name in _INCOMPARABLE:
                todo = "Write seeds=5." if name == "seed" else 'Leave it out, or write search="grid".'
                what = "the seed is no choice" if name == "seed" else f"losses with different {name} cannot be compared"
                faults.append(Fault("over", None, f"{what}, so a search cannot choose it", "", todo))
        if self.base.settings.options.get("maximize"):
            faults.append(Fault("maximize", True, "a search looks for the lowest loss", "", "Turn it off."))
        space = Space(self.base, axes)
        if space.conditional and self.search != "tpe":
            problem = "it cannot choose options, or ranges, that only some of the optimizers have"
            faults.append(Fault("search", self.search, problem, "", 'Write search="tpe".'))
        if self.prune == "wilcoxon" and len(self.seeded(self.base)) < FEWEST_SEEDS:
            problem = f"it compares trials seed by seed, and needs at least {FEWEST_SEEDS} seeds"
            faults.append(Fault("prune", self.prune, problem, "", f"Write seeds={FEWEST_SEEDS} or more."))
        if faults:
            raise SettingsError(tuple(faults))
        return space

    def seeded(self, plan: RunPlan) -> list[RunPlan]:
        """Return a plan with each of the seeds."""
        return with_seeds([plan], self.seeds)

    def expected(self) -> list[RunPlan]:
        """Return as many plans as there will be runs, to estimate their time; their values are not those to come."""
        plans = [plan_at(self.base, {} if key is None else {"optimizer": key}) for key in self.space().axes]
        return [one for trial in range(self.trials) for one in self.seeded(plans[trial % len(plans)])]

    @property
    def name(self) -> str:
        """Name of its study, the same for the same call with any number of trials."""
        axes = {str(key): {name: repr(axis) for name, axis in own.items()} for key, own in self.space().axes.items()}
        seeds = [plan.seed for plan in self.seeded(self.base)]
        told = [{name: str(value) for name, value in self.base.flat().items()}, axes, seeds, self.search, self.prune]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
        keys = [self.base.settings.optimizer if key is None else key for key in self.space().axes]
        return f"{', '.join(keys)} on {self.base.task}: {self.search} {digest}"


@dataclass(frozen=True)
class Space:
    """Space that a search chooses from.

    Args:
        base: plan that all runs share but for what is varied.
        axes: the values to try by name for each optimizer, as `axes_by_optimizer` gives them.
    """

    base: RunPlan
    axes: Mapping[str | None, Mapping[str, Axis]]

    @property
    def conditional(self) -> bool:
        """True where optimizers have other options, or other values of them, than the rest."""
        first, *others = self.axes.values()
        return any(own != first for own in others)

    def label(self, key: str | None, name: str) -> str:
        """Name an option for Optuna: as it is, or after its optimizer where others have other values to try."""
        elsewhere = [own[name] for own in self.axes.values() if name in own]
        return name if key is None or all(axis == elsewhere[0] for axis in elsewhere) else f"{key} {name}"

    def suggested(self, trial: optuna.Trial) -> RunPlan:
        """Have Optuna suggest a combination, or say again which it suggested, and return its plan.

        Raises:
            SettingsError: the values cannot be used together.
        """
        key = None if None in self.axes else str(trial.suggest_categorical("optimizer", list(self.axes)))
        point: dict[str, Any] = {} if key is None else {"optimizer": key}
        settings = plan_at(self.base, point).settings
        for name, axis in self.axes[key].items():
            label, option = self.label(key, name), option_of(settings, name)
            if not isinstance(axis, Range):
                values = dict(zip(_choices(axis), axis, strict=True))
                point[name] = values[trial.suggest_categorical(label, list(values))]
            elif option is not None and option.kind == "int":
                point[name] = trial.suggest_int(label, int(axis.low), int(axis.high), log=bool(axis.log))
            else:
                point[name] = trial.suggest_float(label, axis.low, axis.high, log=bool(axis.log))
        return plan_at(self.base, point)

    def named(self, plan: RunPlan) -> str:
        """Name a run of a plan after what was chosen."""
        key = None if None in self.axes else plan.settings.optimizer
        flat = plan.flat()
        words = ", ".join(words_of(name, _short(flat[name])) for name in self.axes[key] if name in flat)
        return f"{plan.settings.optimizer} · {words}" if words else plan.settings.optimizer


def _short(value: Any) -> str:  # Any: a value of a plan
    """Return a value with few digits, as a name needs no more."""
    return format_value(float(f"{value:.4g}") if isinstance(value, float) else value)


def _choices(values: Sequence[Any]) -> list[Any]:  # Any: values of options
    """Return values as Optuna takes them as choices: plain ones as they are, others as text."""
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
    return list(values) if plain else [safe_repr(value) for value in values]


@dataclass(frozen=True)
class Outcome:
    """End of a trial: its state for Optuna, its value and the same in words."""

    state: str
    value: float | None
    words: str


@dataclass
class _Trial:
    """A trial of Optuna's with its runs, one for each seed; its plan is None where its values cannot be trained together."""

    trial: optuna.Trial
    plan: RunPlan | None
    refusal: str = ""
    runs: list[Run] = field(default_factory=list)
    pruned: str = ""
    """When it was ended early, and why."""

    @property
    def interrupted(self) -> bool:
        """True where a run of it was stopped by a person, and can go on."""
        return not self.pruned and any(run.status in {"stopped", "waiting"} for run in self.runs)

    @property
    def failed(self) -> bool:
        """True where a run of it diverged or failed otherwise."""
        return any(run.status == "failed" for run in self.runs)

    def report(self, values: Sequence[float | None], step: int) -> bool:
        """Tell Optuna the mean of losses at a step; return True where its pruner ends the trial."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        if len(known) < len(values):
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it was reported before an interrupt, or that the best is infinite
            self.trial.report(fmean(known), step)
            return bool(self.trial.should_prune())

    def outcome(self) -> Outcome:
        """Return how it ended."""
        diverged = next((when for run in self.runs if (when := divergence(run))), "")
        failed = next((run for run in self.runs if run.status == "failed"), None)
        if self.plan is None:
            return Outcome("FAIL", None, self.refusal)
        if diverged:
            return Outcome("COMPLETE", math.inf, f"diverged {diverged}")
        if failed is not None:
            return Outcome("FAIL", None, failed.message)
        if self.pruned:
            return Outcome("PRUNED", None, f"pruned {self.pruned}")
        return Outcome("COMPLETE", fmean(loss for run in self.runs if (loss := objective(run)) is not None), "done")


def search_by_optuna(
    searched: Searched,
    train: Train,
    take_up: Train | None = None,
    *,
    store: Path | None = None,
    saver: RunSaver | None = None,
    progress: bool = True,
) -> list[Run]:
    """Train the combinations that Optuna proposes, a few at a time; return the runs of all trials.

    The study minimizes the mean of `objective` over the seeds. A trial with a run that diverged has an infinite value, so that
    the sampler keeps away from its values, and it is never the best. One that failed otherwise, or whose values cannot be
    trained together, is failed; one that was ended early is pruned. The proposals depend on the plan's seed and on the losses
    alone, so the same call gives the same trials, also when it was interrupted and taken up.

    Args:
        searched: what is searched.
        train: carries runs out.
        take_up: replaces new runs by those of the store with the same plan; the study is then taken up too.
        store: path of the store, beside which the study is kept.
        saver: writes the runs that a pruner looks at on their way.
        progress: whether to show progress bars of these.

    Raises:
        SettingsError: what is searched cannot be used; then nothing is trained.
        MissingBackend: Optuna is not installed.
    """
    space = searched.space()
    with _quiet_optuna(searched):
        study = _study(searched, store, resume=take_up is not None)
        return _Search(searched, space, study, train, take_up, saver, progress=progress).runs()


class _Search:
    """A search in progress; its arguments are those of `search_by_optuna`."""

    def __init__(
        self,
        searched: Searched,
        space: Space,
        study: optuna.Study,
        train: Train,
        take_up: Train | None,
        saver: RunSaver | None,
        *,
        progress: bool,
    ) -> None:
        self._searched = searched
        self._space = space
        self._study = study
        self._train = train
        self._take_up = take_up or (lambda runs: runs)
        self._saver = saver
        self._progress = progress
        self._trials: list[_Trial] = []
        self._outcomes: dict[RunPlan, Outcome] = {}
        """How each combination ended: one that is proposed again is not trained again."""
        self._lost = 0
        """Number of trials that ended before and whose runs the store does not have."""

    def runs(self) -> list[Run]:
        """Carry the search out, and return its runs.

        Raises:
            SettingsError: none of its combinations can be trained.
        """
        with interrupt_held_back() as interrupted:  # also between two batches
            waiting = self._begun()
            while (waiting or (waiting := self._asked())) and not interrupted():  # what was asked for is taken up later
                if self._carry_out_trials(waiting) or interrupted():
                    break
                waiting = []
            if interrupted():
                note_interrupted()
        runs = [run for trial in self._trials for run in trial.runs]
        if not runs and (refusals := dict.fromkeys(trial.refusal for trial in self._trials if trial.refusal)):
            faults = (Fault("over", None, f"no combination can be trained: {refusal}", "") for refusal in refusals)
            raise SettingsError(tuple(faults))
        if self._lost and not runs:
            problem = "the study has all of its trials, and the store has none of their runs"
            raise SettingsError((Fault("resume", None, problem, "", "Ask for more trials, or leave it out."),))
        if self._lost:
            text = f"{self._lost} trials of the study have no runs in the store, so these are not returned."
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        return runs

    def _carry_out_trials(self, trials: list[_Trial]) -> bool:
        """Train the runs of trials that stand for a new combination, and tell all ends; return True when one was interrupted."""
        self._trials += trials
        new: dict[RunPlan, _Trial] = {}
        for trial in trials:
            if trial.plan is not None and trial.plan not in self._outcomes and trial.plan not in new:
                new[trial.plan] = trial
                trial.runs = self._take_up([self._run(plan) for plan in self._searched.seeded(trial.plan)])
        self._carry_out(list(new.values()))
        for trial in trials:
            self._tell(trial)
        return any(trial.interrupted for trial in new.values())

    def _run(self, plan: RunPlan) -> Run:
        several = len(self._searched.seeded(plan)) > 1
        return Run(plan, f"{self._space.named(plan)}{f', seed {plan.seed}' if several else ''}")

    def _begun(self) -> list[_Trial]:
        """Take up the trials of the study: those that ended with their runs in the store; return those that did not."""
        waiting = []
        for frozen in self._study.trials:
            trial = self._suggested(_trial_of(self._study, frozen))
            if frozen.state.is_finished():
                self._trials.append(trial)
                if trial.plan is not None and trial.plan not in self._outcomes:
                    value = None if frozen.state.name == "PRUNED" else frozen.value
                    ended = str(frozen.user_attrs.get("ended", ""))
                    self._outcomes[trial.plan] = Outcome(frozen.state.name, value, ended)
                    kept = self._take_up([self._run(plan) for plan in self._searched.seeded(trial.plan)])
                    trial.runs = [run for run in kept if run.status != "waiting"]
                    self._lost += not trial.runs
            elif frozen.state.name == "RUNNING":
                waiting.append(trial)
        return waiting

    def _asked(self) -> list[_Trial]:
        """Ask for the next trials; the sampler is made anew, so that a search that is taken up goes on as it would have."""
        number = sum(
            frozen.state.name != "WAITING" for frozen in self._study.trials
        )  # somebody may have put some there
        room = max(1, MOST_SEEDS // len(self._searched.seeded(self._searched.base)))
        count = min(TOGETHER, room, self._searched.trials - number)
        self._study.sampler = _sampler(self._searched, number, conditional=self._space.conditional)
        return [self._suggested(self._study.ask()) for _ in range(count)]

    def _suggested(self, trial: optuna.Trial) -> _Trial:
        try:
            return _Trial(trial, self._space.suggested(trial))
        except ValueError as error:  # a SettingsError, or a trial of the study without all of its values
            return _Trial(trial, None, str(error))

    def _tell(self, trial: _Trial) -> None:
        """Tell Optuna how a trial ended, unless it was interrupted and can go on."""
        import optuna

        outcome = None if trial.plan is None else self._outcomes.get(trial.plan)
        if outcome is None:
            if trial.plan is not None and (not trial.runs or trial.interrupted):
                return
            outcome = trial.outcome()
        if trial.plan is not None:
            self._outcomes[trial.plan] = outcome
        trial.trial.set_user_attr("ended", outcome.words)
        trial.trial.set_user_attr("runs", [run.key for run in trial.runs])
        self._study.tell(trial.trial, outcome.value, optuna.trial.TrialState[outcome.state])

    def _carry_out(self, trials: list[_Trial]) -> None:
        """Train the runs of some trials, which advance together."""
        prune = self._searched.prune
        if prune == "wilcoxon":
            self._train_by_seed(trials)
        elif prune is not None:
            self._train_by_stretch(trials)
        else:
            trained = iter(self._train([run for trial in trials for run in trial.runs]))
            for trial in trials:
                trial.runs = [next(trained) for _ in trial.runs]

    def _train_by_seed(self, trials: list[_Trial]) -> None:
        """Train seed by seed; after each the pruner compares a trial with the best one on the same seeds."""
        later = {id(trial): trial.runs for trial in trials}
        for trial in trials:
            trial.runs = []
        for place in range(len(self._searched.seeded(self._searched.base))):
            going = [trial for trial in trials if not trial.pruned and not trial.failed]
            trained = self._train([later[id(trial)][place] for trial in going])
            for trial, run in zip(going, trained, strict=True):
                trial.runs.append(run)
            if any(trial.interrupted for trial in going):
                for trial in going:  # also one whose run was done before: its other seeds are still to come
                    if not trial.failed:
                        _leave_out(trial, later[id(trial)][place + 1 :], NOT_STARTED)
                return
            for trial in going:
                if not trial.failed and trial.report([objective(trial.runs[-1])], place):
                    trial.pruned = f"after {place + 1} of {len(later[id(trial)])} seeds"
                    _leave_out(
                        trial,
                        later[id(trial)][place + 1 :],
                        f"{PRUNED}{trial.pruned}: its search expects nothing of it",
                    )

    def _train_by_stretch(self, trials: list[_Trial]) -> None:
        """Train stretch by stretch, all trials to the same step; after each the pruner compares the evaluation losses."""
        end_interrupted_loop()
        runs = [run for trial in trials for run in trial.runs if run.can_begin]
        with interrupt_held_back() as interrupted, progress_bars(shown=self._progress, runs=len(runs)) as show:

            def publish(run: Run) -> None:
                if self._saver is None or self._saver.save(run):
                    show(run)

            turns = {run.key: drive(run, on_publish=publish) for run in runs}
            try:
                for end in (*pruning_points(self._searched.base.steps), self._searched.base.steps + 1):
                    _train_stretch(trials, turns, end, interrupted)
                    if interrupted():
                        break
                    _prune_at(trials, turns, end, publish)
                stopped = interrupted()
            except KeyboardInterrupt:
                stopped = True
            for turn in turns.values():
                turn.close()
        for run in runs:
            if run.status == "waiting":
                run.end("stopped")
        if stopped:
            note_interrupted()


def _leave_out(trial: _Trial, runs: Sequence[Run], words: str) -> None:
    """End the runs of a trial that are not trained now, and keep them in it."""
    for run in runs:
        if run.status == "waiting":
            run.end("stopped", words)
    trial.runs += runs


def _train_stretch(
    trials: Sequence[_Trial], turns: Mapping[str, Turn], end: int, interrupted: Callable[[], bool]
) -> None:
    """Train the runs of all trials that go on up to a step, or to their end."""
    for run in (run for trial in trials if not trial.pruned for run in trial.runs if run.key in turns):
        while not interrupted() and _taken(run) < end:
            try:
                next(turns[run.key])
            except StopIteration:
                break


def _prune_at(trials: Sequence[_Trial], turns: Mapping[str, Turn], step: int, publish: Callable[[Run], None]) -> None:
    """End trials that reached a step early where there is a reason.

    A store has the checkpoints from which their runs can go on; here their models are let go.
    """
    for trial in trials:
        if trial.pruned or not (words := _reason_to_end(trial, step)):
            continue
        trial.pruned = words
        for run in trial.runs:
            if run.key in turns and not run.ended:
                turns[run.key].close()
            if run.status == "stopped":
                run.set_message(f"{PRUNED}{words}: its search expects nothing of it")
                publish(run)
                run.keep(None)


def _reason_to_end(trial: _Trial, step: int) -> str:
    """Report a trial's losses after a step; say why it ends early, where its pruner says so or one of its runs failed."""
    going = [run for run in trial.runs if not run.ended]
    if trial.failed:
        return "as another of its seeds failed" if going else ""
    if not going or len(going) < len(trial.runs) or not trial.report([_loss_at(run, step) for run in going], step):
        return ""
    return f"after step {step}"


def pruning_points(steps: int) -> list[int]:
    """Return the steps after which a run may be pruned: those of its evaluations, or every quarter of a shorter one.

    >>> pruning_points(300), pruning_points(40)
    ([50, 100, 150, 200, 250], [10, 20, 30])
    """
    quarters = (round(steps * part / _SHORT_POINTS) for part in range(1, _SHORT_POINTS))
    return sorted({point for point in evaluation_points(steps) or quarters if 0 < point < steps})


def _taken(run: Run) -> int:
    """Return the number of steps that the training of a run has taken."""
    return 0 if run.kept is None or isinstance(run.kept, Checkpoint) else run.kept.taken


def _loss_at(run: Run, step: int) -> float | None:
    """Return the evaluation loss of a run that has taken so many steps; None where it has not, or cannot be evaluated now."""
    if run.kept is None or isinstance(run.kept, Checkpoint) or run.kept.taken != step:
        return None
    with contextlib.suppress(Exception):  # it may need more memory than is left; the training goes on
        return run.kept.evaluate()
    return None


def _trial_of(study: optuna.Study, frozen: optuna.trial.FrozenTrial) -> optuna.Trial:
    """Return a trial of the study: one that ended says its values again, one that did not can still be told."""
    import optuna

    if frozen.state.is_finished():
        return optuna.trial.FixedTrial(frozen.params, frozen.number)  # which suggests alike
    return optuna.Trial(study, frozen._trial_id)  # noqa: SLF001  # there is no other way to it


def _sampler(searched: Searched, number: int, *, conditional: bool) -> optuna.samplers.BaseSampler:
    """Make the sampler of the trials from a number on."""
    import optuna

    seed = searched.base.seed
    own = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
    independent = optuna.samplers.RandomSampler(seed=own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if searched.search == "gp":
            return optuna.samplers.GPSampler(seed=own, independent_sampler=independent, warn_independent_sampling=False)
        if searched.search == "qmc":  # one sequence, of which each trial takes the next point
            return optuna.samplers.QMCSampler(
                seed=seed, scramble=True, independent_sampler=independent, warn_independent_sampling=False
            )
        return optuna.samplers.TPESampler(seed=own, group=conditional)


def _pruner(searched: Searched) -> optuna.pruners.BasePruner:
    """Make the pruner."""
    import optuna

    steps = searched.base.steps
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match searched.prune:
            case "median":
                return optuna.pruners.MedianPruner(TOGETHER, n_warmup_steps=round(steps * UNJUDGED))
            case "hyperband":
                first = next(iter(pruning_points(steps)), 1)
                return optuna.pruners.HyperbandPruner(first, steps)
            case "wilcoxon":
                return optuna.pruners.WilcoxonPruner(n_startup_steps=FEWEST_SEEDS - 1)
            case _:
                return optuna.pruners.NopPruner()


def _study(searched: Searched, store: Path | None, *, resume: bool) -> optuna.Study:
    """Open the study of the same search that was begun last, or begin one.

    Raises:
        SettingsError: its storage cannot be opened.
    """
    import optuna

    storage = searched.storage
    try:
        if storage is None and store is not None:
            from sqlalchemy import URL

            storage = URL.create("sqlite", database=str(study_path(store))).render_as_string()
        opened = optuna.storages.get_storage(storage)
        names = set() if storage is None else set(optuna.get_all_study_names(opened))
        several = (searched.name if number == 1 else f"{searched.name} ({number})" for number in itertools.count(1))
        had = list(itertools.takewhile(names.__contains__, several))
        name = had[-1] if had and resume else f"{searched.name} ({len(had) + 1})" if had else searched.name
        study = optuna.create_study(
            storage=opened, pruner=_pruner(searched), study_name=name, direction="minimize", load_if_exists=True
        )
        study.set_user_attr("measure", MEASURE)
    except Exception as error:  # each database has errors of its own
        problem = f"the study cannot be kept there: {str(error).splitlines()[0] if str(error) else kind_of(error)}"
        todo = 'Write study_storage="sqlite:///study.db".'
        raise SettingsError((Fault("study_storage", None, problem, "", todo),)) from error
    return study


def study_path(store: Path) -> Path:
    """Return where the studies of the searches of a store are kept, beside it.

    >>> study_path(Path("runs.sqlite")).name
    'runs.optuna.sqlite'
    """
    return store.with_name(f"{store.stem}.optuna{store.suffix}")


@contextlib.contextmanager
def _quiet_optuna(searched: Searched) -> Iterator[None]:
    """Keep Optuna from printing what it does, for as long as it searches.

    Raises:
        MissingBackend: it is not installed, or scipy, which some of its parts need, is not.
    """
    from diffopt_widgets.optimizers.factory import MissingBackend

    try:
        import optuna
        import scipy  # noqa: F401  # some samplers and pruners need it, in the middle of a search
    except ImportError as error:
        what = f'search="{searched.search}" needs Optuna and scipy, and {error.name or "one of them"} is not installed'
        raise MissingBackend(f'{what}. To fix it: pip install "diffopt-widgets[optuna]"') from error
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
