"""Index of the search box: every option of every optimizer, once, without widgets."""

from __future__ import annotations

from functools import cache
from typing import Any

from diffopt_widgets.catalogue import families
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Standing, Use

_WITHOUT = {Standing.INERT: "no effect", Standing.UNAVAILABLE: "not available"}


@cache
def option_index(also: tuple[OptimizerSpec, ...] = ()) -> list[dict[str, Any]]:  # Any: anything that JSON can hold
    """Return one entry for each option: its texts, the optimizers that have it in the order of the menu, and their notes.

    Optimizers in which it does nothing, or is not available, come last, and `without` gives the reason. Options of the same
    name but with different help are separate entries. The caller must not change the list.

    Args:
        also: optimizers that are not in the catalogue.

    >>> entry = next(entry for entry in option_index() if entry["name"] == "d_coef")
    >>> entry["title"], entry["optimizers"][0]
    ('D coefficient', 'PRODIGY')
    """
    uses_of: dict[Option, dict[str, Use | None]] = {}
    optimizers = [entry for family in (*families().values(), also) for entry in family]
    for entry in optimizers:
        for use in (entry.lr, *entry.uses):
            uses_of.setdefault(use.option, {})[entry.key] = use
    uses_of |= {option: {entry.key: None for entry in optimizers} for option in TRAINING_OPTIONS}
    return [
        {
            "name": option.name,
            "title": option.title,
            "help": option.help,
            "optimizers": [key for last in (False, True) for key, use in uses.items() if bool(_without(use)) == last],
            "notes": {key: use.note for key, use in uses.items() if use and use.note},
            "without": {key: reason for key, use in uses.items() if (reason := _without(use))},
        }
        for option, uses in uses_of.items()
    ]


def _without(use: Use | None) -> str:
    """Describe an option that an optimizer has only by name; empty where it does something."""
    return _WITHOUT.get(use.standing, "") if use else ""
