"""Event loop of a notebook's cells, and calls to it from other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop of the cell that is running; None in a plain script."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def on_loop(
    loop: asyncio.AbstractEventLoop | None, action: Callable[P, None], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run an action on an event loop: at once when called on it, else as soon as the loop is free.

    Newer kernels handle a page's messages in a thread of their own (a subshell), beside the thread in which cells run. If
    there is no loop, or it has ended, the action is run at once.
    """
    if loop is None or not loop.is_running() or running_loop() is loop:
        action(*args, **kwargs)
    else:
        loop.call_soon_threadsafe(lambda: action(*args, **kwargs))
