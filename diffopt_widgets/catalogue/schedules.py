"""Learning-rate schedules, warm-up and scaling, by OneTrainer's names and formulas, as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schema import Rule, Use, Values
from diffopt_widgets.catalogue.values import Interval


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """One learning-rate schedule.

    `factor(progress, cycles)` returns the factor on the learning rate, before the minimum factor is applied; `progress`
    goes from 0 (end of warm-up) to 1 (end of the run).
    """

    key: str
    title: str
    summary: str
    formula: str
    factor: Callable[[float, float], float]
    uses_cycles: bool = False
    uses_min_factor: bool = True


def _constant(progress: float, cycles: float) -> float:
    return 1.0


def _linear(progress: float, cycles: float) -> float:
    return 1.0 - progress


def _cosine(progress: float, cycles: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _cosine_with_restarts(progress: float, cycles: float) -> float:
    return 0.5 * (1.0 + math.cos(2.0 * math.pi * cycles * progress))


def _cosine_with_hard_restarts(progress: float, cycles: float) -> float:
    if progress >= 1.0 and float(cycles).is_integer():
        return 0.0  # the end of a whole cycle, not the start of one more
    return 0.5 * (1.0 + math.cos(math.pi * ((cycles * progress) % 1.0)))


def _rex(progress: float, cycles: float) -> float:
    return (1.0 - progress) / (1.0 - 0.9 * progress)


_SCHEDULES = (
    ScheduleSpec(
        "CONSTANT",
        "Constant",
        "The learning rate stays constant after warm-up. Nothing forces the run to settle at its end.",
        r"f(p) = 1",
        _constant,
        uses_min_factor=False,
    ),
    ScheduleSpec(
        "LINEAR",
        "Linear",
        "The rate falls in a straight line from its full value to the minimum. This is a plain, strong choice for a run of "
        "known length.",
        r"f(p) = 1 - p",
        _linear,
    ),
    ScheduleSpec(
        "COSINE",
        "Cosine",
        "The rate stays high early, falls fastest in the middle and lands softly, so that details are learned at the end.",
        r"f(p) = \tfrac12 (1 + \cos \pi p)",
        _cosine,
    ),
    ScheduleSpec(
        "COSINE_WITH_RESTARTS",
        "Cosine with soft restarts",
        "The rate makes a wave: it goes down to the minimum and smoothly up again, once per cycle. With a whole number of "
        "cycles it ends at the full rate; use half cycles (0.5, 1.5) to end low.",
        r"f(p) = \tfrac12 (1 + \cos 2 \pi c p)",
        _cosine_with_restarts,
        uses_cycles=True,
    ),
    ScheduleSpec(
        "COSINE_WITH_HARD_RESTARTS",
        "Cosine with hard restarts",
        "The rate falls along a cosine and jumps back to its full value at the start of each cycle; the jumps are meant to "
        "leave a poor solution. With a whole number of cycles it ends at the minimum; a fraction stops the last cycle on its way down.",
        r"f(p) = \tfrac12 (1 + \cos \pi (c p \bmod 1))",
        _cosine_with_hard_restarts,
        uses_cycles=True,
    ),
    ScheduleSpec(
        "REX",
        "REX",
        "The rate stays high for most of the run and drops steeply at the end. This schedule was made for short budgets.",
        r"f(p) = \frac{1 - p}{1 - 0.9\,p}",
        _rex,
    ),
    ScheduleSpec(
        "ADAFACTOR",
        "Adafactor (relative step)",
        "This leaves the rate to Adafactor itself: with relative_step it is the smaller of 0.01 and one over the square root "
        "of the step, so it stays at 0.01 for the first 10,000 steps and falls only then. With warmup_init it first climbs by "
        "1e-6 per step. With any other optimizer it does nothing.",
        r"f(p) = 1",
        _constant,
        uses_min_factor=False,
    ),
)
SCHEDULES: dict[str, ScheduleSpec] = {schedule.key: schedule for schedule in _SCHEDULES}
"""Every schedule by key."""

_SAME = (("constant_with_warmup", "CONSTANT"), ("linear_with_warmup", "LINEAR"), ("cosine_with_warmup", "COSINE"))
"""Names that kohya's scripts, diffusers and transformers have for a schedule; its warm-up is an option of its own here."""
_UNCLEAR = (
    (
        "cosine_with_restarts",
        "it has hard restarts in diffusers and soft ones in OneTrainer; write COSINE_WITH_HARD_RESTARTS or COSINE_WITH_RESTARTS",
    ),
    ("cosine_with_min_lr", "this is COSINE with a min_factor, such as 0.1; set both"),
    ("polynomial", "with a power of 1, which is usual, this is LINEAR; other powers are not available"),
    ("cosineannealinglr", "with T_max as the steps of the run this is COSINE"),
    ("none", "a schedule is needed; CONSTANT leaves the learning rate as it is"),
)

LR_SCALERS = ("NONE", "BATCH", "GRADIENT_ACCUMULATION", "BOTH")

