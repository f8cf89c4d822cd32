"""What the page loads for the form: its code and its style, each as one text."""

from __future__ import annotations

import pathlib
import re
from functools import cache

STATIC = pathlib.Path(__file__).parent / "static"
SCRIPTS = (
    "form_text.js",
    "form_outbox.js",
    "form_dom.js",
    "form_search.js",
    "form_exchange.js",
    "form_finder.js",
    "form_presets.js",
    "form_tip.js",
    "form_help.js",
    "form_row.js",
    "form_sums.js",
    "form.js",
)
"""The page's code, each file after those that it imports."""
STYLES = ("form.css", "form_aids.css")


@cache
def page_code() -> str:
    """The page's code as one module: the files one after the other, without the lines that import them."""
    texts = ((STATIC / name).read_text("utf-8") for name in SCRIPTS)
    return "\n".join(re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE) for text in texts)


@cache
def page_style() -> str:
    """The page's style sheets, one after the other."""
    return "\n".join((STATIC / name).read_text("utf-8") for name in STYLES)
