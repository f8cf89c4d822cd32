"""RunsTable: the runs so far, with colour, name, how they ended, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from diffopt_widgets.ui.html import escape

if TYPE_CHECKING:
    from diffopt_widgets.runs import Run

_COLUMNS = ("Status", "Loss", "Evaluation", "Peak lr", "Steps/s")


class RunsTable(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """One row for each run; rename, hide and remove call what they are given.

    Args:
        on_rename: called with a run's key and its new name.
        on_visible: called with a run's key and whether its curves are shown.
        on_remove: called with a run's key.
    """

    def __init__(
        self,
        *,
        on_rename: Callable[[str, str], None] = lambda key, name: None,
        on_visible: Callable[[str, bool], None] = lambda key, shown: None,
        on_remove: Callable[[str], None] = lambda key: None,
    ) -> None:
        self._on_rename, self._on_visible, self._on_remove = on_rename, on_visible, on_remove
        self.rows: dict[str, _Row] = {}
        head = widgets.HTML(
            '<div class="dw-cells">' + "".join(f"<span>{escape(name)}</span>" for name in _COLUMNS) + "</div>"
        )
        label = widgets.HTML('<span class="dw-runs-title">Runs</span>')
        self._head = _line(label, head)
        self._head.add_class("dw-head")
        super().__init__([])
        self.add_class("dw-runs")

    def add(self, run: Run, color: str) -> None:
        """Add a row for a run, at the end."""
        self.rows[run.key] = _Row(run, color, self._on_rename, self._on_visible, self._on_remove)
        self._arrange()

    def show(self, run: Run) -> None:
        """Paint the numbers of a run; one that is not in the table is passed over."""
        if run.key in self.rows:
            self.rows[run.key].show(run)

    def remove(self, key: str) -> None:
        """Take a run's row away."""
        row = self.rows.pop(key)
        self._arrange()
        row.close()

    def _arrange(self) -> None:
        self.children = (self._head, *(row.box for row in self.rows.values())) if self.rows else ()


class _Row:
    """One run's line: colour and eye, name, numbers, remove."""

    def __init__(
        self,
        run: Run,
        color: str,
        on_rename: Callable[[str, str], None],
        on_visible: Callable[[str, bool], None],
        on_remove: Callable[[str], None],
    ) -> None:
        self.shown = widgets.ToggleButton(value=True, icon="eye", tooltip="Show or hide its curves")
        self.shown.add_class("dw-icon")
        self.name = widgets.Text(value=run.name, continuous_update=False)
        self.name.add_class("dw-name")
        swatch = widgets.HTML(f'<span class="dw-swatch" style="background:{escape(color)}"></span>')
        self.numbers = widgets.HTML()
        self.drop = widgets.Button(icon="times", tooltip="Remove this run")
        self.drop.add_class("dw-icon")
        self.box = _line(swatch, self.shown, self.name, self.numbers, self.drop)
        self.shown.observe(lambda change: on_visible(run.key, change["new"]), "value")
        self.name.observe(lambda change: on_rename(run.key, change["new"]), "value")
        self.drop.on_click(lambda _: on_remove(run.key))
        self.show(run)

    def show(self, run: Run) -> None:
        names = run.history.names()
        rate = float(np.nanmax(run.history.column("applied_lr"))) if "applied_lr" in names else None
        cells = (run.status, *(_number(v) for v in (run.final_loss, run.eval_after, rate, run.steps_per_second)))
        tip = escape(run.message or repr(run.settings))
        spans = "".join(f"<span>{escape(cell)}</span>" for cell in cells)
        self.numbers.value = f'<div class="dw-cells dw-{escape(run.status)}" title="{tip}">{spans}</div>'
        self.drop.disabled = not run.ended

    def close(self) -> None:
        for widget in (*self.box.children, self.box):
            widget.close()


def _line(*children: widgets.Widget) -> widgets.Box:
    box = widgets.Box(children, layout=widgets.Layout(flex_flow="row nowrap", align_items="center"))
    box.add_class("dw-run")
    return box


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
