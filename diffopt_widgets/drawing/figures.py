"""Figures: the live plot's picture as an ordinary plotly Figure, and as an HTML file that opens offline."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffopt_widgets.drawing.curves import (
    X_TITLES,
    Along,
    Curve,
    CurveLine,
    colored,
    ends_of,
    legend_name,
    panel_lines,
    panel_title,
    shown_panels,
    together,
)
from diffopt_widgets.drawing.drawables import Drawable, checked_runs, curves_of, heading
from diffopt_widgets.drawing.markup import escape, plotly_text, script_json
from diffopt_widgets.drawing.panels import DEFAULT_PANELS, Panel
from diffopt_widgets.drawing.plotly_js import plotly_source
from diffopt_widgets.drawing.svg import unbroken
from diffopt_widgets.settings import Fault, SettingsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from plotly.graph_objects import Figure, Scatter

__all__ = ["Curve", "Drawable", "compare", "figure", "write_html"]

POINTS = 2000
"""Largest number of points in a line of a figure."""
TOLD = 10
"""Largest number of runs whose values are all shown under the pointer; `layout.js` has the same."""
FIGURE_CHARACTERS, PANEL_CHARACTERS = 66, 27
"""Characters in a line of the heading and of a panel's title that fit when the figure is 500 pixels wide."""
LEGEND_WIDTH = 850
"""Assumed width of the legend, in pixels; where it is narrower, the panels give way."""
_HOVER = ("%{y:.7~g}", "%{y:.5~g} (%{customdata[0]:.4~g} to %{customdata[1]:.4~g})")
"""Value under the pointer: of one run, and of several seeds with their range."""
_BETWEEN = 84
"""Space between two rows of panels, in pixels, for ticks, title of the x axis, and the next panels' titles."""
_LINE = 16
"""Height of a line of text, in pixels."""


