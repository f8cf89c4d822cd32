"""Texts that come from anywhere, written so that HTML, SVG and Plotly show them as they are."""

from __future__ import annotations

import html
import re

from diffopt_widgets.plain_text import showable

COLOR = re.compile(r"#[0-9a-f]{3,8}|[a-z]+|(rgba?|hsla?|hwb|lab|lch|oklab|oklch|var)\([\w\s.,%/+-]*\)", re.IGNORECASE)
"""CSS colours; `url(…)` is none, since a page would load it."""


def escape(text: str) -> str:
    r"""Escape a text for HTML and SVG, in an element or in an attribute with quotation marks.

    >>> escape('<b title="1">\x00')
    '&lt;b title=&quot;1&quot;&gt;\ufffd'
    """
    return html.escape(showable(text))


def plotly_text(text: str) -> str:
    """Escape a text for Plotly, which reads some HTML, `%{x}` and, where a page has MathJax, `$x$` in names and titles.

    >>> plotly_text("<b> %{y} $x$")
    '&lt;b&gt; &#37;{y} &#36;x&#36;'
    """
    plain = html.escape(showable(text), quote=False)
    return plain.replace("%{", "&#37;{").replace("$", "&#36;")


def script_json(text: str) -> str:
    r"""Return JSON that no text in it can end or turn into something else when it stands in a script element.

    >>> script_json('["</script><!--"]')
    '["\\u003c/script>\\u003c!--"]'
    """
    return text.replace("<", "\\u003c")


def is_color(text: str) -> bool:
    """Return whether a text is a CSS colour and nothing else.

    >>> [is_color(text) for text in ("#1B80C4", "tomato", "rgb(0 0 0 / 50%)", "url(//a.b/c)", "red;inset:0")]
    [True, True, True, False, False]
    """
    return COLOR.fullmatch(text) is not None
