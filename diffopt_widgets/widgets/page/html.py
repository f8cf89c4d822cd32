"""Small pieces of HTML in which every text is escaped."""

from __future__ import annotations

import base64

from diffopt_widgets.drawing.markup import escape

__all__ = ["NO_MATH", "escape", "paragraph", "picture"]

NO_MATH = "mathjax_ignore tex2jax_ignore"
"""Classes of an element in which a notebook leaves `$x$` as it is."""


def paragraph(text: str, css: str) -> str:
    """Return a paragraph of plain text with a CSS class."""
    return f'<p class="{escape(css)} {NO_MATH}">{escape(text)}</p>'


def picture(png: bytes, alt: str, css: str, *, width: int | None = None) -> str:
    """Return an image whose data are inside the page; `width` is that on a page without our style."""
    data = base64.b64encode(png).decode("ascii")
    wide = "" if width is None else f' width="{width}"'
    return f'<img class="{escape(css)}" alt="{escape(alt)}"{wide} src="data:image/png;base64,{data}">'
