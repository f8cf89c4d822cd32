"""Compared runs: what they trained with, and which of them ended best, as far as that can be known."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypedDict

from diffopt_widgets.catalogue import spec
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING
from diffopt_widgets.runs.comparisons import Comparison, comparisons
from diffopt_widgets.runs.paired import confidence_of_each, paired
from diffopt_widgets.runs.run import Run, divergence
from diffopt_widgets.settings.variations import (
    conditions,
    listed,
    name_by_difference,
    not_comparable,
    options_of,
    value_words,
    varying,
    without_seed,
)

if TYPE_CHECKING:
    from diffopt_widgets.settings.plan import RunPlan

MOST_NAMED = 3
"""Number of runs that are named in a list; of more only the count is said."""

MOST_SAID = 12
"""Number of equal values that are said."""


@dataclass(frozen=True)
class Standing:
    """One setting in a comparison, with what its runs reached."""

    label: str
    runs: tuple[Run, ...]
    losses: Mapping[int, float]
    """Its final loss with each seed that is compared."""
    finished: Mapping[int, tuple[float, ...]]
    """The final losses of all its finished runs, by their seed."""

    @property
    def spread(self) -> float | None:
        """Largest difference between its seeds, also those that other settings lack; None where it has one."""
        means = [fmean(losses) for losses in self.finished.values()]
        return max(means) - min(means) if len(means) > 1 else None

    @property
    def loss(self) -> float:
        """Mean of its losses."""
        return fmean(self.losses.values())

    @property
    def shown(self) -> str:
        """The same in the three digits that are shown everywhere."""
        return f"{self.loss:.3g}"


@dataclass(frozen=True)
class Verdict:
    """Outcome of a comparison: its runs against each other, in a few sentences as its text.

    It claims nothing beyond the runs: losses that are equal in three digits are equal, a run that diverged or did not finish is
    never the best, and what seeds alone change is compared with the difference, or said to be unknown.

    >>> from diffopt_widgets import Settings, sweep
    >>> runs = sweep(Settings("SGD"), {"lr": [0.1, 1e-4]}, task="swiss_roll", steps=60, device="cpu", progress=False)
    >>> print(verdict(runs))
    Best: lr 0.1, evaluation loss 0.4...; worst: lr 0.0001, 0.5... How much seeds alone change is not known: all have seed 0.
    """

    runs: tuple[Run, ...] = ()
    refusal: str = ""
    """Why the losses cannot be compared; empty when they can."""
    measure: str = ""
    """Loss that is compared: the evaluation loss, or the training loss of runs that have no other."""
    standings: tuple[Standing, ...] = ()
    """Settings whose runs finished, the lowest loss first; every one has the same seeds, unless `paired` is false."""
    paired: bool = True
    between_seeds: float | None = None
    """Largest difference that seeds alone made to the loss of one of these settings; None where it is not known."""
    seeds: int = 0
    """Number of seeds with which both the best and the worst setting were seen."""
    behind: int = 0
    """With how many seeds the worst setting ended behind the best, each seed for itself."""
    earlier: bool = False
    """Whether the seeds were seen in earlier runs of these settings, and not in these."""
    going: tuple[str, ...] = ()
    """Names of the runs that have not ended."""
    diverged: tuple[str, ...] = ()
    """Names of the runs whose loss was no longer a finite number."""
    failed: tuple[str, ...] = ()
    """Names of the runs that failed otherwise."""
    unfinished: tuple[str, ...] = ()
    """Names of the runs that were stopped."""
    unevaluated: tuple[str, ...] = ()
    """Names of the finished runs without an evaluation loss, for which all are compared by the training loss of others."""

    @property
    def best(self) -> tuple[Standing, ...]:
        """The settings with the lowest loss in three digits; none while runs go on, and where all are alike."""
        if self.refusal or self.going or len(self.standings) < 2:
            return ()
        first = [one for one in self.standings if one.shown == self.standings[0].shown]
        return () if len(first) == len(self.standings) else tuple(first)

    @property
    def best_runs(self) -> tuple[Run, ...]:
        """Finished runs of the best settings."""
        return tuple(run for one in self.best for run in one.runs if run.status == "done")

    @property
    def distinction(self) -> str:
        """Words on what distinguishes the best runs."""
        mean = "mean " if any(len(one.losses) > 1 for one in self.standings) else ""
        return f"lowest {mean}{self.measure} of {len(self.standings)} {self._kind}"

    @property
    def _kind(self) -> str:
        """Kind of what is compared, in the plural."""
        return "settings" if any(len(one.runs) > 1 for one in self.standings) else "runs"

    @property
    def difference(self) -> float | None:
        """Loss of the worst setting less that of the best; None where there are not two."""
        return self.standings[-1].loss - self.standings[0].loss if len(self.standings) > 1 else None

    @property
    def beyond_seeds(self) -> bool | None:
        """True when the difference is larger than seeds alone made; None where that is not known."""
        if self.difference is None or self.between_seeds is None:
            return None
        return self.difference > self.between_seeds

    def __str__(self) -> str:
        if len(self.runs) < 2:
            return ""
        if self.refusal:
            return f"Not compared: {self.refusal}."
        if self.going:
            return f"{len(self.runs) - len(self.going)} of {len(self.runs)} runs have ended."
        lists = {"Diverged": self.diverged, "Failed": self.failed, "Did not finish": self.unfinished}
        others = [f"{title}: {_few(names)}." for title, names in lists.items() if names]
        if self.unevaluated:
            others.insert(
                0, f"Training losses are compared, as the evaluation loss of {_few(self.unevaluated)} is not known."
            )
        return " ".join([*self._ranking(), *others])

    def _ranking(self) -> list[str]:
        if not self.standings:
            return ["No run finished, so nothing is compared."]
        first, *_, last = (*self.standings, self.standings[-1])
        if len(self.standings) == 1:
            return [self._of_one(first)]
        if not self.best:
            every = "both" if len(self.standings) == 2 else f"all {len(self.standings)}"
            return [f"No difference in three digits: {self._reached(self.standings)} in {every}."]
        worst = [one for one in self.standings if one.shown == last.shown]
        bests, worsts = (_few([one.label for one in which], self._kind) for which in (self.best, worst))
        alike = len({len(one.losses) for one in (*self.best, *worst)}) == 1
        return [
            f"Best: {bests}, {self._reached(self.best)}; worst: {worsts}, {last.shown if alike else self._reached(worst)}.",
            self._against_seeds(),
        ]

    def _of_one(self, only: Standing) -> str:
        """Say what the only setting with a finished run reached."""
        losses = [loss for of_seed in only.finished.values() for loss in of_seed]
        if len(losses) == 1:
            return f"Only {only.label} finished, with {self.measure} {only.shown}: nothing to compare it with."
        low, high = f"{min(losses):.3g}", f"{max(losses):.3g}"
        reached = f"{self.measure} {low}" if low == high else f"mean {self.measure} {only.shown}, from {low} to {high}"
        if len(only.finished) == 1:
            return f"{len(losses)} runs of the same settings and seed: {reached}."
        return f"One setting with {len(only.finished)} seeds: {reached}."

    def _reached(self, standings: Sequence[Standing]) -> str:
        """Say which loss settings reached that are equal in three digits, and over how many seeds."""
        counts = sorted({len(one.losses) for one in standings})
        loss = f"{'mean ' if counts != [1] else ''}{self.measure} {standings[0].shown}"
        of_all = {len(one.losses) for one in self.standings}
        if len(counts) > 1 or of_all == {1}:
            return loss
        return f"{loss} of {counts[0]} seed{'s' * (counts[0] > 1)}"

    def _against_seeds(self) -> str:
        """Compare the difference with what seeds alone change: by pairs where these runs share seeds, as in a report."""
        first, last = self.standings[0], self.standings[-1]
        if self.paired and min(len(one.losses) for one in self.standings) > 1:
            difference = paired(last.losses, first.losses, confidence=confidence_of_each(len(self.standings)))
            luck = "more than luck" if difference is not None and difference.beyond_luck else "perhaps luck"
            return f"The difference by seed is {difference}: {luck}."
        if self.between_seeds is None:
            seeds = {run.plan.seed for one in self.standings for run in one.runs}
            which = f"all have seed {seeds.pop()}" if len(seeds) == 1 else "the seeds of the runs differ"
            return f"How much seeds alone change is not known: {which}."
        size = f"up to {self.between_seeds:.2g}"
        if not self.beyond_seeds:
            where = " in earlier runs" if self.earlier else ""
            often = f" The worst was behind with {self.behind} of {self.seeds} seeds{where}." if self.seeds > 1 else ""
            return f"The difference is smaller than between seeds ({size}).{often}"
        second = self.standings[len(self.best)]
        near = second.loss - self.standings[0].loss <= self.between_seeds
        but = f", but that to {second.label} is not" if near else ""
        return f"The difference is larger than between seeds ({size}){but}."


def verdict(runs: Sequence[Run]) -> Verdict:
    """Compare how runs ended.

    Runs that differ in nothing but the seed count as one setting, with the mean of their losses. How much seeds alone change
    is seen in the runs themselves if they have several seeds; for the ready comparisons it was measured before.
    """
    runs = tuple(runs)
    names = dict(zip(runs, parted([run.name for run in runs])[1], strict=True))
    diverged = {run for run in runs if divergence(run)}
    finished = [run for run in runs if run.status == "done" and run.final_loss is not None and run not in diverged]
    without = [run for run in finished if run.eval_after is None]
    bare = Verdict(
        runs,
        going=tuple(names[run] for run in runs if not run.ended),
        diverged=tuple(names[run] for run in runs if run in diverged),
        failed=tuple(names[run] for run in runs if run.status == "failed" and run not in diverged),
        unfinished=tuple(
            names[run] for run in runs if run.status in {"done", "stopped"} and run not in {*finished, *diverged}
        ),
        unevaluated=tuple(names[run] for run in without if len(without) < len(finished)),
    )
    if refusal := _refusal(runs):
        return replace(bare, refusal=refusal)
    losses = {run: loss for run in finished if (loss := run.final_loss if without else run.eval_after) is not None}
    settings: dict[Hashable, list[Run]] = {}
    for run in runs:
        settings.setdefault(without_seed(run.plan), []).append(run)
    whole = [of for of in settings.values() if any(run in losses for run in of) and diverged.isdisjoint(of)]
    by_seed = [_by_seed(of, losses) for of in whole]
    common = set.intersection(*map(set, by_seed)) if by_seed else set()
    standings = [
        Standing(label, tuple(of), {seed: fmean(all_of[seed]) for seed in sorted(common or all_of)}, all_of)
        for label, of, all_of in zip(_labels(whole, names), whole, by_seed, strict=True)
    ]
    standings.sort(key=lambda one: one.loss)
    return replace(
        bare,
        measure="training loss" if without else "evaluation loss",
        standings=tuple(standings),
        paired=bool(common),
        **(_of_seeds(standings, evaluated=not without) if standings else {}),
    )


def _by_seed(runs: Sequence[Run], losses: Mapping[Run, float]) -> dict[int, tuple[float, ...]]:
    """Sort the losses of runs that finished by their seed."""
    found: dict[int, tuple[float, ...]] = {}
    for run in runs:
        if run in losses:
            found[run.plan.seed] = (*found.get(run.plan.seed, ()), losses[run])
    return found


def alike(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that can be compared with the last one, and that one."""
    return [run for run in runs if _conditions(run) == _conditions(runs[-1])]


