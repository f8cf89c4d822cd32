"""Curves: the lines of each panel, smoothed and thinned, which figures and saved pictures draw."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from diffopt_widgets.drawing.panels import Panel, next_color, next_dash
from diffopt_widgets.drawing.svg import Line

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from diffopt_widgets.records import History

Along = Literal["step", "time", "samples"]
"""Unit of the x axis: steps, training time in seconds, or examples seen."""
X_TITLES: dict[Along, str] = {"step": "step", "time": "training time (s)", "samples": "samples seen"}
MARKED = 100
"""Smallest number of values of a sparse column that are drawn without a point each; `picture.js` has the same."""
FAINT_RUNS = 12
"""Largest number of runs whose single values are drawn faintly beside their means; `picture.js` has the same."""
GROUP_OPACITY = (1.0, 0.6, 0.4)
"""Opacity of the parameter groups of a run, in turn, when their values differ."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One run to be drawn."""

    name: str
    history: History
    color: str = ""
    """Any CSS colour; if empty, the next one of the palette."""
    dash: str = ""
    """Line style, one of `panels.DASHES`; if empty, the next one for its colour."""
    schedule: bool = False
    """Draw the schedule's own value beside the applied rate."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Settings in which it differs from the others."""
    samples_per_step: float | None = None
    """Number of examples in a step."""

    def place(self, x: Along) -> NDArray[np.float64] | None:
        """Return the x values of its rows; None if they are not known."""
        if x == "time":
            return self.history.column("seconds") if "seconds" in self.history.names() else None
        step = self.history.step.astype(np.float64)
        if x == "samples":
            return None if self.samples_per_step is None else step * self.samples_per_step
        return step

    def hover_label(self, label: str) -> str:
        """Extend a line's label by the settings that are not in the run's name."""
        parts = re.split(r"[ ·,]+", self.name)
        missing = ", ".join(
            f"{name} {value}"
            for name, value in self.details.items()
            if f"{name} {value}" not in self.name and value not in parts
        )
        return f"{label} ({missing})" if missing else label


@dataclass(frozen=True, eq=False)
class CurveLine(Line):
    """Line of a run's column."""

    label: str = ""
    """Name of the run, with the group or column if the run has several lines."""
    run: int = 0
    """Index of the curve that it belongs to."""
    schedule: bool = False
    """True for the schedule's own value."""
    main: bool = True
    """True for the line that represents the run in a legend."""
    faint: bool = False
    """True for the values themselves, where their mean is drawn over them."""


def colored(curves: Sequence[Curve]) -> list[Curve]:
    """Give each curve a colour and a line style."""
    result: list[Curve] = []
    used = [curve.color for curve in curves if curve.color]
    for curve in curves:
        color = curve.color or next_color(used)
        if not curve.color:
            used.append(color)
        dash = curve.dash or next_dash(color, [(other.color, other.dash) for other in result])
        result.append(replace(curve, color=color, dash=dash))
    return result


def shown_panels(curves: Sequence[Curve], panels: Sequence[Panel]) -> list[Panel]:
    """Return the panels to draw: an optional one only if a curve has one of its columns, one that another stands in for not."""

    def filled(panel: Panel) -> bool:
        return any(drawn_columns(curve, panel) for curve in curves)

    standing_in = {panel.unless for panel in panels if panel.unless and filled(panel)}
    return [
        panel
        for panel in panels
        if filled(panel) or not (panel.optional or standing_in.intersection(panel.columns[:1]))
    ]


def panel_title(panel: Panel, smoothing: float) -> str:
    """Return the title of a panel, with its unit, and with what its line is where that is a mean.

    >>> from diffopt_widgets.drawing.panels import LOSS
    >>> panel_title(LOSS, 0.9)
    'Training loss (mean of 19)'
    """
    title = f"{panel.title} ({panel.unit})" if panel.unit else panel.title
    values = values_of_mean(smoothing)
    return f"{title} (mean of {values})" if panel.smooth and values > 1 else title


def drawn_columns(curve: Curve, panel: Panel) -> list[str]:
    """Return the columns of a panel that are drawn for a run: the schedule's own only beside the applied rate."""
    names = curve.history.names()
    if panel.unless in names:
        return []
    beside = curve.schedule and panel.columns[0] in names
    return [column for column in panel.columns if column in names and (beside or not panel.schedule(column))]


