"""Readers for schedule-free optimizers: the rate at which the point z moves.

z takes the whole step, the weights y stay between z and the average x of where z has been: y = beta1·x + (1 − beta1)·z.
So of each step the weights take 1 − beta1 at once and the rest as the average follows, as with momentum; the rate of z is
the one to compare with that of other optimizers. Sources: schedulefree 1.4, prodigy-plus-schedule-free 2.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from diffopt_widgets.rates.base import RateReader, Rates, number
from diffopt_widgets.rates.first_steps import rectification

if TYPE_CHECKING:
    from diffopt_widgets.records import Grouped

Group: TypeAlias = Mapping[str, Any]  # Any: torch's own type of a parameter group


class ScheduleFree(RateReader):
    """The group's rate times the package's own warm-up, which a loop other than ours may use."""

    def before(self) -> Rates:
        """Read the rate of z in the coming step."""
        self.rates = tuple(number(group["lr"]) * _warmup(group) for group in self.groups)
        return self.rates


class ScheduleFreeRAdam(RateReader):
    """The group's rate times RAdam's rectification.

    In the first steps, before the squared average is trusted, z stands still; without `silent_sgd_phase` it takes SGD's step
    at the group's rate.
    """

    def before(self) -> Rates:
        """Read the rate of z in the coming step."""
        self.rates = tuple(number(group["lr"]) * _rectified(group) for group in self.groups)
        return self.rates


class ProdigyPlus(RateReader):
    """The estimate d times the group's rate, and RAdam's rectification with bias correction.

    Each group has an estimate of its own with `split_groups`, unless `split_groups_mean` gives them one to share.
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
        """Tell what each estimate would have become without its limits."""
        if self._split:
            return tuple(_raw_estimate(group) for group in self.groups)
        raw = _raw_estimate(self.groups[0])
        return None if math.isnan(raw) else raw

    def _share(self, group: Group) -> float:
        """How much of d · learning rate the coming step takes."""
        share = 1.0
        if group["use_bias_correction"]:
            rectified, *_ = self.optimizer.get_bias_correction(1.0, group["betas"][1], group["k"])  # type: ignore[attr-defined]
            share = number(rectified)
        if group["use_adopt"]:
            if group["k"] == 1:
                return 0.0  # it only looks at the first gradient
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
    """What d would have become in the step just taken; NaN where the step made no estimate."""
    frozen = 0 < group["prodigy_steps"] < group["k"]  # k is the number of the coming step
    if frozen:
        return math.nan
    if group["use_speed"]:
        past, present = group["prev_d_numerator"], group["d_numerator"]
        if past <= 0 or present <= 0:
            return math.nan
        return float(group["d_prev"] * math.sqrt(present / past) * group["d_coef"] ** 0.125)
    return float(group["d_coef"] * group["d_numerator"] / group["d_denom"]) if group["d_denom"] > 0 else math.nan
