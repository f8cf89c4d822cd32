"""The panels of a watch: the usual ones, and one for each measure or value that comes beside those."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from diffopt_widgets.drawing.panels import DEFAULT_PANELS, LOSS, Panel, metric_panel

if TYPE_CHECKING:
    from diffopt_widgets.records import History

LOGARITHMIC = {"grad_norm", "update_rms", "update_ratio"}
"""Measures whose panel begins with a logarithmic axis."""
PANELS = (replace(LOSS, sparse=True), *DEFAULT_PANELS[1:])
"""The usual ones, for loops that do not log a loss at every step."""
_DRAWN = frozenset(column for panel in PANELS for column in panel.columns) | {"seconds"}


def further(history: History) -> list[str]:
    """Columns that the usual panels do not show."""
    return [column for column in history.names() if column not in _DRAWN]


def panel_of(column: str) -> Panel:
    """The panel of such a column."""
    return metric_panel(column, scale="log" if column in LOGARITHMIC else "linear")
