"""Figures of several options: which values of two of them go well together, and which values of many lead to a low loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

from diffopt_widgets.catalogue.values import format_value, safe_repr
from diffopt_widgets.drawing.markup import plotly_text
from diffopt_widgets.runs.compared import verdict
from diffopt_widgets.runs.run import Run, divergence
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import check_kind, checked_list
from diffopt_widgets.settings.variations import differences, listed, options_of, shared_words, without_seed, words_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from diffopt_widgets.settings.plan import RunPlan

_MISSING = object()
"""Value of an option that a setting's optimizer does not have."""
_MOST_WRITTEN = 12
"""Largest number of cells in a row whose losses are written into them."""
_FAR = 4
"""Losses that are so many times as far above the lowest as their median is have one colour."""
_VARY = 'Vary two or more, such as dw.sweep("PRODIGY", over={"lr": [0.3, 1], "d_coef": [0.5, 1]}).'


@dataclass(frozen=True)
class _Point:
    """One setting, with what its runs reached."""

    values: dict[str, Any]
    losses: tuple[float, ...]
    """Losses of its finished seeds; empty where it did not finish or a seed diverged."""
    diverged: bool

    @property
    def loss(self) -> float | None:
        """Median over its seeds; None where there is none that can be compared."""
        return median(self.losses) if self.losses else None


@dataclass(frozen=True)
class _Axis:
    """An option as an axis: its values in order, and where each lies."""

    name: str
    values: tuple[Any, ...]
    log: bool

    @property
    def words(self) -> list[str]:
        return [_words(value) for value in self.values]

    def place(self, value: Any) -> float:  # Any: a value of a plan
        """Return where a value lies: its logarithm where the option is logarithmic, else its rank."""
        return math.log10(value) if self.log else float(self.values.index(value))

    @property
    def places(self) -> list[float]:
        return [self.place(value) for value in self.values]

    @property
    def edges(self) -> list[float]:
        """Ends of the cells around its values."""
        at = self.places
        if len(at) == 1:
            return [at[0] - 0.5, at[0] + 0.5]
        between = [(a + b) / 2 for a, b in itertools.pairwise(at)]
        return [2 * at[0] - between[0], *between, 2 * at[-1] - between[-1]]


def compare_options(
    runs: Sequence[Run], x: str | None = None, y: str | None = None, *, kind: Literal["map", "lines"] | None = None
) -> Figure:
    """Draw how the loss depends on the options that vary, as a heat map of two of them or as parallel coordinates of all.

    Of several seeds it is the median. A setting that diverged is marked, and is never the best; where nothing was trained a
    cell is empty. An option that the catalogue gives a logarithmic slider, such as a learning rate, has a logarithmic axis.

    Args:
        runs: runs of one task and length that differ in two or more options, such as a sweep returns.
        x: option along, for a heat map; by default the first that varies.
        y: option up, for a heat map; by default the second. Where more options vary, a cell has the lowest loss over them.
        kind: "map" or "lines" (parallel coordinates); by default a map where two options vary or `x` or `y` is given.

    Raises:
        SettingsError: these are no runs, fewer than two options vary, or the losses cannot be compared.

    >>> import diffopt_widgets as dw
    >>> over = {"lr": [0.3, 1.0], "d_coef": [0.5, 1.0]}
    >>> runs = dw.sweep("PRODIGY", over, task="swiss_roll", steps=3, seeds=2, progress=False)
    >>> [trace.type for trace in compare_options(runs).data], compare_options(runs, kind="lines").data[0].type
    (['heatmap', 'scatter'], 'parcoords')
    """
    shown: list[Run] = checked_list(
        "runs", runs, ("plan", "history", "eval_after"), "runs", "Give what dw.sweep(…) returned."
    )
    for argument, name in (("x", x), ("y", y)):
        check_kind(argument, name, (str, type(None)), "the name of an option", 'Write it as a text, such as "lr".')
    if kind is not None and (not isinstance(kind, str) or kind not in ("map", "lines")):
        raise SettingsError((Fault("kind", kind, "there is no such figure", '"map" or "lines"'),))
    names = (
        list(dict.fromkeys(name for one in differences([run.plan for run in shown]) for name in one)) if shown else []
    )
    names = [name for name in names if name != "seed"]
    if len(names) < 2:
        differ = f"only {names[0]} varies" if names else "no option varies"
        raise SettingsError(
            (Fault("runs", None, f"{differ} in these runs, so there is nothing to set against it", "", _VARY),)
        )
    for argument, name in (("x", x), ("y", y)):
        if name is not None and name not in names:
            raise SettingsError((Fault(argument, name, "it does not vary in these runs", ", ".join(names)),))
    if x is not None and x == y:
        raise SettingsError((Fault("y", y, "it stands at x already", ", ".join(name for name in names if name != x)),))
    judged = verdict(shown)
    if judged.refusal:
        raise SettingsError((Fault("runs", None, f"the losses cannot be compared: {judged.refusal}", ""),))
    points = _points(shown, names, judged.measure)
    axes = {name: _axis(name, points, shown) for name in names}
    measure = judged.measure or "training loss"
    if kind == "lines" or (kind is None and x is None and y is None and len(names) > 2):
        return _lines(points, list(axes.values()), measure, _heading(shown, measure, points))
    x = x or next(name for name in names if name != y)
    y = y or next(name for name in names if name != x)
    others = [name for name in names if name not in {x, y}]
    return _map(points, axes[x], axes[y], measure, _heading(shown, measure, points, others))


