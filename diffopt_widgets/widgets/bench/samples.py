"""SamplesView: pictures of each run's samples from the same noise, a row for each run and a column for each step."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias
from uuid import uuid4

import ipywidgets as widgets
import numpy as np

from diffopt_widgets.drawing.raster import put, rasterize, stacked
from diffopt_widgets.png import encode_png
from diffopt_widgets.tasks.picture import samples_pixels
from diffopt_widgets.widgets.bench.key_guard import KeyGuard
from diffopt_widgets.widgets.page.html import NO_MATH, escape, picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.runs.shown import Shown
    from diffopt_widgets.tasks import Samples

COLUMNS = 5
"""Images in one row of a picture, so that the pictures of all kinds of samples are about square."""
REAL = "real examples"
MOST_SAVED = 12
"""Largest number of runs whose samples a saved page has: those of 50 would be megabytes, and no page of LaTeX is as high."""
LINE = 24
"""Height of a line of text in the picture of the grid, in units of two pixels."""

Pixels: TypeAlias = "NDArray[np.uint8]"


@dataclass(frozen=True, eq=False)
class _Picture:
    """Samples, drawn."""

    kind: str
    pixels: Pixels
    png: bytes

    @classmethod
    def of(cls, samples: Samples) -> _Picture:
        """Draw samples."""
        pixels = samples_pixels(samples, columns=COLUMNS)
        return cls(samples.kind, pixels, encode_png(pixels))


@dataclass
class _Row:
    """Samples of one run."""

    run: Run
    shown: Shown
    drawn: dict[int, _Picture] = field(default_factory=dict)
    """Picture of the samples after each number of steps."""
    real: _Picture | None = None

    @property
    def group(self) -> tuple[str, int]:
        """Runs of one group have headings together."""
        return self.run.plan.task, self.run.plan.steps

    @property
    def looks(self) -> tuple[object, ...]:
        """All that its strip is painted from."""
        return tuple(self.drawn), self.shown, self.run.ended

    def add_new(self) -> None:
        """Draw the samples that have come since."""
        for step, samples in self.run.samples.items():
            if step not in self.drawn:
                self.drawn[step] = _Picture.of(samples)
        if self.real is None and self.run.wanted is not None:
            self.real = _Picture.of(self.run.wanted)


class SamplesView(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """Grid of pictures: a row for each run, and a column for each step at which samples were made, then real examples.

    Runs of one task and length stand together below their headings. A picture under the pointer or with the focus is shown
    larger; the arrow keys go from one to the next.

    >>> import diffopt_widgets as dw
    >>> from diffopt_widgets.runs.shown import Shown
    >>> view, run = SamplesView(), dw.train(dw.Settings("PRODIGY"), task="swiss_roll", steps=4, progress=False)
    >>> view.show(run, Shown(run.key, run.name, "#1B80C4"))
    >>> [line.value for line in view.heads.values()][0].count("step 4")
    1
    """

    def __init__(self) -> None:
        self.strips: dict[str, widgets.HTML] = {}
        """Row of each run, by its key."""
        self.heads: dict[tuple[str, int], widgets.HTML] = {}
        """Headings of the runs of each task and length."""
        self._rows: dict[str, _Row] = {}
        self._choice = f"dw-samples-{uuid4().hex[:8]}"
        self._title = widgets.HTML(
            '<span class="dw-runs-title">Samples that the model makes, each time from the same noise</span>'
        )
        self._guard = KeyGuard()  # an arrow key goes to the next picture, not to the next cell
        super().__init__()
        self._paint()
        self.add_class("dw-samples")

    def __repr__(self) -> str:
        return f"SamplesView({len(self.strips)} run{'s' * (len(self.strips) != 1)})"

    def show(self, run: Run, shown: Shown) -> None:
        """Paint the samples that a run has so far; nothing is sent when they have not changed."""
        row = self._rows.get(run.key)
        if row is None:
            if not run.samples:
                return
            row = self._rows[run.key] = _Row(run, shown)
            self.strips[run.key] = widgets.HTML()
            before = None
        else:
            before = row.looks
        row.shown = shown
        row.add_new()
        if row.looks != before:
            self._paint()

    def remove(self, key: str) -> None:
        """Remove a run's row, if it has one."""
        if strip := self.strips.pop(key, None):
            del self._rows[key]
            self._paint()
            strip.close()

    def html(self) -> str:
        """Return the grid of the first runs as HTML tables, for pages without widgets."""
        groups, more = self._saved()
        note = f"<p><small>{escape(more)}</small></p>" if more else ""
        return "".join(_table(rows, _steps(rows), self._told) for rows in groups) + note

    def pixels(self) -> Pixels | None:
        """Return the grid of the first runs as one picture, for pages that show only pictures; None without samples."""
        groups, more = self._saved()
        parts = [_grid(rows, _steps(rows), self._told) for rows in groups]
        if more:
            parts.append(_page([f'<text x="0" y="{LINE - 8}">{escape(more)}</text>'], parts[0].shape[1], 2 * LINE))
        return stacked(parts) if parts else None

    def _saved(self) -> tuple[list[list[_Row]], str]:
        """Return the rows that a saved page has, by group, and a sentence on those that it lacks."""
        groups, room = [], MOST_SAVED
        for rows in self._groups():
            groups.append(rows[:room])
            room -= len(groups[-1])
        more = sum(row.shown.visible for row in self._rows.values()) - (MOST_SAVED - room)
        words = f"Samples of {more} more run{'s' * (more > 1)} are on the bench, and not here." if more else ""
        return [rows for rows in groups if rows], words

    def _groups(self) -> Iterator[list[_Row]]:
        """Iterate over the visible rows of each group, in the order of the groups' first runs."""
        groups: dict[tuple[str, int], list[_Row]] = {}
        for row in self._rows.values():
            groups.setdefault(row.group, [])
            if row.shown.visible:
                groups[row.group].append(row)
        yield from groups.values()

    def _paint(self) -> None:
        lines: dict[tuple[str, int], list[widgets.HTML]] = {}
        for key, row in self._rows.items():
            if row.group not in self.heads:
                self.heads[row.group] = widgets.HTML()
            lines.setdefault(row.group, [self.heads[row.group]]).append(self.strips[key])
        for group in self.heads.keys() - lines.keys():
            self.heads.pop(group).close()
        widest = 0
        for group, rows in zip(lines, self._groups(), strict=True):
            steps = _steps(rows)
            widest = max(widest, len(steps) + 1)
            self.heads[group].value = _headings(steps)
            self.heads[group].layout.display = None if rows else "none"
            for row in rows:
                self.strips[row.run.key].value = self._strip(row, steps)
        for key, row in self._rows.items():
            self.strips[key].layout.display = None if row.shown.visible else "none"
        self.layout.grid_template_columns = f"var(--dw-names) repeat({widest}, minmax(0, 120px))"
        self._title.layout.display = None if lines else "none"
        self.children = (
            self._title,
            *itertools.chain(*lines.values()),
            self._guard,
        )  # always, to be closed with the rest

    def _strip(self, row: _Row, steps: list[int]) -> str:
        cells = [
            self._cell(row, row.drawn[step], place, len(steps), f"samples, {_when(step)}")
            for place, step in enumerate(steps)
            if step in row.drawn
        ]
        if row.real is not None:
            cells.append(self._cell(row, row.real, len(steps), len(steps), _real_words(row.run.wanted), "dw-real"))
        swatch = f'<span class="dw-swatch" style="background:{escape(row.shown.color)}"></span>'
        told = f'<div class="dw-same">{escape(words)}</div>' if (words := self._told(row)) else ""
        name = f'<div class="dw-strip-name {NO_MATH}">{swatch} <span>{escape(row.shown.name)}</span>{told}</div>'
        return f'<div class="dw-strip">{name}{"".join(cells)}</div>'

    def _cell(self, row: _Row, drawn: _Picture, place: int, last: int, words: str, css: str = "") -> str:
        """Make one picture. It is a radio button, so that Tab reaches all of them at once and arrow keys each one."""
        height, width = drawn.pixels.shape[:2]
        looks = f"grid-column: {place + 2}; aspect-ratio: {width} / {height}; --dw-at: {place / last:.3g}"
        image = picture(drawn.png, f"{row.shown.name}: {words}", "dw-sample")
        return f'<label class="dw-cell dw-{drawn.kind} {css}" style="{looks}"><input type="radio" name="{self._choice}">{image}</label>'

    def _told(self, row: _Row) -> str:
        """Say that a run repeats an earlier one, or that its samples are the same although its settings are not."""
        rows = [other for other in self._rows.values() if other.shown.visible and other.group == row.group]
        names = [other.shown.name for other in rows]
        for place, other in enumerate(rows, 1):
            if other is row:
                break
            name = other.shown.name + f" (row {place})" * (names.count(other.shown.name) > 1)
            equal, ended = other.run.plan == row.run.plan, other.run.ended and row.run.ended
            if ended and _same(row.drawn, other.drawn):
                why = "same settings and seed" if equal else "the settings in which it differs change nothing here"
                return f"the same as {name}: {why}"
            if equal:
                return f"same settings and seed as {name}"
        return ""


