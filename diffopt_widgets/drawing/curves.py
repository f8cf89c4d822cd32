"""Curves: the lines of each panel, smoothed and thinned, which figures and saved pictures draw."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
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
BAND_OPACITY = 0.18
"""Opacity of the range of several seeds; `picture.js` has the same."""
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
    setting: str = ""
    """Name of the setting that it shares with curves of other seeds, with which it is drawn as one; "" for a curve alone."""

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
            if f"{name} {value}" not in self.name and value not in parts and not (self.setting and name == "seed")
        )
        return f"{label} ({missing})" if missing else label


@dataclass(frozen=True, eq=False)
class CurveLine(Line):
    """Line of a run's column."""

    label: str = ""
    """Name of the run, with the group or column if the run has several lines."""
    run: int = 0
    """Index of the curve that it belongs to; of several seeds, of their first."""
    seeds: int = 1
    """Number of curves whose median it is."""
    ends: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """Least and greatest value of the seeds at each of its points; None for the line of one curve."""
    schedule: bool = False
    """True for the schedule's own value."""
    main: bool = True
    """True for the line that represents the run in a legend."""
    faint: bool = False
    """True for the values themselves, where their mean is drawn over them."""


def colored(curves: Sequence[Curve]) -> list[Curve]:
    """Give each curve a colour and a line style, which the seeds of a setting share."""
    result: list[Curve] = []
    used = [curve.color for curve in curves if curve.color]
    looks: dict[str, tuple[str, str]] = {}
    for curve in curves:
        if curve.setting in looks:
            color, dash = looks[curve.setting]
            result.append(replace(curve, color=color, dash=dash))
            continue
        color = curve.color or next_color(used)
        if not curve.color:
            used.append(color)
        dash = curve.dash or next_dash(color, [(other.color, other.dash) for other in result])
        result.append(replace(curve, color=color, dash=dash))
        if curve.setting:
            looks[curve.setting] = color, dash
    return result


def together(curves: Sequence[Curve]) -> list[list[int]]:
    """Return the places of the curves that are drawn as one, those of each setting in the place of its first."""
    members: dict[Hashable, list[int]] = {}
    for place, curve in enumerate(curves):
        members.setdefault(curve.setting or place, []).append(place)
    return list(members.values())


def legend_name(curves: Sequence[Curve]) -> str:
    """Return the name of curves that are drawn as one.

    >>> from diffopt_widgets.records import History
    >>> legend_name([Curve("a, seed 0", History(()), setting="a"), Curve("a, seed 1", History(()), setting="a")])
    'a (2 seeds)'
    """
    return curves[0].name if len(curves) == 1 else f"{curves[0].setting} ({len(curves)} seeds)"


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
    """Return the lines of one panel, each of at most `points` points; a run whose `x` values are not known has none.

    Several seeds of a setting are the median of their values at each step, and the range of these values as a faint band.
    """
    lines: list[CurveLine] = []
    curves = colored(curves)
    of_settings = together(curves)
    for places in of_settings:
        drawn = [
            _Seed(number, curves[number], place) for number in places if (place := curves[number].place(x)) is not None
        ]
        if not drawn:
            continue
        for column in dict.fromkeys(column for seed in drawn for column in drawn_columns(seed.curve, panel)):
            having = [seed for seed in drawn if column in drawn_columns(seed.curve, panel)]
            lines += _column_lines(
                having, panel, column, smoothing=smoothing, points=points, alone=len(of_settings) <= FAINT_RUNS
            )
    # Over bands and single values lie the lines that stand for the runs.
    return sorted(lines, key=lambda line: 0 if line.low is not None else 1 if line.faint else 2)


@dataclass(frozen=True, eq=False)
class _Seed:
    """One of the curves that are drawn as one."""

    number: int
    curve: Curve
    place: NDArray[np.float64]
    """Its x values."""


