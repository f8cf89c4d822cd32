"""Readers for optimizers that step another optimizer.

Sources: pytorch_optimizer 4.1, torch 2.13.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from diffopt_widgets.rates.base import Group, Rate, RateReader, Rates
from diffopt_widgets.rates.choice import reader_of
from diffopt_widgets.rates.unwrap import inner_optimizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.optim import Optimizer

    from diffopt_widgets.rates.base import LastStep
    from diffopt_widgets.records import Grouped


class Inner(RateReader):
    """Reader of what the optimizer inside applies: the wrapper changes gradients, or keeps an average of the weights.

    For a schedule-free wrapper it is the rate at which the point z moves.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        inner = inner_optimizer(optimizer)
        if inner is None:
            raise TypeError(f"{type(optimizer).__name__} holds no torch optimizer")
        self.inner = reader_of(inner)
        self.averages = self.inner.averages

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = self.inner.before()
        self.d = self.inner.d
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        return self.inner.after()

    def recall(self, records: Sequence[LastStep]) -> None:
        """Pass the records on to the reader of the optimizer inside."""
        self.inner.recall(records)

    def d_hat(self) -> Grouped | None:
        """Return the raw estimate of the step."""
        return self.inner.d_hat()


class Sharded(Inner):
    """Reader for torch's ZeroRedundancyOptimizer, whose step begins by giving its groups' rates to the optimizer inside."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        for group, inner in zip(self.groups, self.inner.groups, strict=True):
            inner["lr"] = group["lr"]  # as the step will do
        return super().before()


class Lookahead(Inner):
    """Reader for Lookahead: NaN for each step that also pulls the weights towards the slow ones, by no rate at all."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        rates = super().before()
        self._pulls = [self._will_pull(group) for group in self.groups]
        self.rates = self._known(rates)
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        return self._known(super().after())

    def _known(self, rates: Rates) -> tuple[Rate, ...]:
        return tuple(math.nan if pulls else rate for rate, pulls in zip(rates, self._pulls, strict=True))

    def _will_pull(self, group: Group) -> bool:
        k: int = self.optimizer.k  # type: ignore[attr-defined]  # pytorch_optimizer keeps it there
        return bool(group.get("counter", 0) + 1 >= k)
