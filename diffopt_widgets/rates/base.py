"""What a reader of applied rates is: asked before and after each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from diffopt_widgets.records import Grouped

Rate: TypeAlias = "float | torch.Tensor"
Rates: TypeAlias = "tuple[Rate, ...]"


class RateReader:
    """The rate of the parameter group as it stands."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.d: float | tuple[float, ...] | None = None
        """The estimate that the step is made with; one per parameter group where each has its own."""
        self.rates: Rates = ()

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""
        return self.optimizer.param_groups

    def before(self) -> Rates:
        """Read the rate that the coming gradient enters with."""
        self.rates = tuple([rate_of(group) for group in self.groups])
        return self.rates

    def after(self) -> Rates:
        """Tell what the step just taken applied."""
        return self.rates

    def take_over(self, old: Any) -> None:  # Any: a reader of its own kind
        """Go on with what a reader knew of past steps, after groups of the optimizer came or went."""

    def d_hat(self) -> Grouped | None:
        """Tell the raw estimate that the step came to."""
        return None

    def averages(self) -> list[Average]:
        """Give all that it remembers from one step to the next."""
        kept = [value if isinstance(value, list) else [value] for value in vars(self).values()]
        return [value for values in kept for value in values if isinstance(value, Average)]


class Average:
    """The running average of what was put in so far, whose weights sum to 1.

    With a rate folded into the momentum, past gradients go on moving the weights at the rates that they came in with: a
    step applies this average.
    """

    def __init__(self) -> None:
        self.sum: Rate = 0.0
        self.weight = 0.0

    def put(self, rate: Rate, beta: float) -> Rate:
        """Put in the rate of one step, of which `beta` is kept at the next; give the average."""
        self.sum = beta * self.sum + (1.0 - beta) * rate
        self.weight = beta * self.weight + (1.0 - beta)
        return self.sum / self.weight


def rate_of(group: dict[str, Any]) -> Rate:
    """A group's rate as it stands, without waiting for the device; NaN where it has none."""
    rate = group.get("lr")
    if rate.__class__ is float:
        return rate
    if isinstance(rate, torch.Tensor) and not rate.is_cpu:
        return rate.detach().clone()  # a schedule changes it in place
    return math.nan if rate is None else float(rate)


def number(value: Any) -> float:  # Any: torch takes floats and tensors as a learning rate
    """A learning rate or an estimate as a number."""
    return float(value)
