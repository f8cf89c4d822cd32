"""From runs to lines: which lines a panel holds, smoothed and thinned. Figures and saved pictures draw these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.plot.panels import Panel, next_color
from diffopt_widgets.plot.svg import Line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.records import History

GROUP_OPACITY = (1.0, 0.6, 0.4)
"""Of a run's groups whose values differ, in turn."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One run to be drawn."""

    name: str
    history: History
    color: str = ""
    """Any CSS colour; without one the next of the palette."""
    schedule: bool = False
    """Draw the schedule's own value beside the applied rate."""


@dataclass(frozen=True, eq=False)
class CurveLine(Line):
    """A line of a run's column."""

    label: str = ""
    """The run's name, with what tells this line from the run's others."""
    run: int = 0
    """Which of the curves it belongs to, from 0."""
    schedule: bool = False
    """Whether it is the schedule's own value."""
    main: bool = True
    """Whether this is the line that stands for the run in a legend."""


def colored(curves: Sequence[Curve]) -> list[Curve]:
    """The curves, each with a colour."""
    done: list[Curve] = []
    used = [curve.color for curve in curves if curve.color]
    for curve in curves:
        color = curve.color or next_color(used)
        if not curve.color:
            used.append(color)
        done.append(Curve(curve.name, curve.history, color, curve.schedule))
    return done


def shown_panels(curves: Sequence[Curve], panels: Sequence[Panel]) -> list[Panel]:
    """The panels to draw: an optional one only where a curve has one of its columns."""
    present = {name for curve in curves for name in curve.history.names()}
    return [panel for panel in panels if not panel.optional or present.intersection(panel.columns)]


def panel_lines(curves: Sequence[Curve], panel: Panel, *, smoothing: float, points: int) -> list[CurveLine]:
    """The lines of one panel, each of at most `points` points."""
    lines: list[CurveLine] = []
    for number, curve in enumerate(colored(curves)):
        step = curve.history.step.astype(np.float64)
        for column in panel.columns:
            if column not in curve.history.names() or (panel.schedule(column) and not curve.schedule):
                continue
            main = column == panel.columns[0]
            note = "schedule" if panel.schedule(column) else "" if main else column
            dash = panel.dash(column)
            for i, (group, values) in enumerate(_groups(curve.history, column)):
                label = " · ".join(part for part in (curve.name, group, note) if part)
                opacity = GROUP_OPACITY[min(i, len(GROUP_OPACITY) - 1)]
                width = 1.8 if dash == "solid" else 1.1
                if panel.smooth and smoothing > 0:
                    rows = thin(values, points)
                    lines.append(
                        CurveLine(
                            "",
                            step[rows],
                            values[rows],
                            curve.color,
                            1.0,
                            dash,
                            0.35 * opacity,
                            label,
                            number,
                            main=False,
                        )
                    )
                    values = smooth(values, smoothing)  # noqa: PLW2901
                rows = thin(values, points)
                name = curve.name if main and i == 0 else ""
                lines.append(
                    CurveLine(
                        name,
                        step[rows],
                        values[rows],
                        curve.color,
                        width,
                        dash,
                        opacity,
                        label,
                        run=number,
                        schedule=panel.schedule(column),
                        main=bool(name),
                    )
                )
    return lines


def _groups(history: History, column: str) -> list[tuple[str, NDArray[np.float64]]]:
    values = history.column(column)
    if values.ndim == 1:
        return [("", values)]
    rounded = values.astype(np.float32)
    if all(np.array_equal(rounded[:, 0], rounded[:, i], equal_nan=True) for i in range(1, values.shape[1])):
        return [("", values[:, 0])]
    return [(group, values[:, i]) for i, group in enumerate(history.groups)]


def thin(values: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """Rows to draw, at most `points`: the first, the last, and of equal parts the least and the greatest value.

    A part without any finite value keeps a row, so that the line breaks there.

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


def smooth(values: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """Exponential moving average, corrected for its start from zero; NaN where a value is not finite.

    >>> smooth(np.array([1.0, 1.0, np.nan, 4.0]), 0.5).round(3).tolist()
    [1.0, 1.0, nan, 2.714]
    """
    out = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    known = values[finite]
    n = len(known)
    if not n or beta == 0:
        out[finite] = known
        return out
    # In parts over which the weight of the past falls by e^200, so that only the part before still counts: a sum of
    # values that grow by 1 / beta from row to row is then a plain cumulative sum, and float64 can hold it.
    rate = -math.log(beta)
    size = min(n, max(1, int(200 / rate)))
    total = np.zeros((-(-n // size), size))
    total.ravel()[:n] = known
    decay = np.exp(-rate * np.arange(size))
    with np.errstate(over="ignore", invalid="ignore"):  # of values beyond 1e200
        total *= (1 - beta) / decay
        np.cumsum(total, axis=1, out=total)
        total *= decay
        total[1:] += total[:-1, -1:] * (beta * decay)
    found = total.ravel()[:n]
    begun = min(n, int(40 / rate) + 1)  # after that the weights sum to 1 in float64
    found[:begun] /= -np.expm1(-rate * np.arange(1, begun + 1))
    out[finite] = found
    return out
