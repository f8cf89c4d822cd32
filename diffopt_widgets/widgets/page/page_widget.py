"""PageWidget: a widget whose page is made of several JavaScript and CSS files, joined into one text for anywidget."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from diffopt_widgets.widgets.page import hot_reload
from diffopt_widgets.widgets.page.event_loop import on_loop_in_turn, running_loop

_BETWEEN_FILES = re.compile(r"^import [^;]*;\n|^export (?!default)", flags=re.MULTILINE)

SHARED = Path(__file__).parent / "static"
"""Folder of files that several widgets share; a widget names such a file as `page/NAME`."""


@cache
def joined_code(files: tuple[Path, ...]) -> str:
    """Join JavaScript files into one module, without the imports and exports between them.

    Args:
        files: the files, each after those that it imports.
    """
    return "\n".join(_BETWEEN_FILES.sub("", file.read_text("utf-8")) for file in files)


def loader_code(code: str) -> str:
    """Return the module that imports this code once for all models of a page."""
    key = hashlib.sha256(code.encode()).hexdigest()[:16]
    return f'{joined_code((SHARED / "loader.js",))}\nexport default shared("{key}");\n'


@cache
def page_style(files: tuple[Path, ...]) -> str:
    """Join CSS files into one text, in this order."""
    return "\n".join(file.read_text("utf-8") for file in files)


class PageWidget(anywidget.AnyWidget):
    """Widget whose page is made of the files `SCRIPTS`, each after those that it imports, and `STYLES` of a folder.

    `page/NAME` is a file that several widgets share. Every page begins with the shared files `keep_keys.js`, `lost.js` and
    `host.css`.

    In a notebook it handles the messages of its page on the event loop of the cells, between two cells, so neither the
    widget nor its observers need to care about threads; a widget with `ANY_THREAD` takes care of them itself.
    """

    ANY_THREAD: ClassVar[bool] = False
    """True when messages are handled in the thread in which the kernel receives them, even while a cell runs."""

    FOLDER: ClassVar[Path]
    SCRIPTS: ClassVar[tuple[str, ...]]
    STYLES: ClassVar[tuple[str, ...]]

    page_code = traitlets.Unicode().tag(sync=True)
    """The code of its page; `_esm`, which a page imports anew for each model and never frees, only loads it."""
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, *args: Any, **traits: Any) -> None:  # Any: a widget's traits
        self._cells = running_loop()
        super().__init__(*args, **traits)
        if hot_reload.wanted():
            hot_reload.watch_files(self, (*self.scripts(), *self.styles()), PageWidget._reload)

    @property
    def model_id(self) -> Any:
        """Id of its model in the page.

        Raises:
            RuntimeError: the widget was closed.
        """
        if self.comm is None:
            kind = type(self).__name__
            raise RuntimeError(
                f"this {kind} was closed, so no page can show it. To fix it: call its open(), or make another"
            )
        return super().model_id

    def _reload(self) -> None:
        joined_code.cache_clear()
        page_style.cache_clear()
        code = self._read_code()
        with self.hold_sync():  # the page reads the new code when `_esm` changes
            self.page_code, self._esm, self._css = code, loader_code(code), self._read_css()

    def _handle_msg(self, msg: dict[str, Any]) -> None:  # Any: a message of Jupyter
        """Handle every message of the page."""
        on_loop_in_turn(None if self.ANY_THREAD else self._cells, super()._handle_msg, msg)

    @classmethod
    def scripts(cls) -> tuple[Path, ...]:
        """Return the JavaScript files of its page, each after those that it imports."""
        return tuple(cls._file(name) for name in ("page/keep_keys.js", "page/lost.js", *cls.SCRIPTS))

    @classmethod
    def styles(cls) -> tuple[Path, ...]:
        """Return the CSS files of its page, in order."""
        return tuple(cls._file(name) for name in ("page/host.css", *cls.STYLES))

    @classmethod
    def _file(cls, name: str) -> Path:
        return SHARED / name.removeprefix("page/") if name.startswith("page/") else cls.FOLDER / name

    @traitlets.default("page_code")
    def _read_code(self) -> str:
        return joined_code(self.scripts())

    @traitlets.default("_esm")
    def _read_esm(self) -> str:
        return loader_code(self.page_code)

    @traitlets.default("_css")
    def _read_css(self) -> str:
        return page_style(self.styles())
