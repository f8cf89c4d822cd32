"""The live plot's picture as an ordinary plotly Figure, and as an HTML file that opens offline."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.plot.bundle import plotly_source
from diffopt_widgets.plot.curves import Curve, colored, panel_lines, shown_panels
from diffopt_widgets.plot.panels import DEFAULT_PANELS, Panel

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from diffopt_widgets.runs import Run
    from diffopt_widgets.store import RecordedRun

__all__ = ["Curve", "compare", "figure", "write_html"]

POINTS = 2000
"""Most points that a line of a figure holds."""


def figure(
    curves: Sequence[Curve], panels: Sequence[Panel] = DEFAULT_PANELS, *, smoothing: float = 0.9, height: int = 360
) -> Figure:
    """The runs as a plotly Figure, the panels side by side over the step.

    Args:
        curves: the runs; one entry each in the legend, which hides it.
        panels: what to draw; optional ones only where a run has their columns.
        smoothing: weight of the past in the moving average of smoothed panels, 0 (off) to below 1.
        height: in pixels.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    curves = colored(curves)
    shown = shown_panels(curves, panels) or list(panels)
    titles = [
        html.escape(f"{panel.title} ({panel.unit})" if panel.unit else panel.title, quote=False) for panel in shown
    ]
    # The schedule's own value has an axis at the right: it is a factor near 1 where the rate may be a millionth.
    right = [any(panel.schedule(c) for c in panel.columns) and any(c.schedule for c in curves) for panel in shown]
    specs = [[{"secondary_y": second} for second in right]]
    columns = max(1, len(shown))
    result: Figure = make_subplots(rows=1, cols=columns, subplot_titles=titles, shared_xaxes="all", specs=specs)
    for column, panel in enumerate(shown, start=1):
        for line in panel_lines(curves, panel, smoothing=smoothing, points=POINTS):
            label = html.escape(line.label, quote=False)
            faint = panel.smooth and smoothing > 0 and not line.name and line.width == 1.0
            trace = Scatter(
                x=line.x,
                y=line.y,
                mode="lines" if len(line.x) > 1 else "markers",  # type: ignore[arg-type]
                name=html.escape(line.name or line.label, quote=False),
                legendgroup=str(line.run),
                showlegend=line.main and column == 1,
                line={"color": line.color, "width": line.width, "dash": line.dash},
                opacity=line.opacity,
                hoverinfo="skip" if faint else None,
                hovertemplate=None if faint else f"%{{y:.4~g}}<extra>{label}</extra>",
            )
            result.add_trace(trace, row=1, col=column, secondary_y=line.schedule if right[column - 1] else None)
        result.update_yaxes(
            type=panel.scale, exponentformat="e", nticks=5 if panel.scale == "log" else 6, row=1, col=column
        )
        if right[column - 1]:
            look = {
                "type": "linear",
                "rangemode": "tozero",
                "tickmode": "auto",
                "showgrid": False,
                "title_text": "schedule (dashed)",
            }
            result.update_yaxes(**look, row=1, col=column, secondary_y=True)
        result.update_xaxes(title_text="step", row=1, col=column)
    result.update_layout(
        height=height,
        margin={"l": 56, "r": 16, "t": 40, "b": 44},
        template="plotly_white",
        hovermode="x unified",
        legend={"orientation": "h", "y": -0.2},
    )
    return result


def compare(runs: Iterable[Run | RecordedRun]) -> Figure:
    """Loss and rates of some runs in one plotly figure.

    >>> import diffopt_widgets as dw
    >>> runs = dw.sweep(dw.Settings("PRODIGY"), {"d_coef": [0.5, 1.0]}, task="swiss_roll", steps=3, progress=False)
    >>> [trace.name for trace in dw.compare(runs).data if trace.showlegend]
    ['PRODIGY · d_coef 0.5', 'PRODIGY · d_coef 1']
    """
    return figure([Curve(run.name, run.history, schedule=run.draws_schedule) for run in runs])


def write_html(figure: Figure, path: str | Path, *, title: str = "diffopt") -> Path:
    """Write a figure as one HTML file that needs no network: 1.2 MB, most of it plotly.js.

    Returns:
        The path written.
    """
    picture = figure.to_json().replace("</", "<\\/")
    target = Path(path)
    target.write_text(
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width"></head><body style="margin:0">\n'
        f"<script>{plotly_source()}</script>\n"
        '<div id="plot"></div>\n'
        f"<script>const picture = {picture};\n"
        'Plotly.newPlot("plot", picture.data, picture.layout, { responsive: true, displaylogo: false });</script>\n'
        "</body></html>\n",
        encoding="utf-8",
    )
    return target