def _points(runs: Sequence[Run], names: Sequence[str], measure: str) -> list[_Point]:
    settings: dict[RunPlan, list[Run]] = {}
    for run in runs:
        settings.setdefault(without_seed(run.plan), []).append(run)
    points = []
    for plan, of in settings.items():
        flat = plan.flat()
        diverged = any(divergence(run) for run in of)
        ended = [] if diverged else [run for run in of if run.status == "done"]
        by_seed: dict[int, list[float]] = {}  # a repeat of a seed is no further seed
        for run in ended:
            loss = run.final_loss if measure == "training loss" else run.eval_after
            if loss is not None:
                by_seed.setdefault(run.plan.seed, []).append(loss)
        known = tuple(map(fmean, by_seed.values()))
        points.append(_Point({name: flat.get(name, _MISSING) for name in names}, known, diverged))
    return points


def _axis(name: str, points: Sequence[_Point], runs: Sequence[Run]) -> _Axis:
    values = list(dict.fromkeys(point.values[name] for point in points))
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    others = [value for value in values if value not in numbers or isinstance(value, bool)]
    option = next((found for run in runs if (found := options_of(run.plan).get(name))), None)
    log = bool(option and option.log and not others and all(0 < value < math.inf for value in numbers))
    return _Axis(name, (*sorted(numbers), *others), log)


def _words(value: Any) -> str:  # Any: a value of a plan
    if value is _MISSING:
        return "not there"
    if value is None:
        return "empty"
    return format_value(value) if isinstance(value, int | float | str) else safe_repr(value)


def _heading(runs: Sequence[Run], measure: str, points: Sequence[_Point], others: Sequence[str] = ()) -> str:
    common = ", ".join(shared_words([run.plan for run in runs], [run.batch_size for run in runs]))
    counts = {len(point.losses) for point in points if point.losses}
    seeds = max(counts, default=0)
    of = f", median of {'up to ' if len(counts) > 1 else ''}{seeds} seeds" if seeds > 1 else ""
    lowest = f", lowest over {listed(others)}" if others else ""
    lines = [common, _best_words(points)]
    return f"<b>{plotly_text(measure.capitalize() + of + lowest)}</b><br>" + "<br>".join(map(plotly_text, lines))


