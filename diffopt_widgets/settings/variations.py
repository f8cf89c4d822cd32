"""Differences between the plans of several runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.settings.plan import RunPlan

if TYPE_CHECKING:
    from diffopt_widgets.settings import Settings


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


def shared_words(plans: Sequence[RunPlan], batch_sizes: Sequence[int | None] = ()) -> str:
    """Describe what runs have in common, for the heading of a figure or a table; "" for no runs.

    Args:
        plans: of the runs.
        batch_sizes: number of examples in each batch, for runs whose task sets it; None where it is not known.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.space import vary
    >>> plan = RunPlan(Settings("PRODIGY", schedule="COSINE"), "digits", 300)
    >>> shared_words([plan], [256])
    'PRODIGY · lr 1 · COSINE · digits · 300 steps · batch size 256 · seed 0 · float32'
    >>> shared_words(vary(plan, {"d_coef": [0.5, 1.0], "seed": [0, 1]}), [256] * 4)
    'PRODIGY · lr 1 · COSINE · digits · 300 steps · batch size 256 · float32'
    """
    if not plans:
        return ""
    sizes = [plan.batch_size or size for plan, size in itertools.zip_longest(plans, batch_sizes)]
    different = {*varying(plans), *(["batch_size"] if len(set(sizes)) > 1 or sizes[0] is None else [])}
    first = plans[0]
    texts = {
        "optimizer": first.settings.optimizer,
        **{name: words_of(name, _text(name, value)) for name, value in _told(first.settings).items()},
        "task": first.task,
        "steps": f"{first.steps:,} step{'s' * (first.steps > 1)}",
        "batch_size": f"batch size {sizes[0]}",
        **({"accumulation": f"accumulated over {first.accumulation}"} if first.accumulation > 1 else {}),
        "seed": f"seed {first.seed}",
        "dtype": first.dtype,
    }
    if "optimizer" in different:  # a rate or an option means something else for each
        different |= {"lr", *first.settings.options}
    return " · ".join(text for name, text in texts.items() if name not in different)


def _told(settings: Settings) -> dict[str, Any]:  # Any: values of options
    return {"lr": settings.lr, **settings.changed()}


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