def _steps(rows: Iterable[_Row]) -> list[int]:
    return sorted({step for row in rows for step in row.drawn})


def _when(step: int) -> str:
    return "before training" if step == 0 else f"step {step}"


def _same(one: dict[int, _Picture], other: dict[int, _Picture]) -> bool:
    """Return True when the samples of two runs are the same; either may lack some on the way, which are left out where they cost much."""
    both = one.keys() & other.keys()
    return max(one) == max(other) > 0 and all(one[step].png == other[step].png for step in both)


def _real_words(real: Samples | None) -> str:
    """Say what the real examples are, each with the label of the sample in the same place."""
    if real is None or real.kind == "points" or real.labels is None:
        return REAL
    rows = [real.labels[start : start + COLUMNS] for start in range(0, len(real.labels), COLUMNS)]
    return f"{REAL}, row by row: {'; '.join(' '.join(map(str, row)) for row in rows)}"


def _headings(steps: list[int]) -> str:
    words = [*map(_when, steps), REAL]
    cells = (f'<div class="dw-step" style="grid-column: {place}">{text}</div>' for place, text in enumerate(words, 2))
    return f'<div class="dw-strip">{"".join(cells)}</div>'


def _table(rows: list[_Row], steps: list[int], told: Callable[[_Row], str]) -> str:
    heads = "".join(f'<th scope="col">{text}</th>' for text in ("Samples", *map(_when, steps), REAL))
    lines = []
    for row in rows:
        words = f"<br><small>{escape(told(row))}</small>" if told(row) else ""
        cells = "".join(f"<td>{_image(row, row.drawn.get(step), _when(step))}</td>" for step in steps)
        real = f"<td>{_image(row, row.real, REAL)}</td>"
        lines.append(f'<tr><th scope="row">{escape(row.shown.name)}{words}</th>{cells}{real}</tr>')
    return f"<table class='{NO_MATH}'><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _image(row: _Row, drawn: _Picture | None, words: str) -> str:
    if drawn is None:
        return ""
    return picture(drawn.png, f"{row.shown.name}: {words}", "dw-sample", width=100)