def figure(
    curves: Sequence[Curve],
    panels: Sequence[Panel] = DEFAULT_PANELS,
    *,
    smoothing: float = 0.9,
    height: int = 280,
    x: Along = "step",
    heading: Sequence[str] = (),
) -> Figure:
    """Draw runs as a plotly Figure, at most two panels in a row.

    Args:
        curves: the runs; a click on a run's entry in the legend hides it.
        panels: the panels to draw; an optional one only if a run has one of its columns.
        smoothing: how much smoothed panels are smoothed, 0 (off) to below 1, as in `curves.smooth`.
        height: of one row of panels, in pixels.
        x: the x axis: `"step"`, `"time"` (training time) or `"samples"` (examples seen).
        heading: lines above the panels.
    """
    from plotly.subplots import make_subplots

    curves = colored(curves)
    shown = shown_panels(curves, panels) or list(panels)
    # The schedule's own value has an axis at the right: it is near 1, while the rate may be a millionth.
    right = [any(panel.schedule(c) for c in panel.columns) and any(c.schedule for c in curves) for panel in shown]
    titles = [
        _wrapped([panel_title(panel, smoothing) + " (dashed: schedule)" * second], PANEL_CHARACTERS)
        for panel, second in zip(shown, right, strict=True)
    ]
    columns = min(2, max(1, len(shown)))
    places = [(i // columns + 1, i % columns + 1) for i in range(len(shown))]
    rows = places[-1][0] if places else 1
    specs: list[list[dict[str, Any] | None]] = [[None] * columns for _ in range(rows)]
    specs[0][0] = {}  # a place without panels too
    for i, (row, column) in enumerate(places):
        last = i == len(shown) - 1
        specs[row - 1][column - 1] = {"secondary_y": right[i], "colspan": columns - column + 1 if last else 1}
    inner = rows * height - _BETWEEN
    named: set[int] = set()  # runs that the legend has
    result: Figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=titles,
        specs=specs,
        vertical_spacing=_BETWEEN / inner if rows > 1 else 0,
        horizontal_spacing=0.18 if any(right) else 0.13,
    )
    for panel, second, (row, column) in zip(shown, right, places, strict=True):
        lines = panel_lines(curves, panel, smoothing=smoothing, points=POINTS, x=x)
        for line in lines:
            trace = _trace(line, curves[line.run], listed=line.main and line.run not in named)
            named |= {line.run} if line.main else set()
            result.add_trace(trace, row=row, col=column, secondary_y=line.schedule if second else None)
        result.update_yaxes(type=panel.scale, exponentformat="e", nticks=6, row=row, col=column)
        if _constant([line.y for line in lines if not (second and line.schedule)]):
            # Plotly would draw 1e-4 in the middle of an axis from -1 to 1, where it looks like zero.
            result.update_yaxes(rangemode="tozero", row=row, col=column)
        if panel.scale == "log":
            labels = {"minorloglabels": "complete"} if "minorloglabels" in result.layout.yaxis else {}  # plotly 6
            result.update_yaxes(**labels, nticks=5, row=row, col=column)
        if second:
            look = {"type": "linear", "rangemode": "tozero", "tickmode": "auto", "showgrid": False, "nticks": 5}
            result.update_yaxes(**look, row=row, col=column, secondary_y=True)
        result.update_xaxes(title_text=X_TITLES[x], title_standoff=4, matches="x", nticks=6, row=row, col=column)
    axes = list(result.select_xaxes())
    widest = max((axis.domain[1] for axis in axes), default=1)
    for axis in axes:  # where an axis is at the right, Plotly leaves room there beside all panels
        axis.domain = [min(1.0, end / widest) for end in axis.domain]
    ends = [end for trace in result.data for end in ends_of(trace.x)]
    if ends and min(ends) < max(ends):  # points would widen the axis beyond what there is
        result.update_xaxes(autorangeoptions={"clipmin": min(ends), "clipmax": max(ends)})
    for note, axis in zip(result.layout.annotations, _left_ends(result, len(shown)), strict=False):
        note.update(x=axis, xanchor="left", align="left", font_size=12, yshift=2)
    top = 12 + _LINE * (_lines(heading, FIGURE_CHARACTERS) + max(1, *(title.count("<br>") + 1 for title in titles), 1))
    members = [[curves[place] for place in places] for places in together(curves)]
    entries = sum(60 + 7 * len(legend_name(one)) for one in members)
    legend = 24 * math.ceil(entries / LEGEND_WIDTH) + 16 if len(curves) else 0
    tall = top + inner + 44 + legend
    result.update_layout(
        height=tall,
        margin={
            "l": 52,
            "r": 44
            if any(second and column == columns for second, (_, column) in zip(right, places, strict=True))
            else 20,
            "t": top,
            "b": 44 + legend,
        },
        template="plotly_white",
        font_size=11,
        hovermode="x unified" if len(members) <= TOLD else "closest",
        legend={"orientation": "h", "y": -44 / inner, "yanchor": "top", "x": 0, "font_size": 11},
        title={
            "text": _heading(heading),
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 1 - 16 / tall,
            "yref": "container",
            "yanchor": "top",
            "font": {"size": 12},
        },
    )
    return result


def _trace(line: CurveLine, curve: Curve, *, listed: bool) -> Scatter:
    """Return a line or a band as Plotly draws it; `listed` puts it into the legend."""
    from plotly.graph_objects import Scatter

    common = {"legendgroup": str(line.run), "showlegend": listed, "opacity": line.opacity}
    if line.low is not None:
        x, y = _outline(line)
        look = {"mode": "lines", "fill": "toself", "fillcolor": line.color, "line": {"width": 0, "color": line.color}}
        return Scatter(x=x, y=y, hoverinfo="skip", **look, **common)
    label = plotly_text(curve.hover_label(line.label) if line.main else line.label)
    return Scatter(
        x=line.x,
        y=line.y,
        mode="lines+markers" if line.marks else "lines",
        marker={"size": 5, "color": line.color},
        name=plotly_text(line.name or line.label),
        line={"color": line.color, "width": line.width, "dash": line.dash},
        hoverinfo="skip" if line.faint else None,
        customdata=None if line.ends is None else np.stack(line.ends, axis=1),
        hovertemplate=None if line.faint else f"{_HOVER[line.ends is not None]}<extra>{label}</extra>",
        **common,
    )


def _outline(line: CurveLine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the outline of a band, each unbroken part of it on its own; a value that is not finite parts them."""
    x, high, low = (np.asarray(values, np.float64) for values in (line.x, line.y, line.low))
    gap = np.array([np.nan])
    parts = unbroken(x, high, low)
    along = [each for part in parts for each in (x[part], x[part][::-1], gap)]
    ends = [each for part in parts for each in (high[part], low[part][::-1], gap)]
    return np.concatenate([gap[:0], *along])[:-1], np.concatenate([gap[:0], *ends])[:-1]


def compare(runs: Iterable[Drawable], *, x: Along = "step") -> Figure:
    """Draw loss and rates of some runs in one plotly figure, over `"step"`, `"time"` or `"samples"`.

    Runs that differ by their seed only are one line, their median, and a faint band, the range of their values.

    Raises:
        SettingsError: these are no runs, or there is no such axis.

    >>> import diffopt_widgets as dw
    >>> runs = dw.sweep(dw.Settings("PRODIGY"), {"d_coef": [0.5, 1.0]}, task="swiss_roll", steps=3, progress=False)
    >>> [trace.name for trace in dw.compare(runs).data if trace.showlegend]
    ['PRODIGY · d_coef 0.5', 'PRODIGY · d_coef 1']
    """
    shown = checked_runs(runs)
    if not isinstance(x, str) or x not in X_TITLES:
        raise SettingsError((Fault("x", x, "there is no such axis", ", ".join(X_TITLES)),))
    return figure(curves_of(shown), x=x, heading=heading(shown) if shown else ())


def _constant(values: Sequence[ArrayLike]) -> bool:
    """Check whether all finite values are the same."""
    everything = np.concatenate([np.empty(0), *(np.asarray(one, np.float64) for one in values)])
    known = everything[np.isfinite(everything)]
    return len(known) > 0 and bool((known == known[0]).all())


def _left_ends(result: Figure, panels: int) -> list[float]:
    """Return where the panels begin, as shares of the width."""
    axes = [axis for axis in result.select_yaxes() if axis.overlaying is None]
    ends = [result.layout[axis.anchor.replace("x", "xaxis", 1)].domain[0] for axis in axes]
    return ends[:panels]


def _wrapped(lines: Iterable[str], characters: int) -> str:
    """Break lines at so many characters, as text that Plotly reads."""
    parts = (part for line in lines for part in textwrap.wrap(line, characters))
    return "<br>".join(map(plotly_text, parts))


def _heading(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    rest = _wrapped(lines[1:], FIGURE_CHARACTERS)
    return f"<b>{_wrapped(lines[:1], FIGURE_CHARACTERS)}</b>" + (f"<br>{rest}" if rest else "")


def _lines(lines: Sequence[str], characters: int) -> int:
    return sum(len(textwrap.wrap(line, characters)) for line in lines)


def write_html(figure: Figure, path: str | Path, *, title: str = "diffopt") -> Path:
    """Write a figure as one HTML file that needs no network: 1.2 MB, most of it plotly.js.

    Returns:
        The path written.
    """
    picture = script_json(figure.to_json())
    target = Path(path)
    target.write_text(
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width"></head><body style="margin:0">\n'
        f"<script>{plotly_source()}</script>\n"
        '<div id="plot"></div>\n'
        f"<script>const picture = {picture};\n"
        'Plotly.newPlot("plot", picture.data, picture.layout, { responsive: true, displaylogo: false });</script>\n'
        "</body></html>\n",
        encoding="utf-8",
        newline="\n",
    )
    return target