def _column_lines(
    seeds: Sequence[_Seed], panel: Panel, column: str, *, smoothing: float, points: int, alone: bool
) -> Iterator[CurveLine]:
    """Yield the lines of a column; `alone` draws the single values of a single curve faintly beside their mean."""
    first = seeds[0].curve
    name = legend_name([seed.curve for seed in seeds])
    main = column == panel.columns[0]
    note = "schedule" if panel.schedule(column) else "" if main else column
    own = panel.dash(column)
    dash = first.dash if own == "solid" else own
    smoothed = panel.smooth and smoothing > 0
    groups = [_groups(seed.curve.history, column) for seed in seeds]
    if len({len(of) for of in groups}) > 1:  # the groups of only some seeds are apart
        groups = [_groups(seed.curve.history, column, apart=True) for seed in seeds]
    for i, group in enumerate(label for label, _ in groups[0]):
        every = [of[i][1] for of in groups if i < len(of)]
        label = " · ".join(part for part in (name, group, note) if part)
        opacity = GROUP_OPACITY[min(i, len(GROUP_OPACITY) - 1)]
        base = CurveLine(
            "", (), (), first.color, dash=dash, label=label, run=seeds[0].number, seeds=len(seeds), main=False
        )
        if smoothed and alone and len(seeds) == 1:
            rows = _rows(every[0], points, sparse=panel.sparse)
            single = replace(base, x=seeds[0].place[rows], y=every[0][rows], dash="solid", faint=True)
            yield replace(single, width=1.0, opacity=0.35 * opacity)
        if smoothed:
            every = [smooth(values, smoothing) for values in every]
        place, values, low, high = _median(seeds, every)
        if len(seeds) > 1 and main and bool(np.any(high > low)):
            rows = np.union1d(*(_rows(end, points // 2, sparse=panel.sparse) for end in (low, high)))
            yield replace(base, x=place[rows], y=high[rows], low=low[rows], opacity=BAND_OPACITY * opacity, faint=True)
        rows = _rows(values, points, sparse=panel.sparse)
        stands = main and i == 0
        front = replace(base, name=name if stands else "", x=place[rows], y=values[rows], main=stands, opacity=opacity)
        marks = len(rows) == 1 or (panel.sparse and len(rows) < MARKED)
        ends = (low[rows], high[rows]) if len(seeds) > 1 else None
        width = 1.8 if own == "solid" else 1.1
        yield replace(front, width=width, marks=marks, ends=ends, schedule=panel.schedule(column))


def _rows(values: NDArray[np.float64], points: int, *, sparse: bool) -> NDArray[np.intp]:
    """Choose the rows to draw; of a sparse column only those that have a value."""
    known = np.flatnonzero(np.isfinite(values)) if sparse else np.arange(len(values))
    return known[thin(values[known], points)]


def _median(
    seeds: Sequence[_Seed], every: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return x values, median, least and greatest value of curves at each step that one of them has.

    Only finite values count: where a seed has none, those that have one are drawn.
    """
    if len(seeds) == 1:
        return seeds[0].place, every[0], every[0], every[0]
    steps = np.unique(np.concatenate([seed.curve.history.step for seed in seeds]))
    place, values = (np.full((len(seeds), len(steps)), np.nan) for _ in range(2))
    for i, (seed, own) in enumerate(zip(seeds, every, strict=True)):
        rows = np.searchsorted(steps, seed.curve.history.step)
        place[i, rows] = seed.place
        values[i, rows] = np.where(np.isfinite(own), own, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a step without any value has no median
        middle = np.nanmedian(values, axis=0)
        # Over time a seed that ends early may have been the slower one; the line does not turn back there.
        return (
            np.fmax.accumulate(np.nanmedian(place, axis=0)),
            middle,
            np.nanmin(values, axis=0),
            np.nanmax(values, axis=0),
        )


def ends_of(places: ArrayLike) -> tuple[float, ...]:
    """Return the first and the last place of a line that are known; times from other tools' logs may not be.

    >>> ends_of([np.nan, 1.0, 2.0, 5.0, np.inf]), ends_of([])
    ((1.0, 5.0), ())
    """
    values = np.asarray(places, np.float64)
    known = values[np.isfinite(values)]
    return (float(known[0]), float(known[-1])) if len(known) else ()


def _groups(history: History, column: str, *, apart: bool = False) -> list[tuple[str, NDArray[np.float64]]]:
    """Return the values of a column by parameter group; of groups that have the same values only the first, unless `apart`."""
    values = history.column(column)
    if values.ndim == 1:
        return [("", values)]
    rounded = values.astype(np.float32)
    if not apart and all(
        np.array_equal(rounded[:, 0], rounded[:, i], equal_nan=True) for i in range(1, values.shape[1])
    ):
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