def _best_words(points: Sequence[_Point]) -> str:
    """Name the settings with the lowest loss in three digits, as a verdict compares."""
    known = [point for point in points if point.loss is not None]
    best = _best(known)
    if not best:
        return "No setting finished"
    if len(known) > 1 and len(best) == len(known):
        return f"No difference in three digits: {_loss(best[0]):.3g}"
    if len(best) > _MOST_BEST:
        return f"Best: {_loss(best[0]):.3g} ({len(best)} settings)"
    values = [
        ", ".join(words_of(name, _words(value)) for name, value in point.values.items() if value is not _MISSING)
        for point in best
    ]
    return f"Best: {_loss(best[0]):.3g} ({'; '.join(values)})"


def _best(points: Sequence[_Point]) -> list[_Point]:
    """Return the points whose loss is the lowest in three digits."""
    lowest = f"{min(map(_loss, points), default=math.inf):.3g}"
    return [point for point in points if point.losses and f"{_loss(point):.3g}" == lowest]


@dataclass(frozen=True)
class _Colors:
    """Scale of colours for losses: where few are far above the others, it ends below them, so that the others differ."""

    losses: tuple[float, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """Losses at its ends; higher ones have the colour of its end."""
        if not self.losses:
            return 0.0, 1.0
        low, high = min(self.losses), max(self.losses)
        usual = low + _FAR * (median(self.losses) - low)
        high = min(high, usual) if usual > low else high
        return (low, high) if low < high else (low - 0.5, high + 0.5)

    def of(self, loss: float) -> float:
        """Return a loss where it lies on the scale."""
        return min(loss, self.ends[1])

    def ticks(self) -> dict[str, Any]:  # Any: of plotly
        """Return losses on the scale with their words."""
        low, high = self.ends
        at = [low + i * (high - low) / 4 for i in range(5)]
        words = [f"{value:.3g}" for value in at]
        if self.losses and max(self.losses) > high:
            words[-1] = f"≥ {words[-1]}"
        return {"tickvals": at, "ticktext": words}


def _map(points: Sequence[_Point], x: _Axis, y: _Axis, measure: str, heading: str) -> Figure:
    from plotly.graph_objects import Figure, Heatmap, Scatter

    cells: dict[tuple[int, int], list[_Point]] = {}
    for point in points:
        cells.setdefault((y.values.index(point.values[y.name]), x.values.index(point.values[x.name])), []).append(point)
    best_of = {
        at: min((one for one in of if one.loss is not None), key=_loss, default=None) for at, of in cells.items()
    }
    known = {at: one for at, one in best_of.items() if one is not None}
    colors = _Colors(tuple(_loss(one) for one in known.values()))
    rows = range(len(y.values))
    columns = range(len(x.values))
    z = [[_loss(known[i, j]) if (i, j) in known else None for j in columns] for i in rows]
    words = [[f"{_loss(known[i, j]):.3g}" if (i, j) in known else "" for j in columns] for i in rows]
    names = [[f"{x.name} {x.words[j]}, {y.name} {y.words[i]}" for j in columns] for i in rows]
    told = [[plotly_text(names[i][j] + _reached(known.get((i, j)))) for j in columns] for i in rows]
    heat = Heatmap(
        x=x.edges,
        y=y.edges,
        z=z,
        text=words if len(columns) <= _MOST_WRITTEN else None,
        texttemplate="%{text}" if len(columns) <= _MOST_WRITTEN else None,
        customdata=told,
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        colorscale=[[i / 4, color] for i, color in enumerate(_VIRIDIS)],
        zmin=colors.ends[0],
        zmax=colors.ends[1],
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": measure, "side": "right"}, "thickness": 12, **colors.ticks()},
    )
    marked = [at for at, of in cells.items() if at not in known and any(one.diverged for one in of)]
    marks = Scatter(
        x=[x.places[j] for _, j in marked],
        y=[y.places[i] for i, _ in marked],
        mode="text",
        text=["✕ diverged" if len(columns) <= _MOST_WRITTEN / 2 else "✕"] * len(marked),
        textfont={"color": "#8A8A8A"},
        hovertext=[plotly_text(f"{names[i][j]}: diverged") for i, j in marked],
        hoverinfo="text",
        showlegend=False,
    )
    result = Figure([heat, marks])
    best = _best(list(known.values()))
    for i, j in known if len(best) < len(known) else ():
        if known[i, j] not in best:
            continue
        frame = {"x0": x.edges[j], "x1": x.edges[j + 1], "y0": y.edges[i], "y1": y.edges[i + 1]}
        result.add_shape(type="rect", line={"color": "#D55E00", "width": 3}, **frame)
    for axis, update in ((x, result.update_xaxes), (y, result.update_yaxes)):
        ticks = {"tickmode": "array", "tickvals": axis.places, "ticktext": [plotly_text(word) for word in axis.words]}
        update(
            title_text=plotly_text(axis.name),
            range=[axis.edges[0], axis.edges[-1]],
            showgrid=False,
            zeroline=False,
            **ticks,
        )
    return _laid_out(result, heading, height=166 + 44 * max(4, min(len(y.values), 12)))


def _reached(point: _Point | None) -> str:
    """Say what a setting reached, with its range over seeds."""
    if point is None or not point.losses:
        return ": no result"
    low, high = min(point.losses), max(point.losses)
    of = f" ({low:.4g} to {high:.4g}, {len(point.losses)} seeds)" if len(point.losses) > 1 else ""
    return f": {_loss(point):.4g}{of}"


def _loss(point: _Point) -> float:
    return math.inf if point.loss is None else point.loss


def _lines(points: Sequence[_Point], axes: Sequence[_Axis], measure: str, heading: str) -> Figure:
    from plotly.graph_objects import Figure, Parcoords

    drawn = sorted(
        (one for one in points if one.losses or one.diverged), key=_loss, reverse=True
    )  # the best lies on top
    colors = _Colors(tuple(_loss(one) for one in drawn if one.losses))
    low, high = colors.ends
    beyond = high + 0.12 * (high - low)
    reached = [colors.of(_loss(one)) if one.losses else beyond for one in drawn]
    dimensions = [
        {
            "label": axis.name,
            "values": [axis.place(one.values[axis.name]) for one in drawn],
            "tickvals": axis.places,
            "ticktext": axis.words,
            "range": [axis.places[0], axis.places[-1]] if len(axis.values) > 1 else axis.edges,
        }
        for axis in axes
    ]
    ticks = colors.ticks()
    diverged = any(not one.losses for one in drawn)
    last = {
        "label": measure,
        "values": reached,
        "tickvals": [*ticks["tickvals"], *([beyond] if diverged else [])],
        "ticktext": [*ticks["ticktext"], *(["diverged"] if diverged else [])],
        "range": [low, beyond if diverged else high],
    }
    end = (high - low) / ((beyond if diverged else high) - low)
    scale = [[end * share, color] for share, color in zip((0.0, 0.25, 0.5, 0.75, 1.0), _VIRIDIS, strict=True)]
    line = {"color": reached, "cmin": low, "cmax": beyond if diverged else high}
    between = (1 + end) / 2
    grey = [[between, _VIRIDIS[-1]], [between, "#B0B0B0"], [1.0, "#B0B0B0"]]
    line["colorscale"] = [*scale, *(grey if diverged else [])]
    result = Figure(Parcoords(dimensions=[*dimensions, last], line=line, labelfont={"size": 12}))
    return _laid_out(result, heading, height=480, sides=70)


_MOST_BEST = 3
"""Number of settings with the same lowest loss that are named."""

_VIRIDIS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#c8dc20")
"""Colours of losses from the lowest to the highest; the last is darker than viridis has it, to be seen on white."""


def _laid_out(result: Figure, heading: str, *, height: int, sides: int = 20) -> Figure:
    place = {"x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
    title = {"text": heading, **place, "pad": {"l": 16, "t": 16}, "font": {"size": 12}}
    result.update_layout(
        height=height,
        template="plotly_white",
        font_size=11,
        margin={"l": max(56, sides), "r": sides, "t": 136 if sides > 20 else 80, "b": 44},
        title=title,
    )
    return result
