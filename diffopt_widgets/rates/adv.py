"""Readers for optimizers of adv_optm: ADOPT, whose first step only measures the gradient, and Prodigy with a rate per group.

Source: adv_optm 2.2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.base import Rate, RateReader, Rates, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.optim import Optimizer

    from diffopt_widgets.records import Scalar


class AdoptAdv(RateReader):
    """Reader of the group's rate, which is 0 for tensors whose first gradient is not yet measured.

    With the arctangent there is no such step. If the tensors of a group begin at different steps, the value is the mean
    over the weights that get a gradient.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._measuring = not optimizer.use_atan2  # type: ignore[attr-defined]  # adv_optm keeps it there

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        super().before()
        if self._measuring:
            shares = [self._begun(group["params"]) for group in self.groups]
            self._measuring = min(shares) < 1.0
            self.rates = tuple(rate * share for rate, share in zip(self.rates, shares, strict=True))
        return self.rates

    def _begun(self, params: list[torch.Tensor]) -> float:
        """Compute the share of weights whose first gradient has been measured."""
        stepping = [p for p in params if p.grad is not None] or params
        begun = sum(p.numel() for p in stepping if self.optimizer.state.get(p, {}).get("step"))
        return begun / sum(p.numel() for p in stepping)


class ProdigyAdv(RateReader):
    """Reader of the shared estimate d times each group's own rate, both read before the step."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.d = number(self.groups[0]["d"])
        self.rates = tuple(self.d * number(group["lr"]) for group in self.groups)
        return self.rates

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step; None once the optimizer has stopped estimating.

        The back end does not keep the denominator, the l1 norm of s over all tensors, so it is computed again here.
        """
        s = [state["s"] for state in self.optimizer.state.values() if "s" in state]
        first: Mapping[str, Any] = self.groups[0]
        if not s:
            return None
        l1 = torch.stack(torch._foreach_norm(s, 1)).sum()
        d_hat: Rate = first["d_coef"] * first["d_numerator"] / l1
        return torch.where(l1 > 0, d_hat, first["d"])
