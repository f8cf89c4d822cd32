"""Grids: which combinations an optimizer was tried with, and whether the best of them lies at the edge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings.variations import listed, options_of, value_words, varying

if TYPE_CHECKING:
    from diffopt_widgets.settings.plan import RunPlan

MOST_LISTED = 8
"""Greatest number of values of an option that are all said; of more the count and both ends are."""


@printed_readably
@dataclass(frozen=True)
class Grid:
    """Combinations that an optimizer was tried with.

    >>> from diffopt_widgets import RunPlan, Settings
    >>> from diffopt_widgets.runs.space import vary
    >>> plans = vary(RunPlan(Settings("ADAMW")), {"lr": [1e-3, 1e-2, 1e-1]})
    >>> print(grid := Grid.of(plans))
    3 combinations: lr 0.001, 0.01 and 0.1
    >>> grid.edges(plans[2]), grid.edges(plans[1])
    (['lr 0.1 is the highest that was tried'], [])
    """

    combinations: int
    """Number of different settings, whatever their seeds, also those whose runs diverged."""
    values: Mapping[str, tuple[Any, ...]]  # Any: values of options, of whatever kind
    """Values that were tried of each option that differs, by its name."""

    @classmethod
    def of(cls, plans: Sequence[RunPlan]) -> Grid:
        """Return the grid of plans of one optimizer; plans that differ in the seed only are one combination."""
        flats = [plan.flat() | {"seed": 0} for plan in plans]
        names = [name for name in varying(plans) if name != "seed"]
        combinations = {tuple(flat[name] for name in names) for flat in flats}
        values = {name: tuple(_sorted(list(dict.fromkeys(flat[name] for flat in flats)))) for name in names}
        return cls(len(combinations), values)

    def __str__(self) -> str:
        many = f"{self.combinations} combination{'s' * (self.combinations > 1)}"
        return f"{many}: {'; '.join(map(self._tried, self.values))}" if self.values else many

    def _tried(self, name: str) -> str:
        values = self.values[name]
        texts = [value_words(value, None) for value in values]
        if len(values) > MOST_LISTED and all(map(_is_number, values)):
            return f"{name} {len(values)} values from {texts[0]} to {texts[-1]}"
        return f"{name} {listed(texts)}"

    def edges(self, best: RunPlan) -> list[str]:
        """Say which numbers of the best combination are the lowest or highest that were tried, and could go further."""
        options, said = options_of(best), []
        for name, values in self.values.items():
            value: Any = best.flat()[name]  # Any: a number, as the values are
            if len(values) < 2 or not _is_number(value) or not all(map(_is_number, values)):
                continue
            domain = options[name].domain if name in options else None
            low, high = (domain.low, domain.high) if domain else (-math.inf, math.inf)
            if value == values[0] and value > low:
                said.append(f"{name} {format_value(value)} is the lowest that was tried")
            if value == values[-1] and value < high:
                said.append(f"{name} {format_value(value)} is the highest that was tried")
        return said


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sorted(values: list[Any]) -> list[Any]:  # Any: values of one option
    return sorted(values) if all(map(_is_number, values)) else values
