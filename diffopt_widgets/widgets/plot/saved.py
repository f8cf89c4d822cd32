"""Saved pictures, which a saved notebook shows in place of the live plot, without kernel or JavaScript."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from diffopt_widgets.drawing.markup import escape
from diffopt_widgets.drawing.raster import rasterize, stacked
from diffopt_widgets.png import encode_png
from diffopt_widgets.widgets.page.html import NO_MATH
from diffopt_widgets.widgets.page.stand_in import StandIn, Still

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from plotly.graph_objects import Figure

    from diffopt_widgets.drawing.curves import Curve


class SavablePlot(Protocol):
    """Live plot of which a picture can be saved."""

    plot_id: str
    png: bytes | None

    def curves(self) -> list[Curve]:
        """Return the runs that are shown."""

    def svg(self) -> str:
        """Return its picture as SVG."""

    def figure(self) -> Figure:
        """Return its picture as a plotly Figure."""

    def send(self, content: dict[str, Any], /) -> None:
        """Send a message to its page."""

    def _repr_mimebundle_(self) -> Any:
        """Return the live plot itself, as IPython displays it."""


def picture_html(plot: SavablePlot, caption: str = "", png: bytes | None = None) -> str:
    """Draw the plot's visible runs as an HTML image, which is shown even if a notebook's scripts are not trusted.

    While the live plot is on the page, its own style hides every element of its class `dw-for-…`.

    Args:
        plot: the plot.
        caption: words below the picture.
        png: the picture for pages that take out an SVG, as we suppose of GitHub.
    """
    data = base64.b64encode(plot.svg().encode("utf-8")).decode("ascii")
    names = ", ".join(curve.name for curve in plot.curves())
    svg = f"data:image/svg+xml;base64,{data}"
    image = f'<img alt="{escape(f"Curves of {names}")}" src="{svg}">'
    if png is not None:
        plain = image.replace(svg, f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}")
        image = f'<picture><source type="image/svg+xml" srcset="{svg}">{plain}</picture>'
    below = f"<p><small>{escape(caption)}</small></p>" if caption else ""
    return f'<div class="{NO_MATH}">{image}{below}</div>'


def picture_png(plot: SavablePlot, below: NDArray[np.uint8] | None = None) -> bytes:
    """Draw the plot's visible runs as PNG.

    Args:
        plot: the plot.
        below: pixels of a picture to add below it.
    """
    pixels = _pixels_of(plot.svg())
    return encode_png(pixels if below is None else stacked([pixels, below]))


@lru_cache(maxsize=2)
def _pixels_of(svg: str) -> NDArray[np.uint8]:
    return rasterize(svg)


@dataclass(frozen=True)
class Below:
    """More to show below the picture of a plot."""

    html: str = ""
    text: str = ""
    pixels: Callable[[], NDArray[np.uint8] | None] = lambda: None
    """Draw what pages show that have only pictures."""


class SavedPicture:
    """Picture of a plot that a saved notebook shows in place of the live widget that holds the plot.

    Args:
        plot: the live plot; while it is in a page, that page does not show the picture.
        caption: words below the picture.
    """

    def __init__(self, plot: SavablePlot, caption: str = "") -> None:
        self._plot = plot
        self._caption = caption or "The plot when the notebook was saved. Run the cell to make it live again."
        self._stand_in = StandIn(plot.plot_id)

    def show(self, below: Below | None = None) -> None:
        """Display the present picture. Call it right after displaying the widget that holds the plot.

        Args:
            below: more to show below the picture.
        """
        self._stand_in.show(self._still(below))

    def update(self, below: Below | None = None, *, whole: bool = True) -> None:
        """Show the plot's present picture; do nothing before `show`.

        Args:
            below: more to show below the picture.
            whole: draw it as PNG too, which takes up to a second; without it a web page has a picture, but LaTeX has none.
        """
        if self._stand_in.shown:
            self._stand_in.update(self._still(below, whole=whole))

    def _still(self, below: Below | None, *, whole: bool = True) -> Still:
        if not self._plot.curves():
            return Still("")
        more = below or Below()
        if not whole:
            return Still(picture_html(self._plot, self._caption) + more.html, more.text)
        png, below_it = picture_png(self._plot), more.pixels()
        html = picture_html(self._plot, self._caption, png) + more.html
        return Still(html, more.text, png if below_it is None else picture_png(self._plot, below_it))


class PlotDisplay:
    """Display of a LivePlot that was shown alone, where `freeze` can put a picture."""

    def __init__(self, plot: SavablePlot) -> None:
        self._plot = plot
        self._display_id = f"dw-plot-{uuid4().hex}"
        self._shown = False
        self._frozen = False

    def show(self) -> None:
        """Display the live plot."""
        from IPython.display import display

        self._shown, self._frozen = True, False
        data, metadata = self._plot._repr_mimebundle_() or ({}, {})  # anywidget's, with what Colab needs
        display(data, metadata=metadata, raw=True, display_id=self._display_id)

    def freeze(self) -> None:
        """Replace the live plot by its picture, and ask the page for its own picture."""
        self._frozen = True
        self._plot.send({"k": "image"})
        self._update()

    def picture_arrived(self) -> None:
        """Add the page's own picture, which often comes after `freeze`."""
        if self._frozen:
            self._update()

    def _update(self) -> None:
        from IPython.display import update_display

        if not self._shown:
            return
        bundle: dict[str, Any] = {
            "application/vnd.plotly.v1+json": json.loads(self._plot.figure().to_json()),
            "text/html": picture_html(self._plot),
            "text/plain": repr(self._plot),
        }
        png = self._plot.png or (picture_png(self._plot) if self._plot.curves() else None)
        if png is not None:
            bundle["image/png"] = base64.b64encode(png).decode("ascii")
        update_display(bundle, raw=True, display_id=self._display_id)
