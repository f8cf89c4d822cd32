"""Base of the readers of applied rates, called before and after each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from diffopt_widgets.records import Grouped

Rate: TypeAlias = "float | torch.Tensor"
Rates: TypeAlias = "tuple[Rate, ...]"
Group: TypeAlias = Mapping[str, Any]  # Any: torch's own type of a parameter group


class RateReader:
    """Reader of the parameter groups' own rates."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.d: float | tuple[float, ...] | None = None
        """Estimate that the step uses; one per parameter group where each has its own."""
        self.rates: Rates = ()

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimizer."""
        return self.optimizer.param_groups

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple([rate_of(group) for group in self.groups])
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        return self.rates

    def take_over(self, old: Any) -> None:  # Any: a reader of the same class
        """Take over what the old reader remembers of past steps, after groups were added or removed."""

    def d_hat(self) -> Grouped | None:
        """Return the raw estimate of the step, before its limits; None if there is none."""
        return None

    def averages(self) -> list[Average]:
        """Return all averages that it keeps from one step to the next."""
        fields = [value if isinstance(value, list) else [value] for value in vars(self).values()]
        return [value for values in fields for value in values if isinstance(value, Average)]


class Average:
    """Running average of the rates so far, with weights that sum to 1.

    When the rate is part of the momentum, past gradients keep moving the weights at the rates of their own steps. A step
    then applies this average.
    """

    def __init__(self) -> None:
        self.sum: Rate = 0.0
        self.weight = 0.0

    def put(self, rate: Rate, beta: float) -> Rate:
        """Add the rate of one step, which then decays by `beta` per step; return the average."""
        self.sum = beta * self.sum + (1.0 - beta) * rate
        self.weight = beta * self.weight + (1.0 - beta)
        return self.sum / self.weight


def rate_of(group: Group) -> Rate:
    """Return a group's rate without waiting for the device; NaN if it has none."""
    rate = group.get("lr")
    if rate.__class__ is float:
        return rate
    if isinstance(rate, torch.Tensor) and not rate.is_cpu:
        return rate.detach().clone()  # a schedule changes it in place
    return math.nan if rate is None else float(rate)


def number(value: Any) -> float:  # Any: torch takes floats and tensors as a learning rate
    """Return a learning rate or an estimate as a float."""
    return float(value)
