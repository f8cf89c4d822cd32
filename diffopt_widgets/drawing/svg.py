"""Line charts as plain SVG text, for saved pictures and previews without Plotly."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from diffopt_widgets.drawing.markup import escape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

DASHES = {
    "solid": "",
    "dash": "5 4",
    "dot": "1.5 3",
    "dashdot": "6 3 1.5 3",
    "longdash": "11 4",
    "longdashdot": "11 3 1.5 3",
}
"""Line styles of `panels.DASHES` as lengths of strokes and gaps."""
MARK = 5
"""Diameter of a point."""
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 30, 44
LEGEND_ROW = 18
LEAST, MOST = 1e-300, 1e300
"""Range of values that are drawn: beyond it the arithmetic of axes would overflow."""
CHARACTER = 6.5
"""Assumed width of a character, in pixels."""
LONGEST = 60
"""Largest number of characters of a name in the legend."""


LOOK = (
    'fill="currentColor" font-family="system-ui, sans-serif" font-size="11" '
    'style="max-width:100%;color:var(--jp-ui-font-color1, #808080)"'
)
"""Attributes of a picture, for all texts and lines in it."""


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart; values that are not finite (or not above zero on a log axis) break it."""

    name: str
    """Entry in the legend; lines of the same name and colour share one, lines without a name have none."""
    x: ArrayLike
    y: ArrayLike
    color: str = "currentColor"
    width: float = 1.8
    dash: str = "solid"
    """One of `DASHES`."""
    opacity: float = 1.0
    marks: bool = False
    """Draw a point at each value."""
    low: ArrayLike | None = None
    """Lower ends of a band whose upper ends are `y`: it is filled, and has no line."""


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    log: bool
    pixels: tuple[float, float]
    """Positions of `low` and `high`."""
    ticks: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ticks", _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high))

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert values to pixels; NaN where a value cannot be drawn."""
        values = np.where(np.abs(values) <= MOST, values, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(values >= LEAST, np.log10(values), np.nan) if self.log else values
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        start, stop = self.pixels
        pixels: NDArray[np.float64] = start + (scaled - low) / (high - low) * (stop - start)
        return np.where(np.isfinite(pixels), pixels, np.nan)


def line_chart(
    lines: Sequence[Line],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    scale: Literal["linear", "log"] = "linear",
    width: int = 480,
    height: int = 280,
    legend: bool = True,
    along: tuple[float, float] | None = None,
) -> str:
    """Draw a line chart as an `<svg>` element.

    `along` are the ends of the x axis, by default those of the lines. Axes and text are drawn in `currentColor`, so they follow the text around the picture in light and dark themes; in an
    `<img>` they are a grey that is readable in both. All names are escaped.

    >>> chart = line_chart([Line("cosine", [0, 1, 2], [1.0, 0.5, 0.0])], title="Schedule", width=300, height=200)
    >>> chart.startswith("<svg"), "Schedule" in chart, "cosine" in chart
    (True, True, True)
    """
    arrays = [(np.asarray(line.x, dtype=np.float64), np.asarray(line.y, dtype=np.float64)) for line in lines]
    entries = _legend_entries(lines) if legend else []
    rows = _legend_rows(entries, width)
    bottom = height - BOTTOM - LEGEND_ROW * len(rows)
    x_axis = _axis(
        [x for x, _ in arrays] if along is None else [np.array(along)],
        log=False,
        pixels=(LEFT, width - RIGHT),
        tight=True,
    )
    lows = [np.asarray(line.low, dtype=np.float64) for line in lines if line.low is not None]
    y_axis = _axis([*(y for _, y in arrays), *lows], log=scale == "log", pixels=(bottom, TOP), tight=False)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title or y_label or "chart")}" {LOOK}>'
    )
    parts = [
        opening,
        _grid(x_axis, y_axis, width, bottom),
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="600">{escape(title)}</text>' if title else "",
        f'<text x="{(LEFT + width - RIGHT) / 2:.0f}" y="{bottom + 32}" text-anchor="middle">{escape(x_label)}</text>'
        if x_label
        else "",
        f'<text transform="translate(12 {(TOP + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        if y_label
        else "",
    ]
    for line, (x, y) in zip(lines, arrays, strict=True):
        if line.low is None:
            parts.append(_path(line, x_axis.place(x), y_axis.place(y)))
        else:
            low = np.asarray(line.low, dtype=np.float64)
            parts.append(_band(line, x_axis.place(x), y_axis.place(y), y_axis.place(low)))
    parts.append(_legend(rows, bottom + BOTTOM + 6))
    return "".join(parts) + "</svg>"


def side_by_side(
    charts: Sequence[str], *, legend: Sequence[Line] = (), columns: int | None = None, heading: Sequence[str] = ()
) -> str:
    """Put several charts of the same size into one picture, in rows, with one legend below them all.

    Args:
        charts: SVG of `line_chart`.
        legend: lines whose names are listed, each name in a colour once.
        columns: largest number of charts in a row; by default all of them.
        heading: lines above the charts; the first one is bold.
    """
    sizes = [re.match(r'<svg [^>]*?width="(\d+)" height="(\d+)"', chart) for chart in charts]
    width = max((int(size[1]) for size in sizes if size), default=0)
    height = max((int(size[2]) for size in sizes if size), default=0)
    across = min(len(charts), columns or len(charts)) or 1
    total = across * width
    words, above = _heading(heading, total)
    places = [(i % across * width, above + i // across * height) for i in range(len(charts))]
    inner = "".join(
        chart.replace("<svg ", f'<svg x="{x}" y="{y}" ', 1) for (x, y), chart in zip(places, charts, strict=True)
    )
    bottom = above + -(-len(charts) // across) * height
    rows = _legend_rows(_legend_entries(legend), total)
    tall = bottom + LEGEND_ROW * len(rows) + (8 if rows else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{tall}" viewBox="0 0 {total} {tall}" '
        f'role="img" {LOOK}>{words}{inner}{_legend(rows, bottom + 8)}</svg>'
    )


def _heading(lines: Sequence[str], width: int) -> tuple[str, int]:
    """Return the lines as text, broken where they are too long, and their height."""
    parts = [
        (part, ' font-weight="600"' if line == 0 else "")
        for line, text in enumerate(lines)
        for part in textwrap.wrap(text, int((width - LEFT - RIGHT) / CHARACTER))
    ]
    rows = [f'<text x="{LEFT}" y="{18 + 16 * i}"{bold}>{escape(part)}</text>' for i, (part, bold) in enumerate(parts)]
    return "".join(rows), 16 * len(rows) + 10 if rows else 0


def _axis(values: Sequence[NDArray[np.float64]], *, log: bool, pixels: tuple[float, float], tight: bool) -> _Axis:
    everything = np.concatenate([*values, np.empty(0)])
    drawn = everything[(np.abs(everything) <= MOST) & ((everything >= LEAST) | (not log))]
    if not len(drawn):
        return _Axis(1e-3, 1.0, log, pixels) if log else _Axis(0.0, 1.0, log, pixels)
    low, high = float(drawn.min()), float(drawn.max())
    if log:
        room = 1.0 if tight else 2.0 if low == high else 10 ** max(0.05 * (math.log10(high) - math.log10(low)), 0.02)
        return _Axis(max(low / room, LEAST), min(high * room, MOST), log, pixels)
    room = (abs(low) * 0.1 or 1.0) if low == high else 0.0 if tight else 0.05 * (high - low)
    return _Axis(low - room, high + room, log, pixels)


def _ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Return round numbers from low to high.

    >>> _ticks(0.0, 300.0)
    (0.0, 100.0, 200.0, 300.0)
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    factors = (1, 2, 2.5, 5, 10) if power < 1 else (1, 2, 5, 10)
    each = next(power * factor for factor in factors if power * factor >= rough)
    if not math.isfinite(each) or each == 0:
        return ()
    first = math.ceil(low / each - 1e-9)
    return tuple(
        round(i * each, 12 - math.floor(math.log10(each))) for i in range(first, math.floor(high / each + 1e-9) + 1)
    )


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first < 1:
        return tuple(t for p in range(first - 1, last + 2) for f in (1, 2, 5) if low <= (t := f * 10.0**p) <= high)
    each = 1 + (last - first) // 7
    return tuple(10.0**p for p in range(first, last + 1, each))


def _grid(x_axis: _Axis, y_axis: _Axis, width: int, bottom: float) -> str:
    parts = ['<g stroke="currentColor" stroke-opacity="0.18">']
    xs = x_axis.place(np.array(x_axis.ticks))
    ys = y_axis.place(np.array(y_axis.ticks))
    parts += [f'<path d="M{x:.1f} {TOP}V{bottom}"/>' for x in xs]
    parts += [f'<path d="M{LEFT} {y:.1f}H{width - RIGHT}"/>' for y in ys]
    parts.append(
        f'</g><g><path d="M{LEFT} {TOP}V{bottom}H{width - RIGHT}" stroke="currentColor" stroke-opacity="0.5" fill="none"/>'
    )
    for x, tick in zip(xs, x_axis.ticks, strict=True):
        text = _number(tick)
        inside = min(x, width - CHARACTER * len(text) / 2)
        parts.append(f'<text x="{inside:.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>')
    for y, tick in zip(ys, y_axis.ticks, strict=True):
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    return "".join(parts) + "</g>"


def _number(value: float) -> str:
    text = f"{value:.6g}"
    return re.sub(r"e([+-])0*(\d)", lambda m: "e" + m[1].replace("+", "") + m[2], text).replace("-", "−")


def _path(line: Line, x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    parts, marks, pen = [], [], "M"
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        if math.isnan(px) or math.isnan(py):
            pen = "M"
            continue
        parts.append(f"{pen}{px:.1f} {py:.1f}")
        marks.append(f"M{px:.1f} {py:.1f}h0")
        pen = "L"
    points = (
        f'<path d="{"".join(marks)}" fill="none" stroke="{escape(line.color)}" stroke-width="{MARK}" stroke-linecap="round"/>'
        if line.marks
        else ""
    )
    return points + (
        f'<path d="{"".join(parts)}" fill="none" stroke="{escape(line.color)}" stroke-width="{line.width:g}" '
        f'stroke-opacity="{line.opacity:g}" stroke-linejoin="round" stroke-linecap="round"{_dashes(line.dash)}/>'
    )


def _band(line: Line, x: NDArray[np.float64], y: NDArray[np.float64], low: NDArray[np.float64]) -> str:
    parts = []
    for part in unbroken(x, y, low):
        there = zip(x[part].tolist(), y[part].tolist(), strict=True)
        back = zip(x[part][::-1].tolist(), low[part][::-1].tolist(), strict=True)
        parts.append("M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in (*there, *back)))
    return f'<path d="{"".join(parts)}" fill="{escape(line.color)}" fill-opacity="{line.opacity:g}"/>'


def unbroken(*values: NDArray[np.float64]) -> list[slice]:
    """Return the stretches of rows in which all of these values are finite.

    >>> unbroken(np.array([1.0, 2.0, np.nan, 4.0]))
    [slice(0, 2, None), slice(3, 4, None)]
    """
    known = np.isfinite(values).all(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _dashes(dash: str) -> str:
    return f' stroke-dasharray="{DASHES[dash]}"' if DASHES[dash] else ""


def _legend_entries(lines: Sequence[Line]) -> list[Line]:
    entries: dict[tuple[str, str], Line] = {}
    for line in lines:
        if line.name:
            entries[line.name, line.color] = line
    return list(entries.values())


def _legend_rows(entries: Sequence[Line], width: int) -> list[list[tuple[float, Line]]]:
    rows: list[list[tuple[float, Line]]] = []
    left = 0.0
    for line in entries:
        needed = 44 + CHARACTER * min(len(line.name), LONGEST)
        if not rows or left + needed > width - RIGHT:
            rows.append([])
            left = LEFT
        rows[-1].append((left, line))
        left += needed
    return rows


def _legend(rows: Sequence[Sequence[tuple[float, Line]]], top: float) -> str:
    parts = []
    for i, row in enumerate(rows):
        y = top + LEGEND_ROW * i
        for x, line in row:
            name = line.name if len(line.name) <= LONGEST else line.name[: LONGEST - 1] + "…"
            parts.append(
                f'<path d="M{x:.0f} {y}h24" stroke="{escape(line.color)}" stroke-width="2.5"{_dashes(line.dash)}/>'
                f'<text x="{x + 29:.0f}" y="{y + 4}">{escape(name)}</text>'
            )
    return "".join(parts)
