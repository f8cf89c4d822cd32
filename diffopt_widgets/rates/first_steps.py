"""Readers for optimizers whose first steps apply less than their group's rate: rectified ones, and ADOPT.

Source: pytorch_optimizer 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from diffopt_widgets.rates.base import RateReader, Rates, number

Group: TypeAlias = Mapping[str, Any]  # Any: torch's own type of a parameter group


class Rectified(RateReader):
    """AdaBelief and Aida: with `rectify` the rate is scaled by how far the squared average can be trusted.

    This is the r of RAdam (Liu et al. 2019, https://arxiv.org/abs/1908.03265, algorithm 2). Before the threshold the step is
    SGD's, at the group's rate, or there is none.
    """

    def before(self) -> Rates:
        """Read the rate that the coming gradient enters with."""
        self.rates = tuple(number(group["lr"]) * self._share(group) for group in self.groups)
        return self.rates

    def _share(self, group: Group) -> float:
        if not group["rectify"]:
            return 1.0
        steps = group.get("step", 0) + 1
        beta2 = group["betas"][1]
        most = 2.0 / (1.0 - beta2) - 1.0
        length = most - 2.0 * steps * beta2**steps / (1.0 - beta2**steps)
        if length >= self.optimizer.n_sma_threshold:  # type: ignore[attr-defined]  # pytorch_optimizer keeps it there
            return math.sqrt((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length))
        return 1.0 if self.optimizer.degenerated_to_sgd else 0.0  # type: ignore[attr-defined]  # and this one


class Adopt(RateReader):
    """ADOPT's first step only fills its squared average and moves nothing."""

    def before(self) -> Rates:
        """Read the rate that the coming gradient enters with."""
        self.rates = tuple(number(group["lr"]) if group.get("step", 0) else 0.0 for group in self.groups)
        return self.rates
