"""Panels of a watch: the standard ones, and one for each further measure or value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from diffopt_widgets.drawing.panels import DEFAULT_PANELS, LOSS, Panel, metric_panel

if TYPE_CHECKING:
    from diffopt_widgets.records import History

LOGARITHMIC = {"grad_norm", "update_rms", "update_ratio"}
"""Measures whose panel has a logarithmic axis at first."""
PANELS = (replace(LOSS, sparse=True), *DEFAULT_PANELS[1:])
"""Standard panels, for loops that do not log a loss at every step."""
_DRAWN = frozenset(column for panel in PANELS for column in panel.columns) | {"seconds"}


def extra_columns(history: History) -> list[str]:
    """Return the columns that the standard panels do not show."""
    return [column for column in history.names() if column not in _DRAWN]


def panel_of(column: str) -> Panel:
    """Make the panel of such a column."""
    return metric_panel(column, scale="log" if column in LOGARITHMIC else "linear")
