"""Ready comparisons: a few runs that differ in one thing, and what to look for in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffopt_widgets.runs.run import Run, name_by_difference, vary
from diffopt_widgets.settings import Settings
from diffopt_widgets.settings.plan import RunPlan


@dataclass(frozen=True)
class Comparison:
    """Runs that differ in the values of `over` and in nothing else."""

    key: str
    title: str
    look_for: str
    """Visible effect, in a sentence or two; true for these runs with any seed."""
    plan: RunPlan
    over: Mapping[str, tuple[Any, ...]]  # Any: values of options, of whatever kind
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
            "Prodigy finds its rate in the first tens of steps, then the cosine takes it down. On this task a smaller "
            "d_coef mostly settles lower, but not by that very factor: the estimate answers to what it caused.",
            RunPlan(Settings("PRODIGY", lr=1.0, schedule="COSINE"), "digits", 300),
            {"d_coef": (0.5, 1.0, 1.2)},
            log_rate=False,  # three plateaus within a factor of two
        ),
        Comparison(
            "beta2",
            "What beta2 does",
            "0.9 and 0.999 end nearly alike here. 0.5 remembers squared gradients for about two steps, momentum its gradients "
            "for about ten: the loss stays higher or climbs again, though all three apply the same learning rate.",
            RunPlan(Settings("ADAMW", lr=2e-2), "digits", 200),
            {"beta2": (0.5, 0.9, 0.999)},
            log_rate=False,
        ),
        Comparison(
            "bits",
            "8 bits against 32",
            "The two losses fall almost as one, while the 8-bit states take about two fifths of the memory: here tensors "
            "of fewer than 4096 weights keep 32 bits. On a large model it is nearer a quarter.",
            RunPlan(Settings("ADAMW", lr=4e-3, schedule="COSINE"), "digits", 200),
            {"optimizer": ("ADAMW", "ADAMW_8BIT")},
            log_rate=False,
        ),
        Comparison(
            "warmup",
            "With and without warm-up",
            "A high rate from the very first step throws the loss above where it began, and mostly it does not recover. "
            "Raised over the first tenth of the steps, the same rate trains well.",
            RunPlan(Settings("ADAMW", lr=4e-2, schedule="COSINE"), "digits", 200),
            {"warmup": (0.0, 0.1)},
            log_rate=False,
        ),
        Comparison(
            "rounding",
            "Stochastic rounding in bfloat16",
            "At this small rate a step leaves about three of four weights in bfloat16 as they were: what it adds is rounded away, "
            "and the loss falls about half as far. Rounded up or down at random it counts on average, as with float32 weights.",
            RunPlan(Settings("ADAMW", lr=1e-4), "swiss_roll", 200, dtype="bfloat16"),
            {"stochastic_rounding": (False, True)},
            log_rate=False,
        ),
    )
