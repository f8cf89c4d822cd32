"""Differences between the plans of several runs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.settings import Settings


def differences(plans: Sequence[RunPlan]) -> list[dict[str, str]]:
    """Return, for each plan, the values that set it apart from the others, by name.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.space import vary
    >>> differences(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]}))
    [{'d_coef': '0.5'}, {'d_coef': '1'}]
    """
    flats = [plan.flat() for plan in plans]
    varied = varying(plans)
    of_plan = {field.name for field in fields(RunPlan)} - {"settings"}
    own: dict[object, set[str]] = {}
    for optimizer in {flat["optimizer"] for flat in flats}:
        of_it = [flat for flat in flats if flat["optimizer"] == optimizer]
        own[optimizer] = {name for name in of_it[0] if any(flat[name] != of_it[0][name] for flat in of_it)}
    differing = []
    for plan, flat in zip(plans, flats, strict=True):
        names = own[flat["optimizer"]]
        if "optimizer" in varied:
            changed = plan.settings.changed()
            anywhere = {name for name in changed if any(flat[name] != other.get(name, ...) for other in flats)}
            names = names | {"optimizer"} | of_plan.intersection(varied) | anywhere
        differing.append({name: _text(name, flat[name]) for name in flat if name in names})
    return differing


def swept_groups(plans: Sequence[RunPlan]) -> list[str]:
    """Return, for each plan, its value of the first varied option that groups them (`d_coef 0.5`); empty texts without one.

    An option groups them when each of its values has two settings or more; plans that differ by seed only are one setting.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.space import vary
    >>> swept_groups(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0], "beta2": [0.9, 0.99]}))
    ['d_coef 0.5', 'd_coef 0.5', 'd_coef 1', 'd_coef 1']
    >>> swept_groups(vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0], "seed": [0, 1]}))
    ['', '', '', '']
    """
    flats = [plan.flat() for plan in plans]
    settings = [without_seed(plan) for plan in plans]
    for name in varying(settings):
        if all(name in flat for flat in flats):
            groups = [words_of(name, _text(name, flat[name])) for flat in flats]
            sizes = Counter(group for group, _ in set(zip(groups, settings, strict=True)))
            if len(sizes) > 1 and min(sizes.values()) > 1:
                return groups
    return [""] * len(plans)


def shared_words(plans: Sequence[RunPlan], batch_sizes: Sequence[int | None] = ()) -> list[str]:
    """Say what runs have in common, value by value, for the heading of a figure or a table; empty for no runs.

    Args:
        plans: of the runs.
        batch_sizes: number of examples in each batch, for runs whose task sets it; None where it is not known.

    >>> from diffopt_widgets import Settings
    >>> from diffopt_widgets.runs.space import vary
    >>> plan = RunPlan(Settings("PRODIGY", schedule="COSINE"), "digits", 300)
    >>> " · ".join(shared_words([plan], [256]))
    'PRODIGY · lr 1 · COSINE · digits · 300 steps · batch size 256 · seed 0 · float32'
    >>> " · ".join(shared_words(vary(plan, {"d_coef": [0.5, 1.0], "seed": [0, 1]}), [256] * 4))
    'PRODIGY · lr 1 · COSINE · digits · 300 steps · batch size 256 · float32'
    """
    if not plans:
        return []
    sizes = [plan.batch_size or size for plan, size in itertools.zip_longest(plans, batch_sizes)]
    different = {*varying(plans), *(["batch_size"] if len(set(sizes)) > 1 or sizes[0] is None else [])}
    first = plans[0]
    told = {"lr": first.settings.lr, "schedule": first.settings.schedule, **first.settings.changed()}
    texts = {
        "optimizer": first.settings.optimizer,
        **{name: words_of(name, _text(name, value)) for name, value in told.items()},
        "task": first.task,
        "steps": f"{first.steps:,} step{'s' * (first.steps > 1)}",
        "batch_size": f"batch size {sizes[0]}",
        **({"accumulation": f"accumulated over {first.accumulation}"} if first.accumulation > 1 else {}),
        "seed": f"seed {first.seed}",
        "dtype": first.dtype,
    }
    if "optimizer" in different:  # a rate or an option means something else for each
        different |= {"lr", *first.settings.options}
    return [text for name, text in texts.items() if name not in different]


def not_comparable(plans: Sequence[RunPlan], samples_per_step: Sequence[float | None]) -> str:
    """Say why the losses of runs with these plans say nothing about each other; empty where they can be compared.

    Args:
        plans: of the runs.
        samples_per_step: number of examples in a step of each; None where it is not known.

    >>> from diffopt_widgets import Settings
    >>> not_comparable([RunPlan(Settings("LION"), task) for task in ("digits", "swiss_roll")], [None, None])
    'losses of different tasks say nothing about each other'
    >>> not_comparable([RunPlan(Settings("LION"), steps=steps) for steps in (30, 1000)], [None, None])
    'the runs have different lengths, 30 and 1,000 steps'
    """
    if len({plan.task for plan in plans}) > 1:
        return "losses of different tasks say nothing about each other"
    if len({plan.steps for plan in plans}) > 1:
        return f"the runs have different lengths, {_numbers(plan.steps for plan in plans)} steps"
    if len({conditions(*one) for one in zip(plans, samples_per_step, strict=True)}) > 1:
        sizes = _numbers(size or 0 for size in samples_per_step)
        return f"the runs see different numbers of examples in a step, {sizes}"
    if any(plan.settings.options.get("maximize") for plan in plans):
        return "a run that maximizes its loss is not better for a low one"
    return ""


def conditions(plan: RunPlan, samples_per_step: float | None) -> Hashable:
    """Return the values that must be equal for losses to be compared."""
    return plan.task, plan.steps, samples_per_step or (plan.batch_size, plan.accumulation)


def listed(names: Sequence[str]) -> str:
    """Join names with commas and "and"; with semicolons where a name has a comma.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    comma = "; " if any(", " in name for name in names) else ", "
    return " and ".join(part for part in (comma.join(names[:-1]), names[-1]) if part)


