"""Exports of a plot: a table of every step, a picture, a page that opens offline."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.drawing.curves import Along, Curve
from diffopt_widgets.drawing.picture import picture_svg, write_png, write_svg
from diffopt_widgets.records import write_csv
from diffopt_widgets.settings import whole_number
from diffopt_widgets.settings.arguments import checked_path

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
    heading: Callable[[], Sequence[str]]
    """Makes the lines above the panels of figures and pictures."""

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
            self.curves(),
            self.shown_panels(),
            smoothing=self.smoothing,
            height=self.height or 280,
            x=self.x,
            heading=self.heading(),
        )

    def svg(self, *, columns: int = 2) -> str:
        """Return the same picture as SVG, with at most so many panels in a row."""
        whole_number("columns", columns, 1)
        return picture_svg(
            self.curves(),
            self.shown_panels(),
            smoothing=self.smoothing,
            x=self.x,
            columns=columns,
            heading=self.heading(),
        )

    def to_csv(self, path: str | Path) -> Path:
        """Write every recorded step of the runs that are shown as a table: run, step, then a column for each value.

        Values are written with all digits, while the page has 32 bits for each.

        Returns:
            The path written.
        """
        target = checked_path("path", path, 'Write a file, such as "plot.csv".')
        write_csv(target, [((curve.name,), curve.history) for curve in self.curves()])
        return target

    def to_svg(self, path: str | Path) -> Path:
        """Write the runs that are shown as an SVG picture.

        Returns:
            The path written.
        """
        return write_svg(self.svg(), path)

    def to_png(self, path: str | Path) -> Path:
        """Write the runs that are shown as a PNG picture, 1,840 pixels wide.

        Returns:
            The path written.
        """
        return write_png(self.svg(), path)

    def to_html(self, path: str | Path) -> Path:
        """Write `figure()` as a web page that opens offline, with hover and zoom.

        Returns:
            The path written.
        """
        from diffopt_widgets.drawing.figures import write_html

        return write_html(self.figure(), checked_path("path", path, 'Write a file, such as "plot.html".'))
