"""Edits of JavaScript and CSS shown at once, for those who work on them: with `ANYWIDGET_HMR=1`, as in anywidget."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Widget = TypeVar("Widget")


def wanted() -> bool:
    """Return whether edits are to be shown at once."""
    return os.environ.get("ANYWIDGET_HMR") == "1"


def watch_files(widget: Widget, files: tuple[Path, ...], reload: Callable[[Widget], None]) -> None:
    """Call `reload` with the widget after each edit of one of its files, until the widget is gone.

    Raises:
        ImportError: watchfiles is not installed.
    """
    try:
        from watchfiles import watch
    except ImportError as error:
        raise ImportError("ANYWIDGET_HMR=1 needs watchfiles. To fix it: pip install watchfiles") from error
    gone = threading.Event()
    weakref.finalize(widget, gone.set)
    held = weakref.ref(widget)

    def follow() -> None:
        for changes in watch(*{file.parent for file in files}, stop_event=gone):
            widget = held()
            if widget is not None and any(Path(path) in files for _, path in changes):
                with contextlib.suppress(OSError, UnicodeDecodeError):  # half written: the next change brings the rest
                    reload(widget)
            del widget

    threading.Thread(target=follow, name="diffopt page files", daemon=True).start()
