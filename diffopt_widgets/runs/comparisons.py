"""Ready comparisons: a few runs that differ in one thing, and what to look for in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffopt_widgets.runs.run import Run, name_by_difference
from diffopt_widgets.runs.space import vary
from diffopt_widgets.settings import Settings
from diffopt_widgets.settings.plan import RunPlan

SPREAD_SEEDS = range(5)
"""Seeds with which `Comparison.between_seeds` was measured."""


@dataclass(frozen=True)
class Comparison:
    """Runs that differ in the values of `over` and in nothing else."""

    key: str
    title: str
    look_for: str
    """Visible effect, in a sentence or two; true for these runs with any seed."""
    plan: RunPlan
    over: Mapping[str, tuple[Any, ...]]  # Any: values of options, of whatever kind
    between_seeds: float
    """Largest difference that seeds alone make to the evaluation loss of one of the runs; measured on a CPU."""
    log_rate: bool = True
    """True when the applied rates are best seen on a log axis."""

    def runs(self, *, seed: int = 0, device: str = "auto") -> list[Run]:
        """Runs that wait to be carried out, named by their differences."""
        plans = vary(replace(self.plan, seed=seed, device=device), self.over)
        return [Run(plan, name) for plan, name in zip(plans, name_by_difference(plans), strict=True)]


def comparisons() -> tuple[Comparison, ...]:
    """All ready comparisons, in the order of their buttons."""
    return (
        Comparison(
            "d_coef",
            "D coefficient under cosine",
            "Prodigy finds its rate within the first tens of steps, then the cosine lowers it. On this task a smaller d_coef "
            "mostly settles at a lower rate, but not by the same factor: the estimate reacts to its effect.",
            RunPlan(Settings("PRODIGY", lr=1.0, schedule="COSINE"), "digits", 300),
            {"d_coef": (0.5, 1.0, 1.2)},
            between_seeds=0.028,
            log_rate=False,  # three plateaus within a factor of two
        ),
        Comparison(
            "beta2",
            "What beta2 does",
            "Here 0.9 and 0.999 end nearly alike. With 0.5 the average of squared gradients spans about two steps, that of the "
            "gradients about ten: the loss stays a little higher, although all apply the same rate.",
            RunPlan(Settings("ADAMW", lr=1e-2), "digits", 200),
            {"beta2": (0.5, 0.9, 0.999)},
            between_seeds=0.013,
            log_rate=False,
        ),
        Comparison(
            "bits",
            "8 bits against 32",
            "The two losses fall almost together, while the 8-bit state needs about two fifths of the memory: here tensors with "
            "fewer than 4096 weights keep 32 bits. In a large model few tensors are so small.",
            RunPlan(Settings("ADAMW", lr=4e-3, schedule="COSINE"), "digits", 200),
            {"optimizer": ("ADAMW", "ADAMW_8BIT")},
            between_seeds=0.0041,
            log_rate=False,
        ),
        Comparison(
            "warmup",
            "With and without warm-up",
            "A high rate from the first step raises the loss above its initial value, and mostly the loss does not recover. "
            "With a warm-up over the first tenth of the steps, the same rate trains well.",
            RunPlan(Settings("ADAMW", lr=4e-2, schedule="COSINE"), "digits", 200),
            {"warmup": (0.0, 0.1)},
            between_seeds=0.29,
            log_rate=False,
        ),
        Comparison(
            "rounding",
            "Stochastic rounding in bfloat16",
            "At this small rate a step leaves about three of four bfloat16 weights unchanged: the update is rounded away, and the "
            "loss falls about half as far. Rounded up or down at random, it counts on average, as in float32.",
            RunPlan(Settings("ADAMW", lr=1e-4), "swiss_roll", 200, dtype="bfloat16"),
            {"stochastic_rounding": (False, True)},
            between_seeds=0.022,
            log_rate=False,
        ),
    )
