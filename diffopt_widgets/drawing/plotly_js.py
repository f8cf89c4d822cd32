"""plotly.js, which plots and pages that open offline carry. The file's origin is told in static/plotly-basic.README.md."""

from __future__ import annotations

import gzip
from pathlib import Path


def plotly_bytes() -> bytes:
    """plotly.js (basic distribution), compressed with gzip."""
    return (Path(__file__).parent / "static" / "plotly-basic.min.js.gz").read_bytes()


def plotly_source() -> str:
    """plotly.js (basic distribution), as JavaScript that may stand inside a script element."""
    return gzip.decompress(plotly_bytes()).decode("utf-8").replace("</script", "<\\/script")
