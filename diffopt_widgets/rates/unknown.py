"""Reader for classes of which it is not known what they apply."""

from __future__ import annotations

import math
from typing import Any

import torch

from diffopt_widgets.rates.base import Group, RateReader, Rates, number

_ESTIMATING = ("d0", "d_max", "d_coef", "d_numerator", "numerator_weighted", "growth_rate")
"""Entries of a parameter group beside which `d` is an estimate, as in Prodigy and D-Adaptation. `d` alone may be anything: in
torch's Adafactor it is a threshold."""


class NotKnown(RateReader):
    """Reader that gives NaN for each group, and the estimate d where the groups hold one."""

    def before(self) -> Rates:
        """Return NaN for each group."""
        self.d = _estimates(self.groups)
        self.rates = (math.nan,) * len(self.groups)
        return self.rates


def _estimates(groups: list[dict[str, Any]]) -> float | tuple[float, ...] | None:
    if not groups or not all(_has_estimate(group) for group in groups):
        return None
    values = tuple(number(group["d"]) for group in groups)
    return values[0] if len(set(values)) == 1 else values


def _has_estimate(group: Group) -> bool:
    d = group.get("d")
    one = isinstance(d, (int, float)) or (isinstance(d, torch.Tensor) and d.numel() == 1)
    return one and any(name in group for name in _ESTIMATING)