TRAINING_OPTIONS: tuple[Option, ...] = (
    Option(
        "schedule",
        "Schedule",
        "choice",
        "The schedule changes the learning rate over the run. A falling one lets the weights settle; with a constant one it is "
        "easier to stop and continue. For optimizers that estimate their own rate it is a factor on that estimate.",
        choices=tuple(SCHEDULES),
        same=_SAME,
        unclear=_UNCLEAR,
    ),
    Option(
        "warmup",
        "Warm-up",
        "float",
        "Steps over which the rate rises from zero before the schedule begins. A value up to 1 is a fraction of the run. A "
        "longer warm-up is gentler on fresh weights and on Adam's first estimates. Prodigy and D-Adaptation warm up by "
        "themselves.",
        domain=Interval(0),
        soft=(0, 100),
        unit="steps, or a fraction of the run when at most 1",
    ),
    Option(
        "cycles",
        "Cycles",
        "float",
        "Number of waves that a restarting schedule makes in the run. More cycles mean more, shorter restarts. Other "
        "schedules ignore it.",
        domain=Interval(0, low_open=True),
        soft=(0.5, 8),
    ),
    Option(
        "min_factor",
        "Minimum factor",
        "float",
        "The end of the schedule, as a fraction of the learning rate. 0 ends at rest; 0.1 keeps a tenth of the rate, so "
        "that late steps still learn.",
        domain=Interval(0, 1),
        soft=(0, 1),
    ),
    Option(
        "lr_scaler",
        "Learning-rate scaler",
        "choice",
        "The scaler multiplies the learning rate by the square root of the batch size, of the accumulated steps, or of both, so "
        "that a rate found at batch 1 carries over. Leave it at NONE for optimizers that estimate their own rate.",
        choices=LR_SCALERS,
    ),
)
"""The options that Settings has besides the optimizer's own, in the order of the panel."""

TRAINING_DEFAULTS: dict[str, float | str] = {
    "schedule": "CONSTANT",
    "warmup": 0.0,
    "cycles": 1.0,
    "min_factor": 0.0,
    "lr_scaler": "NONE",
}

TRAINING: Mapping[str, Use] = {
    option.name: Use(option, TRAINING_DEFAULTS[option.name], None) for option in TRAINING_OPTIONS
}
"""Options of `TRAINING_OPTIONS` by name, each with its default."""


def warmup_steps(warmup: float, steps: int) -> int:
    """Return the warm-up in steps, rounded down: a value up to 1 is a fraction of the run, a larger one a number of steps.

    >>> warmup_steps(0.1, 300), warmup_steps(20, 300), warmup_steps(1, 300), warmup_steps(0, 300)
    (30, 20, 300, 0)
    """
    if warmup > 1:
        return int(warmup)
    return int(round(warmup * steps, 6))  # 0.29 * 100 is a little less than 29


def schedule_factor(
    schedule: str, step: int, steps: int, *, warmup: float = 0.0, cycles: float = 1.0, min_factor: float = 0.0
) -> float:
    """Return the factor on the learning rate at `step` (0 is the first step) of a run of `steps`.

    During warm-up the factor is step / warm-up steps, so the first step has rate 0, as in OneTrainer. After the end of the
    run it stays at its last value.

    Raises:
        KeyError: there is no such schedule.

    >>> [round(schedule_factor("COSINE", step, 100, warmup=10), 3) for step in (0, 5, 10, 55, 100, 400)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """
    spec = SCHEDULES[schedule]
    rising = warmup_steps(warmup, steps)
    step = min(step, steps)
    if step < rising:
        return step / rising
    falling = max(1, steps - rising)
    factor = spec.factor(min(1.0, (step - rising) / falling), cycles)
    if not spec.uses_min_factor:
        return factor
    return max(0.0, min_factor + (1.0 - min_factor) * factor)


def lr_scale(scaler: str, batch_size: int, accumulation: int) -> float:
    """Return the factor of a learning-rate scaler: the square root of the batch size, the accumulation, or their product.

    >>> lr_scale("BOTH", 16, 4), lr_scale("BATCH", 16, 4), lr_scale("NONE", 16, 4)
    (8.0, 4.0, 1.0)
    """
    batch = batch_size if scaler in {"BATCH", "BOTH"} else 1
    accumulated = accumulation if scaler in {"GRADIENT_ACCUMULATION", "BOTH"} else 1
    return math.sqrt(batch * accumulated)


def warmup_not_over(values: Values) -> bool:
    """Check whether a warm-up is still going on when the run ends; False where the run's steps are not known."""
    warmup, steps = values.get("warmup"), values.get("steps")
    return isinstance(warmup, int | float) and isinstance(steps, int) and warmup_steps(warmup, steps) >= steps


WARMUP_RULE = Rule(
    "warmup-run",
    ("warmup",),
    warmup_not_over,
    "The warm-up is not over when the run ends, so the full learning rate is never reached. Write fewer steps of warm-up, or a "
    "fraction of the run such as 0.1; or train for more steps.",
    fix={"warmup": 0.1},
    severity="warning",
)
"""Rule about a warm-up that is as long as the run or longer, where the length of the run is known."""
