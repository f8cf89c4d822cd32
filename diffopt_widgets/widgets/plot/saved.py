"""Saved pictures, which a saved notebook shows in place of the live plot, without kernel or JavaScript."""

from __future__ import annotations

import base64
import json
from html import escape
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

if TYPE_CHECKING:
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


def picture_html(plot: SavablePlot, caption: str = "") -> str:
    """Draw the plot's visible runs as an HTML image, which is shown even if a notebook's scripts are not trusted.

    While the live plot is on the page, its own style hides every element of its class `dw-for-…`.
    """
    data = base64.b64encode(plot.svg().encode("utf-8")).decode("ascii")
    names = ", ".join(curve.name for curve in plot.curves())
    image = f'<img alt="{escape(f"Curves of {names}")}" src="data:image/svg+xml;base64,{data}">'
    below = f"<p><small>{escape(caption)}</small></p>" if caption else ""
    return f"<div>{image}{below}</div>"


class SavedPicture:
    """Second display below a live widget, visible only where the live plot is not.

    That is the case in a notebook opened without its kernel, on GitHub, in nbviewer and after nbconvert.
    """

    def __init__(self, caption: str = "") -> None:
        self.caption = caption or "The plot when the notebook was saved. Run the cell to make it live again."
        self._display_id = f"dw-saved-{uuid4().hex}"
        self._shown = False

    def show(self) -> None:
        """Display it; empty until `update`. Call it right after displaying the widget that holds the plot."""
        from IPython.display import display

        self._shown = True
        display(_bundle("<div></div>"), raw=True, display_id=self._display_id)

    def update(self, plot: SavablePlot) -> None:
        """Show the plot's present picture; does nothing before `show`."""
        from IPython.display import update_display

        if self._shown:
            inner = picture_html(plot, self.caption) if plot.curves() else ""
            html = f'<div class="dw-saved-picture dw-for-{plot.plot_id}">{inner}</div>'
            update_display(_bundle(html), raw=True, display_id=self._display_id)


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
        if self._plot.png is not None:
            bundle["image/png"] = base64.b64encode(self._plot.png).decode("ascii")
        update_display(bundle, raw=True, display_id=self._display_id)


def _bundle(html: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": ""}
