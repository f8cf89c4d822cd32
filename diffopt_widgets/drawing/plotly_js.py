"""plotly.js for live plots and for pages that open offline. See static/plotly-basic.README.md for the file's origin."""

from __future__ import annotations

import gzip
from pathlib import Path


def plotly_bytes() -> bytes:
    """Return plotly.js (basic distribution), compressed with gzip."""
    return (Path(__file__).parent / "static" / "plotly-basic.min.js.gz").read_bytes()


def plotly_source() -> str:
    """Return plotly.js (basic distribution) as JavaScript for a script element."""
    return gzip.decompress(plotly_bytes()).decode("utf-8").replace("</script", "<\\/script")
