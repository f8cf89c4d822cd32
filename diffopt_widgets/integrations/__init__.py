"""dw.watch for trainers that have the loop: transformers, accelerate and lightning, each imported only when it is asked for.

Thin callbacks: they make a `Watcher` when the training begins, hand it what the trainer tells, and close it at the end.
"""

from __future__ import annotations

import inspect
from typing import Any

from diffopt_widgets.watching.watcher import Watcher

RATES = frozenset({"lr", "learning_rate"})
"""What trainers log of the schedule: the watch records the rates by itself."""


def checked(options: dict[str, Any]) -> dict[str, Any]:  # Any: each argument of Watcher has its own type
    """Arguments of `dw.watch` that a callback will hand on when the training begins.

    Raises:
        TypeError: it has no such argument.
    """
    inspect.signature(Watcher).bind(None, **options)
    return options


def missing(package: str) -> ImportError:
    """What to raise where a trainer's package is not there."""
    return ImportError(
        f"this integration needs {package}, which is not installed. To fix it: pip install 'diffopt-widgets[integrations]'"
    )
