"""plotly.js, once for all plots of a kernel. The file's origin is told in static/plotly-basic.README.md."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import anywidget
import traitlets

STATIC = Path(__file__).parent / "static"


def plotly_bytes() -> bytes:
    """plotly.js (basic distribution), compressed with gzip."""
    return (STATIC / "plotly-basic.min.js.gz").read_bytes()


def plotly_source() -> str:
    """plotly.js (basic distribution), as JavaScript that may stand inside a script element."""
    return gzip.decompress(plotly_bytes()).decode("utf-8").replace("</script", "<\\/script")


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
