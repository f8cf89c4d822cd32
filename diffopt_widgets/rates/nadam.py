"""Reader for NAdam, whose momentum counts for more as the run goes on.

Source: torch 2.13 (Dozat 2016).
"""

from __future__ import annotations

from diffopt_widgets.rates.base import Group, Rate, RateReader, Rates, rate_of


class NAdam(RateReader):
    """Reader of the group's rate times the total weight that a step gives to the gradients so far.

    Adam's corrected momentum is an average, with weights that sum to 1. NAdam takes a share of the newest gradient and a
    share of the momentum, each with its own correction: the weights sum to 1.06 at the first step, to 0.78 at the second,
    to 0.73 at the third and fourth, and then climb back to 1. If the tensors of a group began at different steps, the value
    is that of the first tensor in the group that has begun.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple([rate_of(group) * self._weight(group) for group in self.groups])
        return self.rates

    def _weight(self, group: Group) -> Rate:
        state = next((state for p in group["params"] if (state := self.optimizer.state.get(p))), None)
        past: Rate = state["mu_product"] if state else 1.0  # tensors of one element, whose values are not read here
        step: Rate = state["step"] + 1.0 if state else 1.0
        beta1, decay = group["betas"][0], group["momentum_decay"]
        now, following = (beta1 * (1.0 - 0.5 * 0.96 ** (at * decay)) for at in (step, step + 1.0))
        product = past * now
        momentum = 1.0 - beta1**step  # the weights of the average, which starts at zero
        weight: Rate = (1.0 - now) / (1.0 - product) + following * momentum / (1.0 - product * following)
        return weight