def _numbers(values: Iterable[float]) -> str:
    return listed([f"{value:,}" for value in sorted(set(values))])


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


def without_seed(plan: RunPlan) -> RunPlan:
    """Return the setting of a plan: all of it but the seed. Runs of one setting differ in nothing but what seeds change."""
    return replace(plan, seed=0)


def setting_names(plans: Sequence[RunPlan | None]) -> list[str]:
    """Return, for each plan, the name of its setting where other plans have it with another seed; "" for all others.

    Such runs are one row, one colour and one line wherever runs are shown. A run that repeats another one, its seed too, is
    no further seed and has a line of its own. No two settings have the same name.

    >>> from diffopt_widgets.runs.space import vary
    >>> plan = RunPlan(Settings("PRODIGY"))
    >>> setting_names([*vary(plan, {"d_coef": [0.5, 1.0], "seed": [0, 1]}), RunPlan(Settings("LION")), None])[1:]
    ['PRODIGY · d_coef 0.5', 'PRODIGY · d_coef 1', 'PRODIGY · d_coef 1', '', '']
    """
    settings = [None if plan is None else without_seed(plan) for plan in plans]
    seeds: dict[RunPlan, set[int]] = {}
    for plan, setting in zip(plans, settings, strict=True):
        if plan is not None and setting is not None:
            seeds.setdefault(setting, set()).add(plan.seed)
    if all(len(of) < 2 for of in seeds.values()):
        return [""] * len(plans)
    names: dict[RunPlan | None, str] = {None: ""}
    for setting, name in zip(seeds, name_by_difference(list(seeds)), strict=True):
        names[setting] = name if len(seeds[setting]) > 1 else ""
    again: set[RunPlan] = set()
    result = []
    for plan, setting in zip(plans, settings, strict=True):
        result.append("" if plan in again else names[setting])
        again |= set() if plan is None else {plan}
    return result


def short_name(settings: Settings) -> str:
    """Name a run after its optimizer and what differs from the defaults."""
    changed = {name: value for name, value in settings.changed().items() if name not in {"lr_scaler", "cycles"}}
    parts = [f"{value}" if name == "schedule" else f"{name} {format_value(value)}" for name, value in changed.items()]
    return " · ".join([settings.optimizer, *parts[:3]]) + (" …" if len(parts) > 3 else "")


def name_by_difference(plans: Sequence[RunPlan]) -> list[str]:
    """Name runs of one comparison by what differs between them, such as `PRODIGY · d_coef 0.5`.

    A name has the options that differ between the runs of the same optimizer. Where optimizers differ, it also has options
    that are not at their optimizer's default and not the same in all runs, and the parts of the plan that differ.
    """
    if not varying(plans):
        return [short_name(plan.settings) for plan in plans]
    suffixes = [
        ", ".join(words_of(name, value) for name, value in different.items() if name != "optimizer")
        for different in differences(plans)
    ]
    optimizers = [plan.settings.optimizer for plan in plans]
    return [f"{key} · {suffix}" if suffix else key for key, suffix in zip(optimizers, suffixes, strict=True)]
