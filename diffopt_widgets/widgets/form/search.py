"""What the search box of the form looks through: every option of every optimizer, once. No widgets here."""

from __future__ import annotations

from functools import cache
from typing import Any

from diffopt_widgets.catalogue import families
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Standing, Use

_WITHOUT = {Standing.INERT: "no effect", Standing.UNAVAILABLE: "not available"}


@cache
def option_index(also: tuple[OptimizerSpec, ...] = ()) -> list[dict[str, Any]]:  # Any: whatever JSON can hold
    """One entry for each option: its words, the optimizers that have it in the order of the menu, and their notes.

    Those where it does nothing, or is not available, come last, and `without` says so.

    `also` are optimizers that are not in the catalogue.

    Options of one name whose help differs are entries of their own. Not to be changed.

    >>> entry = next(entry for entry in option_index() if entry["name"] == "d_coef")
    >>> entry["title"], entry["optimizers"][0]
    ('D coefficient', 'PRODIGY')
    """
    found: dict[Option, dict[str, Use | None]] = {}
    optimizers = [entry for family in (*families().values(), also) for entry in family]
    for entry in optimizers:
        for use in (entry.lr, *entry.uses):
            found.setdefault(use.option, {})[entry.key] = use
    found |= {option: {entry.key: None for entry in optimizers} for option in TRAINING_OPTIONS}
    return [
        {
            "name": option.name,
            "title": option.title,
            "help": option.help,
            "optimizers": [key for last in (False, True) for key, use in uses.items() if bool(_without(use)) == last],
            "notes": {key: use.note for key, use in uses.items() if use and use.note},
            "without": {key: words for key, use in uses.items() if (words := _without(use))},
        }
        for option, uses in found.items()
    ]


def _without(use: Use | None) -> str:
    """That an optimizer only has the option by name, in words; empty where it does something."""
    return _WITHOUT.get(use.standing, "") if use else ""
