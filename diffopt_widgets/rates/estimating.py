"""Readers for optimizers that estimate their rate: Prodigy and D-Adaptation.

Sources: prodigyopt 1.1, dadaptation 3.2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.base import Average, Group, RateReader, Rates, number

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from diffopt_widgets.records import Scalar


class _Estimating(RateReader):
    """Reader of one rate for all groups: the estimate `d` times the largest group rate, read before the step."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        first = self.groups[0]
        self.d = d = number(first["d"])
        self.rates = (d * self._lr() * _bias_correction(first),) * len(self.groups)
        return self.rates

    def _lr(self) -> float:
        return max(number(group["lr"]) for group in self.groups)


class Prodigy(_Estimating):
    """Reader for Prodigy, which keeps its raw estimate in the group."""

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        return _optional(self.groups[0].get("d_hat"))


class _Averaged(_Estimating):
    """Reader for optimizers whose rate is part of the first moment: a step applies the beta1-average of the rates so far."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._average = Average()

    def take_over(self, old: Any) -> None:
        """Take over the average of the steps so far."""
        self._average = old._average  # noqa: SLF001  # of the same class

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        return (self._average.put(self.rates[0], self.groups[0]["betas"][0]),) * len(self.groups)


class DAdaptAdam(_Averaged):
    """Reader for DAdaptAdam, with or without bias correction."""

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        # At a rate of 0 the back end returns before it averages anything or moves a weight.
        return super().after() if self._lr() else self.rates

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        return _d_hat_from_l1(self.optimizer)


class DAdaptAdan(_Averaged):
    """Reader for DAdaptAdan, which uses the first group's rate for all."""

    def _lr(self) -> float:
        return number(self.groups[0]["lr"])

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        first = self.groups[0]
        states = _states(self.optimizer, "exp_avg_sq")
        if not states:
            return None
        beta3, eps = first["betas"][2], first["eps"]
        s = [state["s"] for state in states]
        scale = torch._foreach_sqrt([state["exp_avg_sq"] for state in states])
        torch._foreach_add_(scale, eps)
        weighted = _total([part.sum() for part in torch._foreach_div(torch._foreach_mul(s, s), scale)])
        d_hat: torch.Tensor = weighted / (1.0 - beta3) - float(first["gsq_weighted"])
        return d_hat / _total(torch._foreach_norm(s, 1))


class DAdaptLion(_Estimating):
    """Reader for DAdaptLion, where the sign is multiplied by the rate of the step itself."""

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        return _d_hat_from_l1(self.optimizer)


class DAdaptSGD(_Estimating):
    """Reader for DAdaptSGD, which divides the rate by the norm of the first gradient, known only after the first step.

    The weights follow a point that moves at this rate, with a delay that the momentum sets. So a step applies the
    momentum-average of the rates so far.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._average = Average()

    def take_over(self, old: Any) -> None:
        """Take over the average of the steps so far."""
        self._average = old._average  # noqa: SLF001  # of the same class

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        super().before()
        return self._over_first_norm()

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        rate, *_ = self._over_first_norm()
        return (self._average.put(rate, self.groups[0]["momentum"]),) * len(self.groups)

    def _over_first_norm(self) -> Rates:
        norm = self.groups[0].get("g0_norm")
        return tuple(math.nan if norm is None else float(rate) / float(norm) for rate in self.rates)

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        states = _states(self.optimizer, "s")
        if not states:
            return None
        squares = [norm * norm for norm in torch._foreach_norm([state["s"] for state in states])]
        return 2.0 * float(self.groups[0]["numerator_weighted"]) / _total(squares).sqrt()


class DAdaptAdaGrad(_Estimating):
    """Reader for DAdaptAdaGrad: dual averaging has no rate of a single step, so d times the learning rate is shown."""

    def _lr(self) -> float:
        return number(self.groups[0]["lr"])

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        first = self.groups[0]
        if not first["skl1"]:
            return None
        return float((first["sksq_weighted"] - first["gsq_weighted"]) / first["skl1"])


def _optional(value: Any) -> float | None:  # Any: as above
    return None if value is None else float(value)


def _bias_correction(group: Group) -> float:
    if not group.get("use_bias_correction"):
        return 1.0
    beta1, beta2 = group["betas"][:2]
    step = group["k"] + 1
    return float(math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step))


def _states(optimizer: Optimizer, key: str) -> list[dict[str, torch.Tensor]]:
    return [
        state
        for group in optimizer.param_groups
        for p in group["params"]
        if key in (state := optimizer.state.get(p, {}))
    ]


def _total(parts: Any) -> torch.Tensor:  # Any: a list or tuple of scalar tensors
    return torch.stack(list(parts)).sum()


def _d_hat_from_l1(optimizer: Optimizer) -> Scalar | None:
    """Compute the estimate of DAdaptAdam and DAdaptLion: the weighted numerator over the l1 norm of s."""
    first = optimizer.param_groups[0]
    states = _states(optimizer, "s")
    if not states:
        return None
    root = math.sqrt(first["betas"][1])
    l1 = _total(torch._foreach_norm([state["s"] for state in states], 1))
    return float(first["numerator_weighted"]) / ((1.0 - root) * l1)
