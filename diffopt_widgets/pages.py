"""Widgets whose page is made of several files: of JavaScript, and of CSS, each as the one text that anywidget sends."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import ClassVar

import anywidget
import traitlets

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


class PageWidget(anywidget.AnyWidget):
    """A widget whose page is made of the files `SCRIPTS`, each after those that it imports, and `STYLES` of a folder."""

    FOLDER: ClassVar[Path]
    SCRIPTS: ClassVar[tuple[str, ...]]
    STYLES: ClassVar[tuple[str, ...]]

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    @traitlets.default("_esm")
    def _read_esm(self) -> str:
        return page_code(self.FOLDER, self.SCRIPTS)

    @traitlets.default("_css")
    def _read_css(self) -> str:
        return page_style(self.FOLDER, self.STYLES)
