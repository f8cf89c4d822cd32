"""Reader for NAdam, whose momentum counts for more as the run goes on.

Source: torch 2.13 (Dozat 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.base import Group, Mean, Rate, RateReader, Rates, rate_of

if TYPE_CHECKING:
    from torch.optim import Optimizer


class NAdam(RateReader):
    """Reader of the group's rate times the total weight that a step gives to the gradients so far.

    Adam's corrected momentum is an average, with weights that sum to 1. NAdam takes a share of the newest gradient and a
    share of the momentum, each with its own correction: the weights sum to 1.06 at the first step, to 0.78 at the second,
    to 0.73 at the third and fourth, and then climb back to 1. If the tensors of a group began at different steps, the value
    is the mean over the weights that get a gradient.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._means: dict[int, Mean] = {}

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple([rate_of(group) * self._weight(index, group) for index, group in enumerate(self.groups)])
        return self.rates

    def _weight(self, index: int, group: Group) -> Rate:
        states = [self.optimizer.state.get(p) for p in group["params"]]
        begun = next((state for state in states if state), None)
        counts = self.counts(group)
        if begun is None or not any(counts):
            return float(_weight(group, 1.0, 1.0))
        # Tensors of one element, whose values are not read here.
        none, whole = torch.zeros_like(begun["step"]), torch.ones_like(begun["mu_product"])
        steps = torch.stack([state["step"] if state else none for state in states]) + 1.0
        past = torch.stack([state["mu_product"] if state else whole for state in states])
        return self._means.setdefault(index, Mean())(_weight(group, steps, past), counts)


def _weight(group: Group, step: Rate, past: Rate) -> Any:  # Any: a number, or a vector with one for each tensor
    beta1, decay = group["betas"][0], group["momentum_decay"]
    now, following = (beta1 * (1.0 - 0.5 * 0.96 ** (at * decay)) for at in (step, step + 1.0))
    product = past * now
    momentum = 1.0 - beta1**step  # the weights of the average, which starts at zero
    return (1.0 - now) / (1.0 - product) + following * momentum / (1.0 - product * following)
