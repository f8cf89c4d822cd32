"""Collection: runs that are shown together, each with its colour and a name that says what sets it apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from diffopt_widgets.drawing.panels import DASHES, PALETTE, next_color, next_dash
from diffopt_widgets.plain_text import printable
from diffopt_widgets.runs.shown import Shown, ShownRuns
from diffopt_widgets.settings.variations import (
    differences,
    name_by_difference,
    setting_names,
    swept_groups,
    without_seed,
)

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings.plan import RunPlan

UNDO_STEPS = 20
"""Number of removals that can be undone."""

MOST_LOOKS = 24
"""Largest number of settings that have a colour and line style each."""

REPEATS = "same settings and seed as an earlier run"
"""What is said of a run whose plan another one had before."""


@dataclass(frozen=True, slots=True)
class _Removed:
    run: Run
    shown: Shown
    place: int
    """Position that it had."""


class Collection:
    """Runs in the order in which they were added; `shown` holds how each of them is shown.

    With `compares` a run is named by the differences between the runs in the collection, so its name may change when another
    is added; a name that a person gave stays. Colours stay too, also when earlier runs are removed.

    Args:
        compares: whether each added run names and marks all runs anew by their differences.
    """

    def __init__(self, *, compares: bool = False) -> None:
        self.shown = ShownRuns(self._renamed)
        self._compares = compares
        self._runs: dict[str, Run] = {}
        self._removed: list[_Removed] = []
        self._auto_named: set[str] = set()
        self._colored: set[str] = set()
        """Runs whose colour was chosen."""

    def __contains__(self, key: str) -> bool:
        return key in self._runs and key in self.shown.now

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs in their order."""
        return tuple(self._runs[key] for key in self.shown.now if key in self._runs)

    @property
    def removed(self) -> str:
        """Name of the run that `restore` would bring back; empty when there is none."""
        return self._removed[-1].run.name if self._removed else ""

    def find(self, key: str) -> Run:
        """Return the run with this key. Raises KeyError when there is none."""
        return self._runs[key]

    def add(
        self, run: Run, color: str | None = None, *, differs: str = "", visible: bool = True, keep_name: bool = False
    ) -> None:
        """Add a run at the end; where runs are compared, it is named by its differences unless it keeps its name.

        Args:
            run: the run.
            color: any CSS colour; by default the least used one of the palette.
            differs: its differences from the other runs, in a few words.
            visible: whether it is shown at first.
            keep_name: whether its name stays as it is.

        Raises:
            ValueError: the collection has this run already, or `color` is no colour.
        """
        if run.key in self.shown.now:
            raise ValueError(printable(f"the run {run.name!r} is in the table already"))
        self._removed = [removed for removed in self._removed if removed.run.key != run.key]
        reserved = (removed.shown for removed in self._removed)  # a removed run may come back
        looks = [(shown.color, shown.dash) for shown in (*self.shown.now.values(), *reserved)]
        (self._colored.add if color else self._colored.discard)(run.key)
        color = color or next_color([other for other, _ in looks])
        (self._auto_named.discard if keep_name else self._auto_named.add)(run.key)
        self._insert(
            run, Shown(run.key, run.name, color, visible, differs, dash=next_dash(color, looks)), len(self.shown.now)
        )

    def remove(self, key: str) -> None:
        """Remove a run; `restore` brings it back. Raises KeyError when there is none with this key."""
        shown, place = self.shown.now[key], list(self.shown.now).index(key)
        self._removed = [*self._removed[1 - UNDO_STEPS :], _Removed(self._runs.pop(key), shown, place)]

        def take(runs: dict[str, Shown]) -> None:
            del runs[key]
            self._join(runs)

        self.shown.edit(take)

    def restore(self) -> str | None:
        """Bring back the run that was removed last, to its place; return its key, or None when there is none."""
        if not self._removed:
            return None
        last = self._removed.pop()
        self._insert(last.run, last.shown, last.place)
        return last.run.key

    def rename(self, key: str, name: str) -> None:
        """Give a run a name that stays. Raises KeyError when there is none with this key."""
        self._auto_named.discard(key)
        self.shown.change(key, name=name)

    def _renamed(self, key: str, name: str) -> None:
        """Give the run itself a name that a person gave it in any view; the name then stays."""
        run = self._runs.get(key)
        if run is not None and run.name != name:
            run.rename(name)
            self._auto_named.discard(key)

    def _insert(self, run: Run, shown: Shown, place: int) -> None:
        """Insert a run at its place; other runs may have been added since it was removed."""

        def put(runs: dict[str, Shown]) -> None:
            items = list(runs.items())
            runs.clear()
            runs.update([*items[:place], (run.key, shown), *items[place:]])
            if self._compares:
                self._compare(runs)
            self._join(runs)

        self._runs[run.key] = run
        self.shown.edit(put)

    def _compare(self, shown: dict[str, Shown]) -> None:
        """Name and mark all runs anew."""
        runs = [self._runs[key] for key in shown if key in self._runs]
        plans = [run.plan for run in runs]
        names = name_by_difference(plans)
        named: Counter[str] = Counter()
        before: set[RunPlan] = set()
        for run, name, group in zip(runs, names, swept_groups(plans), strict=True):
            if run.key in self._auto_named:
                run.rename(f"{name} ({named[name] + 1})" if named[name] else name)
            differs = REPEATS if run.plan in before else name
            named[name] += 1
            before.add(run.plan)
            shown[run.key] = replace(shown[run.key], name=run.name, differs=differs, group=group)

    def _join(self, shown: dict[str, Shown]) -> None:
        """Give runs that differ by their seed only the name of their setting, and the colour and line style of its first.

        Of more settings than one can tell apart, those with the same value of the first option that varies share a colour.
        """
        runs = [self._runs[key] for key in shown if key in self._runs]
        plans = [run.plan for run in runs]
        first: dict[str, Shown] = {}
        for run, setting, details in zip(runs, setting_names(plans), differences(plans) if plans else [], strict=True):
            one = shown[run.key]
            mate = first.setdefault(setting, one) if setting else one
            shown[run.key] = replace(one, setting=setting, details=details, color=mate.color, dash=mate.dash)
        groups = (
            list(dict.fromkeys(swept_groups(plans))) if len({without_seed(plan) for plan in plans}) > MOST_LOOKS else []
        )
        if 1 < len(groups) <= MOST_LOOKS:
            for run, group in zip(runs, swept_groups(plans), strict=True):
                if run.key not in self._colored:
                    i = groups.index(group)
                    look = PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)]
                    shown[run.key] = replace(shown[run.key], color=look[0], dash=look[1])
