"""Differences between the settings of runs, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.variations import options_of, value_words


@dataclass(frozen=True, slots=True)
class Line:
    """One setting in several runs."""

    name: str
    title: str
    values: tuple[str | None, ...]
    """Text of each run's value; None where the run's optimizer has no such option."""
    unusual: tuple[bool, ...]
    """One flag per run: its value is not the most frequent one; where two values tie for that, every flag is set."""

    @property
    def differs(self) -> bool:
        """True when the runs differ in this setting."""
        return any(self.unusual)


def compare_settings(plans: Sequence[RunPlan]) -> tuple[Line, ...]:
    """Lines for all settings of the runs: optimizer, learning rate, schedule, the optimizers' own options, the task.

    >>> from diffopt_widgets import Settings
    >>> plans = [RunPlan(Settings("PRODIGY", d_coef=0.5)), RunPlan(Settings("PRODIGY"), steps=100)]
    >>> [(line.title, line.values) for line in compare_settings(plans) if line.differs]
    [('D coefficient', ('0.5', '1')), ('Steps', ('300', '100'))]
    """
    columns = [_Column(plan) for plan in plans]
    run_options = [TASK.name, *RUN_OPTIONS]
    others = [name for column in columns for name in column.values if name not in run_options]
    return tuple(_line(name, columns) for name in dict.fromkeys([*others, *run_options]))


class _Column:
    """One run's settings, with the options that they belong to."""

    def __init__(self, plan: RunPlan) -> None:
        self.values = plan.flat()
        self.changed = plan.settings.changed().keys()
        self.options = options_of(plan)

    def text(self, name: str) -> str | None:
        return value_words(self.values[name], self.options.get(name)) if name in self.values else None


def _line(name: str, columns: Sequence[_Column]) -> Line:
    titles = (column.options[name].title for column in columns if name in column.options)
    values = tuple(column.text(name) for column in columns)
    changed = tuple(name in column.changed for column in columns)
    return Line(name, next(titles, "Optimizer" if name == "optimizer" else name), values, _unusual(values, changed))


def _unusual(values: tuple[str | None, ...], changed: tuple[bool, ...]) -> tuple[bool, ...]:
    """Flags for the values to mark. An option that another optimizer lacks counts only where it is not at its default."""
    (usual, most), *others = Counter(value for value in values if value is not None).most_common()
    if others:
        tied = most == others[0][1]
        return tuple(value is not None and (tied or value != usual) for value in values)
    return changed if None in values else (False,) * len(values)
