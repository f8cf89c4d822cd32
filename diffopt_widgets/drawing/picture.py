"""Panels of a plot as one picture: SVG, or a PNG of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffopt_widgets.drawing.curves import (
    X_TITLES,
    Along,
    Curve,
    colored,
    ends_of,
    panel_lines,
    panel_title,
    shown_panels,
)
from diffopt_widgets.drawing.panels import Panel
from diffopt_widgets.drawing.raster import png_of
from diffopt_widgets.drawing.svg import line_chart, side_by_side
from diffopt_widgets.settings.arguments import checked_path

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
    columns: int = 2,
    heading: Sequence[str] = (),
) -> str:
    """Draw runs as SVG, in panels of one size, with one legend below them.

    Args:
        curves: the runs, without the schedule's own value: it would need an axis of its own.
        panels: the panels to draw; an optional one only if a run has one of its columns.
        smoothing: how much smoothed panels are smoothed, 0 (off) to below 1, as in `curves.smooth`.
        x: the x axis: `"step"`, `"time"` (training time) or `"samples"` (examples seen).
        columns: largest number of panels in a row.
        heading: lines above the panels.
    """
    curves = colored([replace(curve, schedule=False) for curve in curves])
    drawn = [
        (panel, panel_lines(curves, panel, smoothing=smoothing, points=POINTS, x=x))
        for panel in shown_panels(curves, panels) or panels
    ]
    named = [line for _, lines in drawn for line in lines]
    ends = [end for line in named for end in ends_of(line.x)]
    along = (min(ends), max(ends)) if ends else None
    charts = []
    for panel, lines in drawn:
        charts.append(
            line_chart(
                lines,
                title=panel_title(panel, smoothing),
                x_label=X_TITLES[x],
                scale=panel.scale,
                width=WIDTH,
                height=HEIGHT,
                legend=False,
                along=along,
            )
        )
    return side_by_side(charts, legend=named, columns=columns, heading=heading)


def write_svg(svg: str, path: str | Path) -> Path:
    """Write a picture as an SVG file; return its path."""
    target = checked_path("path", path, 'Write a file, such as "plot.svg".')
    target.write_text(svg, encoding="utf-8", newline="\n")
    return target


def write_png(svg: str, path: str | Path) -> Path:
    """Write a picture as a PNG file, two pixels for each unit of the SVG; return its path."""
    target = checked_path("path", path, 'Write a file, such as "plot.png".')
    target.write_bytes(png_of(svg))
    return target