def parted(names: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Split the beginning that all names share ("PRODIGY") off them.

    >>> parted(["PRODIGY · d_coef 0.5", "PRODIGY · d_coef 1"])
    ('PRODIGY', ['d_coef 0.5', 'd_coef 1'])
    """
    head, dot, _ = names[0].partition(" · ") if names else ("", "", "")
    if len(names) < 2 or not dot or any(not name.startswith(head + dot) for name in names):
        return "", names
    return head, [name.removeprefix(head + dot) for name in names]


def ready_comparison(runs: Sequence[Run]) -> Comparison | None:
    """Return the ready comparison that these runs are part of, with any seed and on any device; None for others."""
    plans = {_anywhere(run.plan) for run in runs}
    return next((one for one, seen in _ready() if plans <= seen.keys()), None) if plans else None


def trained_words(plans: Sequence[RunPlan]) -> str:
    """Say what several runs differ in, and what is the same in all.

    >>> from diffopt_widgets.runs.comparisons import comparisons
    >>> print(trained_words([run.plan for run in comparisons()[0].runs()]))
    d_coef 0.5, 1 and 1.2; all with Prodigy, schedule Cosine, learning rate 1, Handwritten digits, 300 steps, seed 0
    """
    several = len({plan.settings.optimizer for plan in plans}) > 1
    names = varying(plans)
    of_all = {"optimizer", *TRAINING, *RUN_OPTIONS, TASK.name}
    differ = [
        f"{_title(name)}{_values([_text(name, plan) for plan in plans])}"
        for name in names
        if not several or name in of_all
    ]
    own = {name for plan in plans for name in plan.settings.changed()} - of_all - {"lr"}
    if several and ("lr" in names or own):
        differ.append("each optimizer's own options")
    if not differ:
        differ = [f"{len(plans)} runs of the same settings"]
    return f"{'; '.join(differ)}; all with {', '.join(_same(plans, names))}"


def _same(plans: Sequence[RunPlan], varied: Sequence[str]) -> list[str]:
    """Values that all plans share: those that are always said, and those that are not at their default."""
    first = plans[0]
    defaults = {name: use.default for name, use in RUN_OPTIONS.items()}
    changed = [
        name
        for name in first.settings.changed()
        if name not in {"lr", "schedule"} and all(name in plan.settings.changed() for plan in plans)
    ]
    of_run = [name for name in RUN_OPTIONS if getattr(first, name) != defaults[name] or name == "steps"]
    said = ["optimizer", "schedule", "lr", *changed, "task", *(name for name in of_run if name != "seed"), "seed"]
    shown = [
        f"{_text(name, first)} steps" if name == "steps" else f"{_title(name)}{_text(name, first)}"
        for name in said
        if name not in varied
    ]
    return shown if len(shown) <= MOST_SAID else [*shown[:MOST_SAID], f"{len(shown) - MOST_SAID} more"]


def _title(name: str) -> str:
    """Name of a value before it, where it needs one; options of an optimizer have the names that runs are called by."""
    if name in {"optimizer", "task"}:
        return ""
    use = {**RUN_OPTIONS, **TRAINING}.get(name)
    return f"{use.option.title.lower() if use else 'learning rate' if name == 'lr' else name} "


def _text(name: str, plan: RunPlan) -> str:
    """Value of a plan as the form and the bar show it."""
    from diffopt_widgets.tasks import UnknownTask, get_task

    value: Any = plan.flat()[name]  # Any: of whatever kind
    if name == "optimizer":
        return spec(value).title
    if name == "schedule":
        return SCHEDULES[value].title
    if name == "task":
        try:
            return get_task(value).title
        except UnknownTask:
            return str(value)
    return value_words(value, options_of(plan).get(name))


def _values(texts: Sequence[str]) -> str:
    unique = list(dict.fromkeys(texts))
    return listed(unique) if len(unique) <= 6 else f"{unique[0]} … {unique[-1]}, {len(unique)} values"


def _few(names: Sequence[str], kind: str = "runs") -> str:
    return listed(names) if len(names) <= MOST_NAMED else f"{len(names)} {kind}"


def _labels(settings: Sequence[Sequence[Run]], names: Mapping[Run, str]) -> list[str]:
    """Name each setting: by the name of its run, or by what differs where it has several."""
    if all(len(of) == 1 for of in settings):
        return [names[run] for (run,) in settings]
    plans = [without_seed(of[0].plan) for of in settings]
    return list(parted(name_by_difference(plans))[1])


def _refusal(runs: Sequence[Run]) -> str:
    return not_comparable([run.plan for run in runs], [run.samples_per_step for run in runs])


def _conditions(run: Run) -> Hashable:
    return conditions(run.plan, run.samples_per_step)


class _OfSeeds(TypedDict, total=False):
    """Fields of a verdict that are about seeds."""

    between_seeds: float
    seeds: int
    behind: int
    earlier: bool


def _of_seeds(standings: Sequence[Standing], *, evaluated: bool) -> _OfSeeds:
    """Return what is known of seeds: from these runs if they have several, or from earlier runs of a ready comparison."""
    best, worst = standings[0], standings[-1]
    spreads = [one.spread for one in standings if one.spread is not None]
    if spreads:
        both = best.losses.keys() & worst.losses.keys()
        behind = sum(worst.losses[seed] > best.losses[seed] for seed in both)
        return {"between_seeds": max(spreads), "seeds": len(both), "behind": behind}
    plans = [_anywhere(one.runs[0].plan) for one in standings]
    known = next((seen for _, seen in _ready() if set(plans) <= seen.keys()), None) if evaluated else None
    if known is None or len({seed for one in standings for seed in one.losses}) > 1:
        return {}
    losses = [known[plan] for plan in plans]
    return {
        "between_seeds": max(max(one) - min(one) for one in losses),
        "seeds": len(losses[0]),
        "behind": sum(worst > best for best, worst in zip(losses[0], losses[-1], strict=True)),
        "earlier": True,
    }


@lru_cache(maxsize=1)
def _ready() -> tuple[tuple[Comparison, dict[RunPlan, tuple[float, ...]]], ...]:
    """Return the ready comparisons, each with its plans and their losses by seed."""
    return tuple(
        (one, dict(zip((_anywhere(run.plan) for run in one.runs()), one.measured, strict=True)))
        for one in comparisons()
    )


def _anywhere(plan: RunPlan) -> RunPlan:
    """Return the plan with what makes no difference here at its default."""
    return replace(plan, seed=0, device="auto", grad_norm=False)