def _grid(rows: list[_Row], steps: list[int], told: Callable[[_Row], str]) -> Pixels:
    """Draw headings, names and pictures of a group; the names stand above their pictures."""
    pictures = [[*(row.drawn.get(step) for step in steps), row.real] for row in rows]
    sizes = [part.pixels.shape[:2] for parts in pictures for part in parts if part is not None]
    tall, wide = np.max(sizes, axis=0).tolist()
    gap, line = 16, 2 * LINE
    height, width = line + len(rows) * (line + tall), (len(steps) + 1) * (wide + gap) - gap
    texts = [
        f'<text x="{place * (wide + gap) / 2}" y="{LINE - 8}" font-weight="600">{text}</text>'
        for place, text in enumerate((*map(_when, steps), REAL))
    ]
    for place, row in enumerate(rows):
        name = f"{row.shown.name} ({words})" if (words := told(row)) else row.shown.name
        y = (line + place * (line + tall)) / 2 + LINE - 8
        texts.append(f'<text x="0" y="{y}">{escape(name)}</text>')
    page = _page(texts, width, height)
    for place, parts in enumerate(pictures):
        for column, part in enumerate(parts):
            if part is not None:
                put(page, part.pixels, line + place * (line + tall) + line, column * (wide + gap))
    return page


def _page(texts: list[str], width: int, height: int) -> Pixels:
    """Draw elements of SVG on white, on a page of so many pixels."""
    return rasterize(f'<svg width="{-(-width // 2)}" height="{-(-height // 2)}">{"".join(texts)}</svg>')
