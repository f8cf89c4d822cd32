"""Widgets whose page is made of several files: of JavaScript, and of CSS, each as the one text that anywidget sends."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from diffopt_widgets.event_loop import on_loop, running_loop

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
    """A widget whose page is made of the files `SCRIPTS`, each after those that it imports, and `STYLES` of a folder.

    Made in a notebook, it does what its page asks on the event loop of the cells, between two of them, so that neither it
    nor anyone who observes it has to fear other threads; `ANY_THREAD` is for a widget that sees to that itself.
    """

    ANY_THREAD: ClassVar[bool] = False
    """Whether the page is answered in whichever thread the kernel takes its messages, also while a cell runs."""

    FOLDER: ClassVar[Path]
    SCRIPTS: ClassVar[tuple[str, ...]]
    STYLES: ClassVar[tuple[str, ...]]

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, *args: Any, **traits: Any) -> None:  # Any: a widget's traits
        self._cells = running_loop()
        super().__init__(*args, **traits)

    def _handle_msg(self, msg: dict[str, Any]) -> None:  # Any: a message of Jupyter
        """All that the page sends comes by here."""
        on_loop(None if self.ANY_THREAD else self._cells, super()._handle_msg, msg)

    @traitlets.default("_esm")
    def _read_esm(self) -> str:
        return page_code(self.FOLDER, self.SCRIPTS)

    @traitlets.default("_css")
    def _read_css(self) -> str:
        return page_style(self.FOLDER, self.STYLES)
