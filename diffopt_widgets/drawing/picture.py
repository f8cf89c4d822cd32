"""Panels of a plot, side by side, as one SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from diffopt_widgets.drawing.curves import X_TITLES, Along, Curve, panel_lines, shown_panels
from diffopt_widgets.drawing.panels import Panel
from diffopt_widgets.drawing.svg import line_chart, side_by_side

POINTS = 400
"""Largest number of points in a line of a picture."""
WIDTH, HEIGHT = 460, 300
"""Size of one panel, in pixels."""


def picture_svg(
    curves: Sequence[Curve],
    panels: Sequence[Panel],
    *,
    smoothing: float = 0.9,
    x: Along = "step",
    columns: int | None = None,
) -> str:
    """Draw runs as SVG, the panels side by side, with one legend below them.

    Args:
        curves: the runs, without the schedule's own value: it would need an axis of its own.
        panels: the panels to draw; an optional one only if a run has one of its columns.
        smoothing: weight of the past in the moving average of smoothed panels, 0 (off) to below 1.
        x: the x axis: `"step"`, `"time"` (training time) or `"samples"` (examples seen).
        columns: largest number of panels in a row; by default all of them.
    """
    curves = [replace(curve, schedule=False) for curve in curves]
    charts, named = [], []
    for panel in shown_panels(curves, panels) or panels:
        lines = panel_lines(curves, panel, smoothing=smoothing, points=POINTS, x=x)
        title = f"{panel.title} ({panel.unit})" if panel.unit else panel.title
        named += lines
        charts.append(
            line_chart(
                lines,
                title=title,
                x_label=X_TITLES[x],
                scale=panel.scale,
                width=WIDTH,
                height=HEIGHT,
                legend=False,
            )
        )
    return side_by_side(charts, legend=named, columns=columns)
