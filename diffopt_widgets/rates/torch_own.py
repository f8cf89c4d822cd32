"""Readers for optimizers of torch that apply another rate than their group's.

Source: torch 2.13. NAdam has a module of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from diffopt_widgets.rates.base import Group, Rate, RateReader, Rates, number, rate_of
from diffopt_widgets.rates.first_steps import rectification

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


class PerTensor(RateReader):
    """Base of readers of a rate that differs between the tensors of a group; the value is the mean over its weights."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple([self.mean(group, self.rate) for group in self.groups])
        return self.rates

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:
        """Return the rate of one tensor; its state is empty before its first step."""
        raise NotImplementedError

    def mean(self, group: Group, rate: Callable[[torch.Tensor, dict[str, Any], Group], Rate]) -> Rate:
        """Compute the mean over the weights that get a gradient, or over all before there is one; the group's rate if it has none."""
        params: list[torch.Tensor] = [p for p in group["params"] if p.numel()]
        params = [p for p in params if p.grad is not None] or [p for p in params if p.requires_grad] or params
        total = sum(p.numel() for p in params)
        parts = [p.numel() / total * rate(p, self.optimizer.state.get(p, {}), group) for p in params]
        return sum(parts[1:], parts[0]) if parts else rate_of(group)


class Adafactor(PerTensor):
    """Reader for torch's Adafactor: the smaller of the group's rate and 1/√t, times the root mean square of each tensor."""

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:
        """Return the step size alpha, which multiplies the clipped update."""
        relative = 1.0 / math.sqrt(_step(state) + 1.0)
        size = p.detach().norm() / math.sqrt(p.numel())
        alpha: Rate = size.clamp_min(group["eps"][1]) * min(number(group["lr"]), relative)
        return alpha


class Adagrad(PerTensor):
    """Reader for Adagrad, whose rate falls with the number of steps where `lr_decay` is above 0."""

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return the group's rate over 1 + steps · lr_decay."""
        return rate_of(group) / (1.0 + _step(state) * float(group["lr_decay"]))


class ASGD(PerTensor):
    """Reader for ASGD, where a step computes the rate of the next one from the group's rate at its own time."""

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return the rate that the state holds; the group's before the first step."""
        eta: Rate = state.get("eta", rate_of(group))
        return eta


class RAdam(PerTensor):
    """Reader for RAdam: the group's rate with SGD's momentum in the first steps, then the rectified rate with Adam's step."""

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return the group's rate times the rectification, once the squared average rests on more than five gradients."""
        length, factor = rectification(group["betas"][1], int(_step(state)) + 1)
        return rate_of(group) * (factor if length > 5.0 else 1.0)


class Rprop(PerTensor):
    """Reader for Rprop, where every weight has a step size of its own, which the sign of the coming gradient changes first.

    The group's rate is only that of the first step. The value is the mean of the sizes, known after the step.
    """

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return the group's rate at the first step, then NaN."""
        return math.nan if state else rate_of(group)

    def after(self) -> Rates:
        """Return the mean step size of the step just taken."""
        return tuple([self.mean(group, self._size) for group in self.groups])

    @staticmethod
    def _size(p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG004  # as for the others
        size: Rate = state["step_size"].mean() if state else rate_of(group)
        return size


class Muon(PerTensor):
    """Reader for torch's Muon: the group's rate times the scale for the shape of each matrix.

    The rate multiplies an update whose singular values lie near 1.
    """

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return the group's rate times the scale that `adjust_lr_fn` names."""
        rows, columns = p.shape[:2]
        scale = group["adjust_lr_fn"] or "original"
        if scale == "original":
            return rate_of(group) * math.sqrt(max(1.0, rows / columns))
        return rate_of(group) * (0.2 * math.sqrt(max(rows, columns)) if scale == "match_rms_adamw" else 1.0)


def _step(state: dict[str, Any]) -> float:
    """Return the number of steps of a tensor; torch keeps it on the CPU, unless the optimizer is capturable."""
    return float(state.get("step", 0))
