"""Readers for optimizers whose first steps apply less than their group's rate: rectified ones, ADOPT and SOAP.

Source: pytorch_optimizer 4.1.
"""

from __future__ import annotations

import math

from diffopt_widgets.rates.base import Group, RateReader, Rates, number


class Rectified(RateReader):
    """Reader for AdaBelief and Aida, which scale the rate with `rectify` while the squared average rests on few gradients.

    This is the r of RAdam (Liu et al. 2019, https://arxiv.org/abs/1908.03265, algorithm 2). Below the threshold the step is
    that of SGD, at the group's rate, or there is none.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple(number(group["lr"]) * self._share(group) for group in self.groups)
        return self.rates

    def _share(self, group: Group) -> float:
        if not group["rectify"]:
            return 1.0
        length, factor = rectification(group["betas"][1], group.get("step", 0) + 1)
        if length >= self.optimizer.n_sma_threshold:  # type: ignore[attr-defined]  # pytorch_optimizer keeps it there
            return factor
        return 1.0 if self.optimizer.degenerated_to_sgd else 0.0  # type: ignore[attr-defined]  # and this one


class MeasuresFirst(RateReader):
    """Reader of the group's rate, which is 0 at the first step, since that only measures the gradient (ADOPT)."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple(number(group["lr"]) if group.get("step", 0) else 0.0 for group in self.groups)
        return self.rates


class Soap(MeasuresFirst):
    """Reader for SOAP, whose first step only computes the directions.

    With `normalize_gradient` an update has a root mean square of 1 before it is multiplied by the rate. It then needs no
    bias correction, which is applied all the same and makes the first steps larger than the rate.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        rates = super().before()
        self.rates = tuple(number(rate) * _correction(group) for rate, group in zip(rates, self.groups, strict=True))
        return self.rates


def rectification(beta2: float, step: int) -> tuple[float, float]:
    """Return the number of gradients that the squared average rests on at a step, and RAdam's factor (0 for up to 4 of them)."""
    most = 2.0 / (1.0 - beta2) - 1.0
    length = most - 2.0 * step * beta2**step / (1.0 - beta2**step)
    if length <= 4.0:
        return length, 0.0
    return length, math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))


def _correction(group: Group) -> float:
    """Compute Adam's bias correction where it scales a normalised step, and 1 where it is part of the direction."""
    step = group.get("step", 0)  # the first step is not counted
    if not (step and group["normalize_gradient"] and group["correct_bias"]):
        return 1.0
    beta1, beta2 = group["betas"]
    return math.sqrt(1.0 - beta2**step) / float(1.0 - beta1**step)
