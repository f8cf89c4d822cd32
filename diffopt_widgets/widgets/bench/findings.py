"""Findings: what is worth a second look in the runs that ended, and the rate that one of them found, to use in AdamW."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import ipywidgets as widgets

from diffopt_widgets.catalogue import spec
from diffopt_widgets.catalogue.values import short
from diffopt_widgets.execution.observations import sentences
from diffopt_widgets.optimizers.backends import troubles
from diffopt_widgets.runs.found_rate import found_rate
from diffopt_widgets.runs.space import with_rate_of
from diffopt_widgets.training.environment import broken_rules
from diffopt_widgets.widgets.page.folders import without_folders
from diffopt_widgets.widgets.page.html import NO_MATH, escape, paragraph

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings.plan import RunPlan

USERS = ("ADAMW", "ADAMW_8BIT")
"""Optimizers in which the rate of another is used."""


class Findings:
    """Line below the status of a run, and buttons in the place of its progress bar.

    It decides nothing: a button calls its callback, and `show` paints.

    Args:
        on_use: called with the plan of a run that uses the rate which another run found.
    """

    def __init__(self, on_use: Callable[[RunPlan], None]) -> None:
        self.line = widgets.HTML()
        self.line.add_class("dw-findings")
        self._buttons = [widgets.Button(layout={"display": "none"}) for _ in USERS]
        for place, button in enumerate(self._buttons):
            button.add_class("dw-button")
            button.add_class("dw-use")
            button.on_click(lambda _, place=place: on_use(self.offered[place]))
        self.buttons = widgets.Box(self._buttons)
        self.buttons.add_class("dw-uses")
        self.offered: tuple[RunPlan, ...] = ()
        """Plans that the buttons start, from the first button on."""
        self._source: Run | None = None
        self._used: set[RunPlan] = set()
        """Plans that were trained since the rate of the source is offered."""
        self._shown: object = None

    def show(self, runs: Sequence[Run], best: Sequence[Run] = ()) -> None:
        """Paint what was found in runs that belong together, when all have ended, and otherwise nothing.

        Args:
            runs: the runs of a comparison, or one run.
            best: those of them whose rate is offered first.
        """
        over = bool(runs) and all(run.ended for run in runs)
        shown = [(run.key, run.name, run.status, len(run.history)) for run in runs] if over else None
        if shown == self._shown:
            return
        self._shown = shown
        words, self.offered = self._rate([*best, *reversed(runs)]) if over else ("", ())
        self.line.value = _html(words, sentences(runs) if over else [])
        for number, button in enumerate(self._buttons):
            plan = self.offered[number] if number < len(self.offered) else None
            button.layout.display = None if plan else "none"
            if plan:
                title = plan.settings.spec.title
                rate = f"Use {short(plan.settings.lr)} in " if number == 0 else "in "
                button.description = f"{rate}{title}"
                button.tooltip = f"{words}. Put the settings of {title} into the form, and train them beside this run"

    def _rate(self, runs: Sequence[Run]) -> tuple[str, tuple[RunPlan, ...]]:
        """Say which rate was found, and make the plans that use it; that of the run before where these use it already."""
        source = next((run for run in runs if run.settings.spec.estimates_rate), None)
        if source is None and self._source and runs[-1].plan in rate_plans(self._source):
            source = self._source
        self._used = {run.plan for run in runs} | (self._used if source is self._source else set())
        self._source = source
        if source is None:
            return "", ()
        found = found_rate(source)
        plans = tuple(plan for plan in rate_plans(source) if plan not in self._used)
        name = "" if len(runs) == 1 and source is runs[0] else f"{source.name}: "
        if found.value is None:
            return f"{name}No rate to use in AdamW: {found.words}", ()
        return f"{name}{found.words}" if name else f"{found.words[:1].upper()}{found.words[1:]}", plans


def rate_plans(run: Run) -> tuple[RunPlan, ...]:
    """Return the plans that use the rate which a run found, in optimizers that can run here; none where it found none."""
    if found_rate(run).value is None:
        return ()
    missing = troubles(map(spec, USERS))
    plans = [replace(run.plan, settings=with_rate_of(run, key)) for key in USERS if key not in missing]
    return tuple(plan for plan in plans if all(rule.severity == "warning" for rule in broken_rules(plan)))


def _html(words: str, seen: Sequence[str]) -> str:
    """Return the line as HTML: the sentence, and the observations folded behind their number."""
    said = paragraph(without_folders(f"{words}."), "dw-found") if words else ""
    if not seen:
        return said
    count = f"{len(seen)} observation{'s' * (len(seen) > 1)}"
    items = "".join(f"<li>{escape(without_folders(one))}</li>" for one in seen)
    return f'{said} <details class="{NO_MATH}"><summary>{count}</summary><ul>{items}</ul></details>'
