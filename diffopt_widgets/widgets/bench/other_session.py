"""OtherSession: line of a new bench about what trains in another one, with buttons to take it over or to stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets as widgets

from diffopt_widgets.widgets.page.html import paragraph

if TYPE_CHECKING:
    from diffopt_widgets.execution.session import Session
    from diffopt_widgets.widgets.bench.runs_view import Guard


class OtherSession(widgets.HBox):  # type: ignore[misc]  # ipywidgets is not typed
    """Line about a session in progress that belongs to another bench, such as one whose cell was run again.

    It disappears when that session has nothing left to do.

    Args:
        session: the other session.
        guard: wrapper for every callback.
        on_take_over: called with the session when it is to be shown here.
    """

    def __init__(
        self,
        session: Session,
        guard: Guard,
        on_take_over: Callable[[Session], None],
    ) -> None:
        self._session = session
        self._on_take_over = on_take_over
        self.words = widgets.HTML()
        self.take_over = _button("Take it over", "Show its curves here; Pause and Stop of this bench then act on it")
        self.stop = _button("Stop it", "End it after its current step; its records stay in the store, if it has one")
        self.take_over.on_click(lambda _: guard(self._take_over)())
        self.stop.on_click(lambda _: guard(session.stop)())
        super().__init__([self.words, self.take_over, self.stop])
        self.add_class("dw-other-session")
        session.listen(lambda _: self._paint())
        self._paint()

    def __repr__(self) -> str:
        runs = len(self._session.runs)
        return f"OtherSession({runs} run{'s' * (runs != 1)} in progress)"

    def _take_over(self) -> None:
        self._on_take_over(self._session)
        self.layout.display = "none"

    def _paint(self) -> None:
        runs = self._session.runs
        if not runs:
            self.layout.display = "none"
            return
        training, waiting = self._session.training or runs[:1], len(self._session.waiting)
        run, count = training[0], len(training)
        who = run.name if count == 1 else f"{count} runs"
        paused = all(run.status == "paused" for run in training)
        state = f"{'is' if count == 1 else 'are'} paused" if paused else f"train{'s' * (count == 1)}"
        taken, steps = sum(len(run.history) for run in training), sum(run.plan.steps for run in training)
        waiting -= run not in self._session.training
        after = f", and {waiting} more {'waits' if waiting == 1 else 'wait'}" if waiting else ""
        at = f"step {taken:,} of {steps:,}" if count == 1 else f"{taken:,} of {steps:,} steps"
        self.words.value = paragraph(f"{who} {state} in another bench of this notebook: {at}{after}.", "dw-status")


def _button(text: str, tooltip: str) -> widgets.Button:
    button = widgets.Button(description=text, tooltip=tooltip)
    button.add_class("dw-button")
    return button
