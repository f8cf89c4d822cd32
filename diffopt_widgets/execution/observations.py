"""Observations on a run, drawn from its record: what in it is worth a second look, each sentence with the numbers that it saw.

A rule is a function from a run to its sentence, or to nothing. To add one, write it here and name it in `RULES`, with a
run that fires it and one that does not in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from diffopt_widgets.catalogue.schedules import warmup_steps
from diffopt_widgets.catalogue.schema import Standing
from diffopt_widgets.catalogue.values import format_value, short
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.runs.found_rate import FEW_STEPS, LEVEL, estimates_of, growth_at_end
from diffopt_widgets.settings.variations import without_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings.plan import RunPlan

    Column: TypeAlias = NDArray[np.float64]

JUMP = 2.0
"""Factor of a late jump of d."""

CERTAIN = 4.0
"""Number of standard errors beyond which a change of the loss counts as seen."""


@printed_readably
@dataclass(frozen=True)
class Observation:
    """One observation on a run."""

    rule: str
    """Name of the rule."""
    text: str
    """What was seen and what to do, in full sentences with the numbers."""

    def __str__(self) -> str:
        return self.text


def observe(run: Run) -> list[Observation]:
    """Return what is worth a second look in a run's record; nothing where there is nothing to say.

    >>> from diffopt_widgets import Settings, train
    >>> for one in observe(train(Settings("PRODIGY", lr=3e-6), "swiss_roll", 40, progress=False)):
    ...     print(one.rule, "-", one)
    estimate_at_start - d did not leave d0 (1e-6) in 40 steps: a learning rate of 3e-6 where 1 is meant.
    """
    if not len(run.history):
        return []
    with np.errstate(over="ignore", invalid="ignore"):  # a loss of 1e300 is no reason to say more
        return [Observation(name, text) for name, rule in RULES.items() for text in rule(run)]


def observe_together(runs: Sequence[Run]) -> list[Observation]:
    """Return what is worth a second look in runs that differ by their seed only."""
    plateaus = {run.plan.seed: level for run in runs if (level := run.applied_plateau) and math.isfinite(level)}
    if len(plateaus) < 2:
        return []
    low, high = min(plateaus.values()), max(plateaus.values())
    if high < JUMP * low:
        return []
    text = (
        f"The level of the applied rate depends on the seed: {short(low)} to {short(high)} over {len(plateaus)} seeds. "
        "Do not take over the rate of a single run."
    )
    return [Observation("rate_depends_on_seed", text)]


def sentences(runs: Sequence[Run]) -> list[str]:
    """Return the observations on runs that belong together as texts; of several runs each with the name of its run."""
    named = "" if len(runs) == 1 else "{}: "
    seen = [f"{named.format(run.name)}{one}" for run in runs for one in observe(run)]
    by_plan: dict[RunPlan, list[Run]] = {}
    for run in runs:
        by_plan.setdefault(without_seed(run.plan), []).append(run)
    return [*seen, *(str(one) for alike in by_plan.values() for one in observe_together(alike))]


def _estimate_at_start(run: Run) -> Iterator[str]:
    steps = len(run.history)
    for name, d in estimates_of(run):
        if steps >= FEW_STEPS and d.max() == d[0]:
            causes = causes_of_start(run)
            why = (
                f": {' and '.join(causes)}."
                if causes
                else ". Its cause is not known; a run may be too short, or d0 too large."
            )
            yield f"{name} did not leave d0 ({short(d[0])}) in {steps} steps{why}"


def causes_of_start(run: Run) -> list[str]:
    """Return the known causes, in this run, of an estimate that stays at its start."""
    settings, usual = run.settings, run.settings.spec.lr.default
    causes = []
    if isinstance(usual, float) and settings.lr < usual / 10:
        causes.append(f"a learning rate of {short(settings.lr)} where {format_value(usual)} is meant")
    warmup = warmup_steps(settings.warmup, run.plan.steps)
    if warmup >= len(run.history):
        causes.append(f"a warm-up of {warmup} steps that was not over")
    return causes


def _estimate_grows(run: Run) -> Iterator[str]:
    for name, d in estimates_of(run):
        if len(d) < FEW_STEPS or d[-1] == d[0] or _late_jump(d) is not None:
            continue
        if growth := growth_at_end(d):
            before, last = growth
            yield (
                f"{name} still grew by {100 * (last / before - 1):.0f} % over the last tenth of the steps, from "
                f"{short(before)} to {short(last)}: its level is not known yet. Train longer."
            )


def _estimate_jumps(run: Run) -> Iterator[str]:
    for name, d in estimates_of(run):
        at = _late_jump(d)
        if at is not None:
            window = max(len(d) // 20, 1)
            yield (
                f"{name} rose from {short(d[at - 1])} to {short(d[min(at + window, len(d)) - 1])} at step "
                f"{run.history.step[at]}, after it had stood still for a quarter of the steps. A few large gradients can do "
                "that; look at the loss there."
            )


def _late_jump(d: Column) -> int | None:
    """Return the place, in the second half, where d rises by `JUMP` or more after it had stood still for a quarter."""
    quarter, window = len(d) // 4, max(len(d) // 20, 1)
    if len(d) < FEW_STEPS:
        return None
    for at in range(len(d) // 2, len(d)):
        level = d[at - quarter : at]
        if level.max() <= (1 + LEVEL) * level.min() and d[min(at + window, len(d)) - 1] >= JUMP * d[at - 1]:
            rising = d[at : at + window] > (1 + LEVEL) * d[at - 1]
            return at + int(rising.argmax()) if rising.any() else at
    return None


def _growth_limited(run: Run) -> Iterator[str]:
    rate = run.settings.options.get("growth_rate")
    if not isinstance(rate, float) or not math.isfinite(rate) or rate <= 1:
        return
    for name, d in estimates_of(run):
        limited = int(np.isclose(d[1:] / d[:-1], rate, rtol=1e-4).sum())
        if limited > len(d) / 4:
            yield f"growth_rate ({format_value(rate)}) limited the growth of {name} at {limited} of {len(d)} steps."


def _clipped(run: Run) -> Iterator[str]:
    if "grad_norm" not in run.history.names() or not any(True for _ in estimates_of(run)):
        return
    norms = run.history.column("grad_norm")
    norms = norms[np.isfinite(norms)]
    if len(norms) < FEW_STEPS:
        return
    top = float(norms.max())
    share = float(np.isclose(norms, top, rtol=1e-3).mean())
    if share > 0.1:
        yield (
            f"The gradient's norm stands at {top:.3g} at {100 * share:.0f} % of the steps, as if it were clipped there. The estimate d "
            "is made from the clipped gradients, which can move it either way: compare with a run without clipping."
        )


def _lost_in_bfloat16(run: Run) -> Iterator[str]:
    if "bf16_lost" not in run.history.names():
        return
    lost = run.history.column("bf16_lost")
    groups = run.history.groups if lost.ndim > 1 else ("",)
    for name, column in zip(groups, lost.reshape(len(lost), -1).T, strict=False):
        known = column[np.isfinite(column)][-max(len(column) // 3, 1) :]
        if len(known) and known.mean() > 0.5:
            where = f" of {name}" if name else ""
            yield (
                f"{100 * known.mean():.0f} % of the bfloat16 weights{where} stay as they were at a step (mean of the last third): the "
                "update is smaller than their spacing. Stochastic rounding, float32 weights or a higher rate would help."
            )


def _loss_rises(run: Run) -> Iterator[str]:
    loss = run.history.column("loss")
    if len(loss) < FEW_STEPS or run.settings.options.get("maximize") or not np.isfinite(loss).all():
        return
    width = max(len(loss) // 10, 5)
    middle = 2 * len(loss) // 3
    before, after = loss[middle - width : middle], loss[-width:]
    error = math.sqrt((before.var() + after.var()) / width)
    rise = after.mean() - before.mean()
    if rise > max(CERTAIN * error, LEVEL * abs(before.mean())):
        yield (
            f"The loss rose from {before.mean():.3g} to {after.mean():.3g} over the last third of the steps. The rate may be too "
            "high for the end of the training: try a schedule that ends low, or a lower rate."
        )


def _training_and_evaluation_apart(run: Run) -> Iterator[str]:
    loss = run.history.column("loss")
    if run.eval_before is None or run.eval_after is None or len(loss) < FEW_STEPS or not np.isfinite(loss).all():
        return
    width = max(len(loss) // 20, 5)
    fall_seen, fall = float(loss[0] - loss[-width:].mean()), run.eval_before - run.eval_after
    third = len(loss) // 3
    scatter = max(_scatter(loss[:third]), _scatter(loss[-third:]))  # of the first step, with which the fall begins
    if fall_seen > 0 and fall_seen - fall > max(fall_seen / 4, CERTAIN * scatter):
        yield (
            f"The training loss fell by {fall_seen:.3g}, the evaluation loss by {fall:.3g}: the model may learn its batches by "
            "heart. Fewer steps, weight decay or more data would help then."
        )


def _nothing_changed(run: Run) -> Iterator[str]:
    if run.eval_before is None or run.eval_before != run.eval_after or any(_estimate_at_start(run)):
        return
    yield (
        f"The evaluation loss is {run.eval_before:.3g} before and after {len(run.history)} steps, to the last bit: no step "
        f"changed it. {_way_out(run)}"
    )


def _way_out(run: Run) -> str:
    """Say what makes the weights move in a run of which nothing has changed."""
    limit = run.settings.options.get("max_unorm")
    if not isinstance(limit, float) or limit <= 0:
        return "The steps may be too small for these weights: try a higher rate."
    may_be_zero = run.settings.spec.use("max_unorm").standing is Standing.LIVE
    remedy = (
        "Set max_unorm to 0" if may_be_zero else "Set min_8bit_size to 0: tensors with 8-bit states are not limited"
    )
    return (
        f"max_unorm ({format_value(limit)}) limits a step by the norm of its tensor, so a tensor of zeros never moves, such as the B "
        f"matrices of a new LoRA. {remedy}; if that changes nothing, try a higher rate."
    )


def _mostly_noise(run: Run) -> Iterator[str]:
    loss = run.history.column("loss")
    if len(loss) < 2 * FEW_STEPS or not np.isfinite(loss).all() or any(_nothing_changed(run)):
        return
    third = len(loss) // 3
    scatter = _scatter(loss[-third:])
    change = float(abs(loss[:third].mean() - loss[-third:].mean()))
    if scatter > JUMP * change and scatter > LEVEL * abs(float(loss.mean())):
        yield (
            f"The loss of one step scatters by ±{scatter:.2g}, while its mean moved by {change:.2g} from the first third to the last: "
            "it is mostly noise of batches and time steps. Judge by the loss on the fixed evaluation set."
        )


def _scatter(loss: Column) -> float:
    """Return the standard deviation of the loss of one step, without a slow trend."""
    return float(np.diff(loss).std() / math.sqrt(2))


Rule: TypeAlias = "Callable[[Run], Iterator[str]]"

RULES: dict[str, Rule] = {
    "estimate_at_start": _estimate_at_start,
    "estimate_grows": _estimate_grows,
    "estimate_jumps": _estimate_jumps,
    "growth_limited": _growth_limited,
    "gradient_clipped": _clipped,
    "lost_in_bfloat16": _lost_in_bfloat16,
    "loss_rises": _loss_rises,
    "evaluation_apart": _training_and_evaluation_apart,
    "nothing_changed": _nothing_changed,
    "mostly_noise": _mostly_noise,
}
"""Each rule by its name."""
