"""Exports of a plot: a table of every step, a picture, a page that opens offline."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.drawing.curves import Along, Curve
from diffopt_widgets.drawing.picture import picture_svg
from diffopt_widgets.records import write_csv

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from diffopt_widgets.drawing.panels import Panel


class Exports:
    """Files and figures that a plot can be written to."""

    panels: tuple[Panel, ...]
    log: Mapping[str, bool]
    smoothing: float
    x: Along
    height: int | None

    @abstractmethod
    def curves(self) -> list[Curve]:
        """Return the runs that are shown."""

    def shown_panels(self) -> list[Panel]:
        """Return the panels as they are drawn now, with the scales set on the page."""
        return [replace(panel, scale="log" if self.log.get(panel.key) else "linear") for panel in self.panels]

    def figure(self) -> Figure:
        """Return the same picture as an ordinary plotly Figure."""
        from diffopt_widgets.drawing.figures import figure

        return figure(
            self.curves(), self.shown_panels(), smoothing=self.smoothing, height=(self.height or 300) + 60, x=self.x
        )

    def svg(self, *, columns: int | None = None) -> str:
        """Return the same picture as SVG, with the panels side by side, or at most so many in a row."""
        return picture_svg(self.curves(), self.shown_panels(), smoothing=self.smoothing, x=self.x, columns=columns)

    def to_csv(self, path: str | Path) -> Path:
        """Write every recorded step of the runs that are shown as a table: run, step, then a column for each value.

        Values are written with all digits, while the page has 32 bits for each.

        Returns:
            The path written.
        """
        target = Path(path)
        write_csv(target, [((curve.name,), curve.history) for curve in self.curves()])
        return target

    def to_svg(self, path: str | Path) -> Path:
        """Write the runs that are shown as an SVG picture.

        Returns:
            The path written.
        """
        target = Path(path)
        target.write_text(self.svg(), encoding="utf-8", newline="\n")
        return target

    def to_html(self, path: str | Path) -> Path:
        """Write `figure()` as a web page that opens offline, with hover and zoom.

        Returns:
            The path written.
        """
        from diffopt_widgets.drawing.figures import write_html

        return write_html(self.figure(), path)
