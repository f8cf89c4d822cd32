"""Differences between the plans of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.settings.plan import RunPlan


def differences(plans: Sequence[RunPlan]) -> list[dict[str, str]]:
    """Return, for each plan, the values that set it apart from the others, by name.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.space import vary
    >>> differences(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]}))
    [{'d_coef': '0.5'}, {'d_coef': '1'}]
    """
    several = "optimizer" in varying(plans)
    flats = [plan.flat() for plan in plans]
    own = {field.name for field in fields(RunPlan)} - {"settings"}
    differing = []
    for plan, flat in zip(plans, flats, strict=True):
        same_optimizer = [other for other in flats if other["optimizer"] == flat["optimizer"]]
        names = {name for name in flat if any(other[name] != flat[name] for other in same_optimizer)}
        if several:
            names |= {"optimizer"}
            names |= own.intersection(varying(plans))
            names |= {
                name for name in plan.settings.changed() if any(flat[name] != other.get(name, ...) for other in flats)
            }
        differing.append({name: _text(name, flat[name]) for name in flat if name in names})
    return differing


def swept_groups(plans: Sequence[RunPlan]) -> list[str]:
    """Return, for each plan, its value of the first varied option that several plans share (`d_coef 0.5`); "" without one.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.space import vary
    >>> swept_groups(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0], "seed": [0, 1]}))
    ['d_coef 0.5', 'd_coef 0.5', 'd_coef 1', 'd_coef 1']
    >>> swept_groups(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]}))
    ['', '']
    """
    flats = [plan.flat() for plan in plans]
    for name in varying(plans):
        if all(name in flat for flat in flats):
            groups = [words_of(name, _text(name, flat[name])) for flat in flats]
            if 1 < len(set(groups)) < len(plans):
                return groups
    return [""] * len(plans)


_PLAIN = frozenset({"optimizer", "schedule", "task"})
"""Options whose values need no name beside them."""


def varying(plans: Sequence[RunPlan]) -> list[str]:
    """Return the names of the values that are not the same in all plans."""
    flats = [plan.flat() for plan in plans]
    return [name for name in flats[0] if any(flat.get(name, flats[0][name]) != flats[0][name] for flat in flats)]


def options_of(plan: RunPlan) -> dict[str, Option]:
    """Return the option of every value of a plan, by name; the optimizer itself has none."""
    spec = plan.settings.spec
    uses = (TASK, *RUN_OPTIONS.values(), *TRAINING.values(), spec.lr, *spec.uses)
    return {use.name: use.option for use in uses}


def value_words(value: object, option: Option | None) -> str:
    """Return a value in words, as the tables of settings have it."""
    if value is None:
        return (option and option.null_words) or "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    return format_value(value) if isinstance(value, float | int | str) else str(value)


def _text(name: str, value: Any) -> str:  # Any: a value of a plan
    return str(value) if name in _PLAIN else format_value(value)


def words_of(name: str, text: str) -> str:
    """Return a value with the name of its option, where it needs one."""
    return text if name in _PLAIN else f"{name} {text}"
