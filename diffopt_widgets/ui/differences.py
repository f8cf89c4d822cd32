"""What differs between the settings of runs, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

from diffopt_widgets.catalogue.schedules import TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import Option
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.plan import PLAN_OPTIONS, RunPlan

_OTHER_TITLES = {"optimizer": "Optimizer", "task": "Task", "grad_norm": "Gradient norm recorded"}


@dataclass(frozen=True, slots=True)
class Line:
    """One setting over several runs."""

    name: str
    title: str
    values: tuple[str | None, ...]
    """In words, one for each run; None where the run's optimizer has no such option."""
    unusual: tuple[bool, ...]
    """For each run, whether its value is another than most have; where no value is had by most, all are."""

    @property
    def differs(self) -> bool:
        """Whether the runs differ in it."""
        return any(self.unusual)


def compare_settings(plans: Sequence[RunPlan]) -> tuple[Line, ...]:
    """Every setting that one of the runs has: the task first, then optimizer, schedule and the optimizers' own options.

    >>> from diffopt_widgets import Settings
    >>> plans = [RunPlan(Settings("PRODIGY", d_coef=0.5)), RunPlan(Settings("PRODIGY"), steps=100)]
    >>> [(line.title, line.values) for line in compare_settings(plans) if line.differs]
    [('Steps', ('300', '100')), ('D coefficient', ('0.5', '1'))]
    """
    flats = [plan.flat() for plan in plans]
    own = [field.name for field in fields(RunPlan) if field.name != "settings"]
    rest = [name for flat in flats for name in flat if name not in own]
    return tuple(_line(name, plans, flats) for name in dict.fromkeys([*own, *rest]))


def _line(name: str, plans: Sequence[RunPlan], flats: Sequence[dict[str, object]]) -> Line:
    options = [_option(name, plan) for plan in plans]
    title = next((option.title for option in options if option), _OTHER_TITLES.get(name, name))
    values = tuple(
        _words(flat[name], option) if name in flat else None for flat, option in zip(flats, options, strict=True)
    )
    return Line(name, title, values, _unusual(values))


def _option(name: str, plan: RunPlan) -> Option | None:
    uses = (plan.settings.spec.lr, *plan.settings.spec.uses)
    options = (*PLAN_OPTIONS.values(), *TRAINING_OPTIONS, *(use.option for use in uses))
    return next((option for option in options if option.name == name), None)


def _words(value: object, option: Option | None) -> str:
    if value is None:
        return (option and option.null_words) or "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    return format_value(value) if isinstance(value, float | int | str) else str(value)


def _unusual(values: tuple[str | None, ...]) -> tuple[bool, ...]:
    counts = Counter(values)
    (usual, most), *others = counts.most_common()
    if not others:
        return (False,) * len(values)
    tied = most == others[0][1]
    return tuple(tied or value != usual for value in values)
