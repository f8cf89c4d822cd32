"""Readers for optimizers of adv_optm: ADOPT, whose first step only measures the gradient, and Prodigy with a rate per group.

Source: adv_optm 2.2.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.base import Group, Rate, RateReader, Rates, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffopt_widgets.records import Scalar


class AdoptAdv(RateReader):
    """Reader of the group's rate, which is 0 for tensors whose first gradient is not yet measured.

    With the arctangent there is no such step. If the tensors of a group begin at different steps, the value is the mean
    over the weights that get a gradient.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        super().before()
        if not self.optimizer.use_atan2:  # type: ignore[attr-defined]  # adv_optm keeps it there
            self.rates = tuple(rate * self._begun(group) for rate, group in zip(self.rates, self.groups, strict=True))
        return self.rates

    def _begun(self, group: Group) -> float:
        """Compute the share of weights whose first gradient has been measured; 1 in a group without weights."""
        counts, state = self.counts(group), self.optimizer.state
        begun = sum(n for n, p in zip(counts, group["params"], strict=True) if n and state.get(p, {}).get("step"))
        return begun / sum(counts) if any(counts) else 1.0


class ProdigyAdv(RateReader):
    """Reader of the estimate d times the group's own rate, both read before the step.

    The groups share the estimate, except that a group which is added to a training has the initial one in its first step.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.d = number(self.groups[0]["d"])
        self.rates = tuple(number(group["d"]) * number(group["lr"]) for group in self.groups)
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
