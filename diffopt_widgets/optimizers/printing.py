"""Printing and logging of back ends, kept for the thread that called them; no stream or logger of the process is replaced."""

from __future__ import annotations

import builtins
import contextlib
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

_OWN = ("builtins", "torch", "diffopt_widgets")
"""Packages whose classes print nothing that has to be kept."""


class _Kept(threading.local):
    """Output of the calls of this thread so far; None where nothing keeps it."""

    out: io.StringIO | None = None


_kept = _Kept()


@contextlib.contextmanager
def kept_printing() -> Iterator[io.StringIO]:
    """Keep what the back ends of `keep_printing_of` print or log in this thread; anything else is printed as always."""
    before, out = _kept.out, io.StringIO()
    _kept.out = out
    try:
        yield out
    finally:
        _kept.out = before


def keep_printing_of(cls: type) -> None:
    """Have the modules of a class and of its bases print by a function of their own, which `kept_printing` can hear.

    They call `print` and `logging.info`. Redirecting `sys.stdout` or the root logger instead would take the output of all
    other threads, and two that overlap would leave the stream redirected.
    """
    for base in cls.__mro__:
        module = sys.modules.get(base.__module__)
        package = base.__module__.partition(".")[0]
        if module is None or package in _OWN or package in sys.stdlib_module_names:
            continue
        names = vars(module)
        names.setdefault("print", _print)
        if names.get("logging") is logging:
            names["logging"] = _Logging()


def _print(*values: object, file: Any = None, **options: Any) -> None:  # Any: as print takes them
    builtins.print(*values, file=_kept.out if file is None else file, **options)


class _Logging:
    """The module `logging`, with an `info` that goes where the thread keeps what is printed."""

    def __getattr__(self, name: str) -> Any:  # Any: whatever the module has
        return getattr(logging, name)

    def info(self, message: object, *values: object, **options: Any) -> None:  # Any: as logging.info takes them
        """Log a message, or keep it where this thread keeps what is printed."""
        if _kept.out is None:
            logging.info(message, *values, **options)  # noqa: LOG015  # as the back end does
        else:
            record = logging.LogRecord("", logging.INFO, "", 0, message, values, None)
            try:
                _print(record.getMessage())
            except (TypeError, ValueError, KeyError):  # the logger prints these too, and goes on
                _print(message, *values)
