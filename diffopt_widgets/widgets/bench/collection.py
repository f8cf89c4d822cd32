"""Collection: the runs of a bench, each with its colour and a name that says what sets it apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffopt_widgets.drawing.panels import color_of
from diffopt_widgets.runs.run import name_by_difference
from diffopt_widgets.settings.variations import differences, swept_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffopt_widgets.runs.run import Run


class Collection:
    """Runs in the order in which they were started.

    A run is named by what differs between the runs that are there, so its name may change when others come; one that
    somebody gave stays. Its colour stays too, also when runs before it are removed.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._auto_named: set[str] = set()
        self._colors: dict[str, str] = {}

    def add(self, run: Run, *, keep_name: bool = False) -> str:
        """Take a run in; its colour."""
        self.runs.append(run)
        if not keep_name:
            self._auto_named.add(run.key)
        self._colors[run.key] = color_of(len(self._colors))
        return self.color(run)

    def color(self, run: Run) -> str:
        """The colour that a run has for good."""
        return self._colors[run.key]

    def find(self, key: str) -> Run:
        """The run of a key. Raises StopIteration when there is none."""
        return next(run for run in self.runs if run.key == key)

    def remove(self, run: Run) -> None:
        """Take a run out; it keeps its name and colour in case it comes back."""
        self.runs.remove(run)

    def arrange(self, runs: Sequence[Run]) -> None:
        """Put the runs in this order, one that comes back among them."""
        self.runs[:] = runs

    def rename(self, run: Run, name: str) -> None:
        """Give a run a name that stays."""
        self._auto_named.discard(run.key)
        run.name = name

    def marks(self) -> list[tuple[Run, dict[str, str], str]]:
        """Each run with the settings that set it apart, and the group in which the legend puts it."""
        plans = [run.plan for run in self.runs]
        return list(zip(self.runs, differences(plans), swept_groups(plans), strict=True)) if plans else []

    def name_by_difference(self) -> list[tuple[Run, str]]:
        """Name the runs anew; each with what sets it apart, which is its name unless somebody gave it another."""
        names = name_by_difference([run.plan for run in self.runs])
        for position, (run, name) in enumerate(zip(self.runs, names, strict=True)):
            if run.key in self._auto_named:
                again = names[:position].count(name)
                run.name = f"{name} ({again + 1})" if again else name
        return list(zip(self.runs, names, strict=True))
