"""plotly.js on the page, once for all plots of a kernel."""

from __future__ import annotations

from functools import cache

import anywidget
import traitlets

from diffopt_widgets.drawing.plotly_js import plotly_bytes


class PlotlyBundle(anywidget.AnyWidget):
    """Carries plotly.js to the page; shows nothing."""

    _esm = "export default { render() {} }"
    data = traitlets.Bytes().tag(sync=True)
    """plotly.js compressed with gzip; each page inflates it once."""


@cache
def _shared() -> PlotlyBundle:
    return PlotlyBundle(data=plotly_bytes())


def shared_bundle() -> PlotlyBundle:
    """The kernel's one bundle; a new one after somebody closed all widgets."""
    if _shared().comm is None:
        _shared.cache_clear()
    return _shared()
