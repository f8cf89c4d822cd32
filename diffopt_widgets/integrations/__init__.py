"""dw.watch for trainers that own the loop: transformers, accelerate and lightning, each imported only when it is used.

Thin callbacks: they make a `Watcher` when the training begins, pass it the values that the trainer reports, and close it
at the end.
"""

from __future__ import annotations

import inspect
from typing import Any

from diffopt_widgets.watching.watcher import Watcher

RATES = frozenset({"lr", "learning_rate"})
"""Names under which trainers log the schedule's rate: the watch records the rates itself."""


def checked(options: dict[str, Any]) -> dict[str, Any]:  # Any: each argument of Watcher has its own type
    """Check arguments for `dw.watch` early, since a callback passes them on only when the training begins.

    Raises:
        TypeError: `dw.watch` has no such argument.
    """
    inspect.signature(Watcher).bind(None, **options)
    return options


def missing(package: str) -> ImportError:
    """Return the error to raise when a trainer's package is not installed."""
    return ImportError(
        f"this integration needs {package}, which is not installed. To fix it: pip install --upgrade {package}"
    )
