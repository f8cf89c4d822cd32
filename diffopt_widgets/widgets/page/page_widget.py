"""Widgets whose page is made of several files: of JavaScript, and of CSS, each as the one text that anywidget sends."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from diffopt_widgets.widgets.page import hot_reload
from diffopt_widgets.widgets.page.event_loop import on_loop, running_loop

_BETWEEN_FILES = re.compile(r"^import [^;]*;\n|^export (?!default)", flags=re.MULTILINE)


SHARED = Path(__file__).parent / "static"
"""What several widgets share; a widget names a file of it as `page/NAME`."""


@cache
def page_code(files: tuple[Path, ...]) -> str:
    """JavaScript files as one module, without the lines in which they import from one another and export to one another.

    Args:
        files: each after those that it imports.
    """
    return "\n".join(_BETWEEN_FILES.sub("", file.read_text("utf-8")) for file in files)


@cache
def page_style(files: tuple[Path, ...]) -> str:
    """CSS files as one, in the order given."""
    return "\n".join(file.read_text("utf-8") for file in files)


class PageWidget(anywidget.AnyWidget):
    """A widget whose page is made of the files `SCRIPTS`, each after those that it imports, and `STYLES` of a folder.

    `page/NAME` is a file that several widgets share. Every page begins with `keep_keys.js` and `host.css` of those.

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
        if hot_reload.wanted():
            hot_reload.watch_files(self, (*self.scripts(), *self.styles()), PageWidget._reload)

    def _reload(self) -> None:
        page_code.cache_clear()
        page_style.cache_clear()
        self._esm, self._css = self._read_esm(), self._read_css()

    def _handle_msg(self, msg: dict[str, Any]) -> None:  # Any: a message of Jupyter
        """All that the page sends comes by here."""
        on_loop(None if self.ANY_THREAD else self._cells, super()._handle_msg, msg)

    @classmethod
    def scripts(cls) -> tuple[Path, ...]:
        """The JavaScript files of its page, each after those that it imports."""
        return tuple(cls._file(name) for name in ("page/keep_keys.js", *cls.SCRIPTS))

    @classmethod
    def styles(cls) -> tuple[Path, ...]:
        """The CSS files of its page, in their order."""
        return tuple(cls._file(name) for name in ("page/host.css", *cls.STYLES))

    @classmethod
    def _file(cls, name: str) -> Path:
        return SHARED / name.removeprefix("page/") if name.startswith("page/") else cls.FOLDER / name

    @traitlets.default("_esm")
    def _read_esm(self) -> str:
        return page_code(self.scripts())

    @traitlets.default("_css")
    def _read_css(self) -> str:
        return page_style(self.styles())