def panel_lines(
    curves: Sequence[Curve], panel: Panel, *, smoothing: float, points: int, x: Along = "step"
) -> list[CurveLine]:
    """Return the lines of one panel, each of at most `points` points; a run whose `x` values are not known has none."""
    lines: list[CurveLine] = []
    for number, curve in enumerate(colored(curves)):
        place = curve.place(x)
        if place is None:
            continue
        for column in drawn_columns(curve, panel):
            main = column == panel.columns[0]
            note = "schedule" if panel.schedule(column) else "" if main else column
            own = panel.dash(column)
            for i, (group, values) in enumerate(_groups(curve.history, column)):
                label = " · ".join(part for part in (curve.name, group, note) if part)
                opacity = GROUP_OPACITY[min(i, len(GROUP_OPACITY) - 1)]
                width = 1.8 if own == "solid" else 1.1
                known = np.flatnonzero(np.isfinite(values)) if panel.sparse else np.arange(len(values))
                dash = curve.dash if own == "solid" else own
                base = CurveLine("", (), (), curve.color, dash=dash, label=label, run=number)
                if panel.smooth and smoothing > 0:
                    rows = known[thin(values[known], points)]
                    each = replace(base, x=place[rows], y=values[rows], dash="solid", faint=True)
                    if len(curves) <= FAINT_RUNS:
                        lines.append(replace(each, width=1.0, opacity=0.35 * opacity, main=False))
                    values = smooth(values, smoothing)  # noqa: PLW2901
                rows = known[thin(values[known], points)]
                main_line = main and i == 0
                front = replace(
                    base, name=curve.name if main_line else "", x=place[rows], y=values[rows], main=main_line
                )
                marks = len(rows) == 1 or (panel.sparse and len(rows) < MARKED)
                front = replace(front, width=width, opacity=opacity, marks=marks)
                lines.append(replace(front, schedule=panel.schedule(column)))
    return sorted(lines, key=lambda line: not line.faint)  # over one run's single values lie the means of all


def ends_of(places: ArrayLike) -> tuple[float, ...]:
    """Return the first and the last place of a line that are known; times from other tools' logs may not be.

    >>> ends_of([np.nan, 1.0, 2.0, 5.0, np.inf]), ends_of([])
    ((1.0, 5.0), ())
    """
    values = np.asarray(places, np.float64)
    known = values[np.isfinite(values)]
    return (float(known[0]), float(known[-1])) if len(known) else ()


def _groups(history: History, column: str) -> list[tuple[str, NDArray[np.float64]]]:
    values = history.column(column)
    if values.ndim == 1:
        return [("", values)]
    rounded = values.astype(np.float32)
    if all(np.array_equal(rounded[:, 0], rounded[:, i], equal_nan=True) for i in range(1, values.shape[1])):
        return [("", values[:, 0])]
    return [(group, values[:, i]) for i, group in enumerate(history.groups)]


def thin(values: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """Choose the rows to draw, at most `points`: the first, the last, and the extremes of equally long parts.

    A part without finite values keeps one row, so that the line breaks there.

    >>> thin(np.array([0.0, 1, 2, 9, 4, 5, -7, 7, 8, 9]), 6)
    array([0, 3, 6, 9])
    """
    n = len(values)
    if n <= points:
        return np.arange(n)
    buckets = max(1, points // 2 - 1)
    size = -(-n // buckets)
    padded = np.full(buckets * size, np.nan)
    padded[:n] = values
    parts = padded.reshape(buckets, size)
    finite = np.isfinite(parts)
    low = np.where(finite, parts, np.inf).argmin(axis=1)
    high = np.where(finite, parts, -np.inf).argmax(axis=1)
    start = np.arange(buckets) * size
    rows = np.unique(np.concatenate([[0], start + low, start + high, [n - 1]]))
    return rows[rows < n]


def values_of_mean(beta: float) -> int:
    """Return how many values a smoothed one is the mean of: as many as an exponential average of this weight is worth.

    >>> [values_of_mean(beta) for beta in (0.0, 0.5, 0.9, 0.99)]
    [1, 3, 19, 199]
    """
    return 2 * math.floor(beta / (1 - beta) + 0.5) + 1


def smooth(values: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Return the mean of each value and of as many before as after it, `values_of_mean(beta)` of them in all.

    Such a mean does not lag behind a curve that falls, as an exponential average does. The first values have as many on
    both sides as there are before them; the last ones have fewer after them than before. Only finite values count; the
    mean is NaN where a value is not finite. `smooth.js` computes the same.

    >>> smooth(np.array([1.0, 2.0, np.nan, 9.0, 4.0]), 0.5).tolist()
    [1.0, 4.0, nan, 5.0, 6.5]
    """
    out = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    known = values[finite]
    n, size = len(known), values_of_mean(beta)
    if not n or size == 1:
        out[finite] = known
        return out
    # Nothing is subtracted, so a huge value spoils only the means that contain it: a window is the end of one part of `size`
    # values and the beginning of the next, unless it is a part, or begins or ends where all values do.
    parts = np.zeros((-(-n // size), size))
    parts.ravel()[:n] = known
    half, whole = size // 2, max(0, n - size + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        upright = np.ascontiguousarray(parts.T)  # summed many at a time, which is several times as fast
        from_start = np.cumsum(upright, axis=0).T.ravel()
        to_end = np.cumsum(upright[::-1], axis=0)[::-1].T.ravel()
        total = np.empty(n)
        total[half : half + whole] = to_end[:whole] + from_start[size - 1 : size - 1 + whole]
        total[half : half + whole : size] = from_start[size - 1 :: size][: -(-whole // size)]
        total /= size
        begun = min(half, n)
        last = np.minimum(2 * np.arange(begun), n - 1)
        total[:begun] = from_start[last] / (last + 1)
        first = np.arange(max(begun, half + whole), n) - half
        ends = to_end[first] + np.where(first // size < (n - 1) // size, from_start[n - 1], 0.0)
        total[first + half] = ends / (n - first)
    if n == len(values):
        return total
    out[finite] = total
    return out
