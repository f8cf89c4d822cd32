"""Readers for schedule-free optimizers: the rate at which the point z moves.

z takes the whole step. The weights y lie between z and x, the average of the past z: y = beta1·x + (1 − beta1)·z.
So the weights take the share 1 − beta1 of each step at once and the rest as the average follows, as with momentum. The rate
of z is the one to compare with that of other optimizers. Sources: schedulefree 1.4, prodigy-plus-schedule-free 2.0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from diffopt_widgets.rates.base import Group, RateReader, Rates, number
from diffopt_widgets.rates.first_steps import rectification

if TYPE_CHECKING:
    from diffopt_widgets.records import Grouped


class ScheduleFree(RateReader):
    """Reader of the group's rate times the package's own warm-up, which a user's own loop may use."""

    def before(self) -> Rates:
        """Read the rate of z in the coming step."""
        self.rates = tuple(number(group["lr"]) * _warmup(group) for group in self.groups)
        return self.rates


class ScheduleFreeRAdam(RateReader):
    """Reader of the group's rate times RAdam's rectification.

    In the first steps, while the squared average rests on few gradients, z stands still; without `silent_sgd_phase` it takes
    the step of SGD at the group's rate.
    """

    def before(self) -> Rates:
        """Read the rate of z in the coming step."""
        self.rates = tuple(number(group["lr"]) * _rectified(group) for group in self.groups)
        return self.rates


class ProdigyPlus(RateReader):
    """Reader of the estimate d times the group's rate, and times RAdam's rectification with bias correction.

    With `split_groups` each group has an estimate of its own, unless `split_groups_mean` makes them share one.
    """

    def before(self) -> Rates:
        """Read the rate of z in the coming step."""
        estimates = tuple(_estimate(group) for group in self.groups)
        self.d = estimates if self._split and not self.groups[0]["split_groups_mean"] else estimates[0]
        self.rates = tuple(
            d * number(group["lr"]) * self._share(group) for d, group in zip(estimates, self.groups, strict=True)
        )
        return self.rates

    def d_hat(self) -> Grouped | None:
        """Return each estimate as it would be without its limits."""
        if self._split:
            return tuple(_raw_estimate(group) for group in self.groups)
        raw = _raw_estimate(self.groups[0])
        return None if math.isnan(raw) else raw

    def _share(self, group: Group) -> float:
        """Compute the share of d · learning rate that the coming step applies."""
        share = 1.0
        if group["use_bias_correction"]:
            rectified, *_ = self.optimizer.get_bias_correction(1.0, group["betas"][1], group["k"])  # type: ignore[attr-defined]
            share = number(rectified)
        if group["use_adopt"]:
            if group["k"] == 1:
                return 0.0  # the first step only measures the gradient
            if not group["use_schedulefree"]:
                share *= number(group["d"])  # the package multiplies by d once more
        return share

    @property
    def _split(self) -> bool:
        return bool(self.groups[0]["split_groups"]) and len(self.groups) > 1


def _rectified(group: Group) -> float:
    length, factor = rectification(group["betas"][1], group["k"] + 1)
    return factor if length > 4.0 else float(not group["silent_sgd_phase"])


def _warmup(group: Group) -> float:
    return (group["k"] + 1) / group["warmup_steps"] if group["k"] < group["warmup_steps"] else 1.0


def _estimate(group: Group) -> float:
    shared = group["shared_d"] if group["split_groups"] and group["split_groups_mean"] else None
    return number(group["d"] if shared is None else shared)


def _raw_estimate(group: Group) -> float:
    """Compute d as the step just taken would have set it without limits; NaN where the step made no estimate."""
    frozen = 0 < group["prodigy_steps"] < group["k"]  # k is the number of the coming step
    if frozen:
        return math.nan
    if group["use_speed"]:
        past, present = group["prev_d_numerator"], group["d_numerator"]
        if past <= 0 or present <= 0:
            return math.nan
        return float(group["d_prev"] * math.sqrt(present / past) * group["d_coef"] ** 0.125)
    return float(group["d_coef"] * group["d_numerator"] / group["d_denom"]) if group["d_denom"] > 0 else math.nan
