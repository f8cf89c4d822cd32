"""A plot as files: a table of every step, a picture, a page that opens offline."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.plot.curves import Along, Curve

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from diffopt_widgets.plot.panels import Panel


class Exports:
    """What a plot can be written to."""

    panels: tuple[Panel, ...]
    log: Mapping[str, bool]
    smoothing: float
    x: Along
    height: int

    @abstractmethod
    def curves(self) -> list[Curve]:
        """The runs that are shown."""

    def shown_panels(self) -> list[Panel]:
        """The panels as they are drawn now, with the scale that the page's switches gave them."""
        return [replace(panel, scale="log" if self.log.get(panel.key) else "linear") for panel in self.panels]

    def figure(self) -> Figure:
        """The same picture as an ordinary plotly Figure."""
        from diffopt_widgets.plot.figures import figure

        return figure(self.curves(), self.shown_panels(), smoothing=self.smoothing, height=self.height + 60, x=self.x)

    def to_csv(self, path: str | Path) -> Path:
        """Write every recorded step of the runs that are shown as a table: run, step, then a column for each value.

        Values are written in full, also where the page, which has 32 bits for each, shows fewer digits.

        Returns:
            The path written.
        """
        return write_csv(self.curves(), path)

    def to_svg(self, path: str | Path) -> Path:
        """Write the runs that are shown as an SVG picture.

        Returns:
            The path written.
        """
        from diffopt_widgets.plot.saved import picture_svg

        target = Path(path)
        target.write_text(picture_svg(self), encoding="utf-8")
        return target

    def to_html(self, path: str | Path) -> Path:
        """Write `figure()` as a page that opens offline, with hover and zoom.

        Returns:
            The path written.
        """
        from diffopt_widgets.plot.figures import write_html

        return write_html(self.figure(), path)


def write_csv(curves: Sequence[Curve], path: str | Path) -> Path:
    """Write every step of runs as a table; the columns are those that any of them has."""
    tables = [(curve.name, curve.history.to_columns()) for curve in curves]
    names = list(dict.fromkeys(name for _, columns in tables for name in columns))
    target = Path(path)
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", *names])
        for run, columns in tables:
            for start in range(0, len(columns["step"]), 10_000):  # a table of Python's numbers is large
                part = [columns[name][start : start + 10_000].tolist() if name in columns else None for name in names]
                rows = len(columns["step"][start : start + 10_000])
                cells = [[""] * rows if column is None else map(_cell, column) for column in part]
                writer.writerows(zip([run] * rows, *cells, strict=True))
    return target


def _cell(value: float) -> float | str:
    return "" if value != value else value  # noqa: PLR0124  # NaN
