"""Index of the search box: every option of every optimizer, once, without widgets."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from diffopt_widgets.catalogue import families
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Standing, Use

_WITHOUT = {Standing.INERT: "no effect", Standing.UNAVAILABLE: "not available"}


@cache
def option_index(also: tuple[OptimizerSpec, ...] = ()) -> list[dict[str, Any]]:  # Any: anything that JSON can hold
    """Return one entry for each option: its texts, the optimizers that have it in the order of the menu, and their notes.

    Optimizers in which it does nothing, or is not available, come last, and `without` gives the reason. Options of one name
    whose help differs are separate entries; those that differ only in their range or in the meaning of an empty field are one.
    The caller must not change the list.

    Args:
        also: optimizers that are not in the catalogue.

    >>> entry = next(entry for entry in option_index() if entry["name"] == "d_coef")
    >>> entry["title"], entry["optimizers"][0]
    ('D coefficient', 'PRODIGY')
    """
    uses_of: dict[_Texts, dict[str, Use | None]] = {}
    optimizers = [entry for family in (*families().values(), also) for entry in family]
    for entry in optimizers:
        for use in (entry.lr, *entry.uses):
            uses_of.setdefault(_texts(use.option), {})[entry.key] = use
    uses_of |= {_texts(option): {entry.key: None for entry in optimizers} for option in TRAINING_OPTIONS}
    return [
        {
            "name": name,
            "title": title,
            "help": text,
            "optimizers": [key for last in (False, True) for key, use in uses.items() if bool(_without(use)) == last],
            "notes": {key: use.note for key, use in uses.items() if use and use.note},
            "without": {key: reason for key, use in uses.items() if (reason := _without(use))},
        }
        for (name, title, text), uses in uses_of.items()
    ]


def index_message(also: tuple[OptimizerSpec, ...] = ()) -> dict[str, Any]:  # Any: as above
    """Return the index as it is sent to the page: no text twice, and an optimizer is its position in `optimizers`.

    `entriesOf` in search.js restores the entries.

    >>> message = index_message()
    >>> entry = next(entry for entry in message["entries"] if entry["name"] == "d_coef")
    >>> [message["optimizers"][place] for place in entry["optimizers"]][0]
    'PRODIGY'
    """
    entries = option_index(also)
    keys = list(dict.fromkeys(key for entry in entries for key in entry["optimizers"]))
    places = {key: place for place, key in enumerate(keys)}
    return {
        "optimizers": keys,
        "entries": [
            {
                **{part: entry[part] for part in ("name", "title", "help")},
                "optimizers": [places[key] for key in entry["optimizers"]],
                **{part: _by_text(entry[part], places) for part in ("notes", "without")},
            }
            for entry in entries
        ],
    }


_Texts: TypeAlias = tuple[str, str, str]


def _texts(option: Option) -> _Texts:
    return option.name, option.title, option.help


def _by_text(texts: dict[str, str], places: dict[str, int]) -> list[tuple[str, list[int]]]:
    """Each text once, with the optimizers that have it."""
    grouped: dict[str, list[int]] = {}
    for key, text in texts.items():
        grouped.setdefault(text, []).append(places[key])
    return list(grouped.items())


def _without(use: Use | None) -> str:
    """Describe an option that an optimizer has only by name; empty where it does something."""
    return _WITHOUT.get(use.standing, "") if use else ""
