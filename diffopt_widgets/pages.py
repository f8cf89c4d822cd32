"""The code of a widget's page: several files of JavaScript, or of CSS, as the one text that anywidget sends."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_BETWEEN_FILES = re.compile(r"^import [^;]*;\n|^export (?!default)", flags=re.MULTILINE)


@cache
def page_code(folder: Path, names: tuple[str, ...]) -> str:
    """JavaScript files as one module, without the lines in which they import from one another and export to one another.

    Args:
        folder: where the files are.
        names: each file after those that it imports.
    """
    texts = ((folder / name).read_text("utf-8") for name in names)
    return "\n".join(_BETWEEN_FILES.sub("", text) for text in texts)


@cache
def page_style(folder: Path, names: tuple[str, ...]) -> str:
    """CSS files as one, in the order given."""
    return "\n".join((folder / name).read_text("utf-8") for name in names)
