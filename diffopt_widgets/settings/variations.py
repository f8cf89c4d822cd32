"""What sets the plans of several runs apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.settings.plan import RunPlan


def differences(plans: Sequence[RunPlan]) -> list[dict[str, str]]:
    """Of each plan the values that are worth telling beside the others, by name.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.run import vary
    >>> differences(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]}))
    [{'d_coef': '0.5'}, {'d_coef': '1'}]
    """
    several = "optimizer" in varying(plans)
    flats = [plan.flat() for plan in plans]
    own = {field.name for field in fields(RunPlan)} - {"settings"}
    found = []
    for plan, flat in zip(plans, flats, strict=True):
        alike = [other for other in flats if other["optimizer"] == flat["optimizer"]]
        told = {name for name in flat if any(other[name] != flat[name] for other in alike)}
        if several:
            told |= {"optimizer"}
            told |= own.intersection(varying(plans))
            told |= {
                name for name in plan.settings.changed() if any(flat[name] != other.get(name, ...) for other in flats)
            }
        found.append({name: _text(name, flat[name]) for name in flat if name in told})
    return found


def swept_groups(plans: Sequence[RunPlan]) -> list[str]:
    """Of each plan the value of the first thing varied that several plans share, such as `d_coef 0.5`; "" without one.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.run import vary
    >>> swept_groups(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0], "seed": [0, 1]}))
    ['d_coef 0.5', 'd_coef 0.5', 'd_coef 1', 'd_coef 1']
    >>> swept_groups(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]}))
    ['', '']
    """
    flats = [plan.flat() for plan in plans]
    for name in varying(plans):
        if all(name in flat for flat in flats):
            words = [words_of(name, _text(name, flat[name])) for flat in flats]
            if 1 < len(set(words)) < len(plans):
                return words
    return [""] * len(plans)


_PLAIN = frozenset({"optimizer", "schedule", "task"})
"""Their values say what they are values of."""


def varying(plans: Sequence[RunPlan]) -> list[str]:
    """Names of what is not the same in all plans."""
    flats = [plan.flat() for plan in plans]
    return [name for name in flats[0] if any(flat.get(name, flats[0][name]) != flats[0][name] for flat in flats)]


def _text(name: str, value: Any) -> str:  # Any: a value of a plan
    return str(value) if name in _PLAIN else format_value(value)


def words_of(name: str, text: str) -> str:
    """A value with the name of what it is a value of, where it needs one."""
    return text if name in _PLAIN else f"{name} {text}"
