"""plotly.js on the page, shared by all plots of a kernel."""

from __future__ import annotations

from functools import cache

import anywidget
import traitlets

from diffopt_widgets.drawing.plotly_js import plotly_bytes


class PlotlyBundle(anywidget.AnyWidget):
    """Invisible widget that carries plotly.js to the page."""

    _esm = "export default { render() {} }"
    data = traitlets.Bytes().tag(sync=True)
    """plotly.js compressed with gzip; each page decompresses it once."""

    def __repr__(self) -> str:
        return "PlotlyBundle()"


@cache
def _shared() -> PlotlyBundle:
    return PlotlyBundle(data=plotly_bytes())


def shared_bundle() -> PlotlyBundle:
    """Return the kernel's one bundle; a new one after all widgets were closed."""
    if _shared().comm is None:
        _shared.cache_clear()
    return _shared()
