"""Rate that a run's optimizer found for itself, as Prodigy does: what it is, how it was read, or why it is not known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from diffopt_widgets.catalogue.schedules import warmup_steps
from diffopt_widgets.catalogue.values import short
from diffopt_widgets.plain_text import printed_readably

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings import Settings

    Column: TypeAlias = NDArray[np.float64]

FEW_STEPS = 30
"""Number of steps below which a course says nothing."""

LEVEL = 0.05
"""Largest relative change of a value that counts as standing still."""


@printed_readably
@dataclass(frozen=True)
class FoundRate:
    """Rate that a run found, with the words on how it was read, or on why there is none."""

    value: float | None
    """Level that the applied rate reached and held; None where it is not known."""
    words: str
    """How it was read, or why it is not known, as a sentence without its full stop."""

    def __str__(self) -> str:
        return self.words


def found_rate(run: Run) -> FoundRate:
    """Read the rate that the optimizer of an ended run found for itself.

    It is not known of a run that is in progress, was too short, failed, ended with a loss far above the first one, or whose
    estimate d was still at its start or growing at the end.
    """
    problem = _problem(run)
    plateau = run.applied_plateau
    if problem or plateau is None:
        return FoundRate(None, problem or "no applied rate is known of it")
    if not (math.isfinite(plateau) and plateau > 0):
        return FoundRate(None, f"its applied rate stayed at {short(plateau)}")
    steps = len(run.history)
    return FoundRate(plateau, f"its applied rate reached {short(plateau)} (95th percentile of {steps} steps)")


def takes_rate(settings: Settings) -> bool:
    """Check whether the learning rate of these settings has an effect: Adafactor with relative steps ignores it."""
    enabled_if = settings.spec.lr.enabled_if
    return enabled_if is None or enabled_if.holds(settings.values())


def _problem(run: Run) -> str:
    """Say why no rate can be read; empty where one can."""
    steps = len(run.history)
    warmup = warmup_steps(run.settings.warmup, run.plan.steps)
    given = takes_rate(run.settings)
    key = run.settings.optimizer
    whole = [
        (
            not run.settings.spec.estimates_rate,
            f"{key} trains with the rate that it is given, and finds none"
            if given
            else f"{key} sets its rate by its own rule, and finds none",
        ),
        (not run.ended, f"it has not ended ({steps} of {run.plan.steps} steps)"),
        (run.status == "failed", f"it failed after {steps} steps"),
        (steps <= warmup, f"its warm-up of {warmup} steps was not over"),
        (steps < FEW_STEPS, f"it took {steps} steps, and a level shows in {FEW_STEPS} or more"),
    ]
    if losses := risen_losses(run):
        high = f"its loss ended far above where it began ({losses[0]:.3g} → {losses[1]:.3g}), so that rate is too high"
        whole.append((True, high))
    return next((words for wrong, words in whole if wrong), "") or _unsettled(run)


def _unsettled(run: Run) -> str:
    """Say which estimate of a run had no level; empty where all had one."""
    steps = len(run.history)
    for name, d in estimates_of(run):
        if d.max() == d[0]:
            return f"{name} did not leave d0 ({short(d[0])}) in {steps} steps"
        if growth := growth_at_end(d):
            before, last = growth
            return (
                f"{name} still grew at its end ({short(before)} → {short(last)} over the last tenth of {steps} steps)"
            )
    return ""


def estimates_of(run: Run) -> Iterator[tuple[str, Column]]:
    """Give each estimate d of a run with its name."""
    if "d" not in run.history.names():
        return
    d = run.history.column("d")
    columns = [("d", d)] if d.ndim == 1 else [(f"d of {name}", d[:, i]) for i, name in enumerate(run.history.groups)]
    for name, column in columns:
        if len(column) and np.isfinite(column).all() and column[0] > 0:
            yield name, column


def growth_at_end(d: Column) -> tuple[float, float] | None:
    """Return d a tenth of the steps before the end and at it, where it grew by more than `LEVEL`; None where it did not."""
    before, last = float(d[-1 - len(d) // 10]), float(d[-1])
    return (before, last) if last > (1 + LEVEL) * before else None


def risen_losses(run: Run) -> tuple[float, float] | None:
    """Return the first and the last loss of a run that ended far above where it began; None of any other run.

    Far above is more than twice as far from 0, of the evaluation loss, or of the training loss where nothing is evaluated.
    """
    if not len(run.history) or run.settings.options.get("maximize"):
        return None
    before, after = run.eval_before, run.eval_after
    if before is None or after is None:
        before, after = float(run.history.column("loss")[0]), run.final_loss
    return None if after is None or not after - before > abs(before) else (before, after)
