"""What the search box of the form looks through: every option of every optimizer, once. No widgets here."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

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

    Options of one name whose help differs are entries of their own; those that differ only in their range or in what leaving
    them empty means are one. Not to be changed.

    >>> entry = next(entry for entry in option_index() if entry["name"] == "d_coef")
    >>> entry["title"], entry["optimizers"][0]
    ('D coefficient', 'PRODIGY')
    """
    found: dict[_Words, dict[str, Use | None]] = {}
    optimizers = [entry for family in (*families().values(), also) for entry in family]
    for entry in optimizers:
        for use in (entry.lr, *entry.uses):
            found.setdefault(_words(use.option), {})[entry.key] = use
    found |= {_words(option): {entry.key: None for entry in optimizers} for option in TRAINING_OPTIONS}
    return [
        {
            "name": name,
            "title": title,
            "help": words,
            "optimizers": [key for last in (False, True) for key, use in uses.items() if bool(_without(use)) == last],
            "notes": {key: use.note for key, use in uses.items() if use and use.note},
            "without": {key: why for key, use in uses.items() if (why := _without(use))},
        }
        for (name, title, words), uses in found.items()
    ]


def index_message(also: tuple[OptimizerSpec, ...] = ()) -> dict[str, Any]:  # Any: as above
    """The same as it goes to the page: no text twice, and an optimizer is a number, its place among `optimizers`.

    `entriesOf` of search.js makes the entries of it.

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


_Words: TypeAlias = tuple[str, str, str]


def _words(option: Option) -> _Words:
    return option.name, option.title, option.help


def _by_text(texts: dict[str, str], places: dict[str, int]) -> list[tuple[str, list[int]]]:
    """Each text once, with the optimizers that have it."""
    grouped: dict[str, list[int]] = {}
    for key, text in texts.items():
        grouped.setdefault(text, []).append(places[key])
    return list(grouped.items())


def _without(use: Use | None) -> str:
    """That an optimizer only has the option by name, in words; empty where it does something."""
    return _WITHOUT.get(use.standing, "") if use else ""
