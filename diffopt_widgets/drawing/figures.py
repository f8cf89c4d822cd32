"""Figures: the live plot's picture as an ordinary plotly Figure, and as an HTML file that opens offline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from diffopt_widgets.drawing.curves import X_TITLES, Along, Curve, colored, panel_lines, shown_panels
from diffopt_widgets.drawing.markup import escape, plotly_text, script_json
from diffopt_widgets.drawing.panels import DEFAULT_PANELS, Panel
from diffopt_widgets.drawing.plotly_js import plotly_source
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import checked_list
from diffopt_widgets.settings.variations import differences

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from diffopt_widgets.records import History
    from diffopt_widgets.settings.plan import RunPlan

__all__ = ["Curve", "Drawable", "compare", "figure", "write_html"]

POINTS = 2000
"""Largest number of points in a line of a figure."""


class Drawable(Protocol):
    """Run that `compare` can draw: one of the bench, or one that was recorded elsewhere."""

    @property
    def name(self) -> str:
        """Its name in the legend."""

    @property
    def history(self) -> History:
        """Its records."""

    @property
    def plan(self) -> RunPlan | None:
        """Plan that it was trained with; None if not known."""

    @property
    def draws_schedule(self) -> bool:
        """True when the schedule's own value is drawn beside the applied rate."""

    @property
    def samples_per_step(self) -> float | None:
        """Number of examples in a step; None if not known."""


def figure(
    curves: Sequence[Curve],
    panels: Sequence[Panel] = DEFAULT_PANELS,
    *,
    smoothing: float = 0.9,
    height: int = 360,
    x: Along = "step",
) -> Figure:
    """Draw runs as a plotly Figure, with the panels side by side.

    Args:
        curves: the runs; a click on a run's entry in the legend hides it.
        panels: the panels to draw; an optional one only if a run has one of its columns.
        smoothing: weight of the past in the moving average of smoothed panels, 0 (off) to below 1.
        height: in pixels.
        x: the x axis: `"step"`, `"time"` (training time) or `"samples"` (examples seen).
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    curves = colored(curves)
    shown = shown_panels(curves, panels) or list(panels)
    titles = [plotly_text(f"{panel.title} ({panel.unit})" if panel.unit else panel.title) for panel in shown]
    # The schedule's own value has an axis at the right: it is near 1, while the rate may be a millionth.
    right = [any(panel.schedule(c) for c in panel.columns) and any(c.schedule for c in curves) for panel in shown]
    specs = [[{"secondary_y": second} for second in right]]
    columns = max(1, len(shown))
    named: set[int] = set()  # runs that the legend has
    result: Figure = make_subplots(rows=1, cols=columns, subplot_titles=titles, shared_xaxes="all", specs=specs)
    for column, panel in enumerate(shown, start=1):
        for line in panel_lines(curves, panel, smoothing=smoothing, points=POINTS, x=x):
            label = plotly_text(curves[line.run].hover_label(line.label) if line.main else line.label)
            faint = panel.smooth and smoothing > 0 and not line.name and line.width == 1.0
            trace = Scatter(
                x=line.x,
                y=line.y,
                mode="lines" if len(line.x) > 1 else "markers",  # type: ignore[arg-type]
                name=plotly_text(line.name or line.label),
                legendgroup=str(line.run),
                showlegend=line.main and line.run not in named,
                line={"color": line.color, "width": line.width, "dash": line.dash},
                opacity=line.opacity,
                hoverinfo="skip" if faint else None,
                hovertemplate=None if faint else f"%{{y:.7~g}}<extra>{label}</extra>",
            )
            named |= {line.run} if line.main else set()
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
        result.update_xaxes(title_text=X_TITLES[x], row=1, col=column)
    result.update_layout(
        height=height,
        margin={"l": 56, "r": 16, "t": 40, "b": 44},
        template="plotly_white",
        hovermode="x unified",
        legend={"orientation": "h", "y": -0.2},
    )
    return result


def compare(runs: Iterable[Drawable], *, x: Along = "step") -> Figure:
    """Draw loss and rates of some runs in one plotly figure, over `"step"`, `"time"` or `"samples"`.

    Raises:
        SettingsError: these are no runs, or there is no such axis.

    >>> import diffopt_widgets as dw
    >>> runs = dw.sweep(dw.Settings("PRODIGY"), {"d_coef": [0.5, 1.0]}, task="swiss_roll", steps=3, progress=False)
    >>> [trace.name for trace in dw.compare(runs).data if trace.showlegend]
    ['PRODIGY · d_coef 0.5', 'PRODIGY · d_coef 1']
    """
    shown = checked_list(
        "runs",
        runs,
        ("name", "history", "plan"),
        "runs",
        "Write dw.compare([run, other]); dw.sweep(…) returns such a list.",
    )
    if not isinstance(x, str) or x not in X_TITLES:
        raise SettingsError((Fault("x", x, "there is no such axis", ", ".join(X_TITLES)),))
    plans = {id(run): run.plan for run in shown if run.plan is not None}
    different = dict(zip(plans, differences([*plans.values()]) if plans else [], strict=True))
    return figure(
        [
            Curve(
                run.name,
                run.history,
                schedule=run.draws_schedule,
                details=different.get(id(run), {}),
                samples_per_step=run.samples_per_step,
            )
            for run in shown
        ],
        x=x,
    )


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
