"""Ready comparisons: a few runs that differ in one thing, and what to look for in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffopt_widgets.plan import RunPlan
from diffopt_widgets.runs import Run, name_by_difference, vary
from diffopt_widgets.settings import Settings


@dataclass(frozen=True)
class Comparison:
    """Some runs that differ in the values of `over` and in nothing else."""

    key: str
    title: str
    look_for: str
    plan: RunPlan
    over: Mapping[str, tuple[Any, ...]]  # Any: values of options, of whatever kind
    log_rate: bool = True
    """Whether the applied rates are best seen on a log axis."""

    def runs(self, *, seed: int = 0, device: str = "auto") -> list[Run]:
        """The runs, waiting to be carried out, named by what differs."""
        from dataclasses import replace

        plans = vary(replace(self.plan, seed=seed, device=device), self.over)
        return [Run(plan, name) for plan, name in zip(plans, name_by_difference(plans), strict=True)]


def comparisons() -> tuple[Comparison, ...]:
    """Every ready comparison, in the order of their buttons."""
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
    )
