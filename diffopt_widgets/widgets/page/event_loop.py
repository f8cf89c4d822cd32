"""Event loop of a notebook's cells, and calls to it from other threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

BUSY_AFTER = 0.2
"""Seconds after which a loop that does not begin an action counts as busy with a cell."""


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


def on_loop_in_turn(
    loop: asyncio.AbstractEventLoop | None, action: Callable[P, None], *args: P.args, **kwargs: P.kwargs
) -> None:
    """Run what a page asks as `on_loop` does, and return after its end, unless the loop is busy with a cell.

    A page takes what is printed or displayed for its message, as `interact` does, only until that message is handled.
    """
    began, ended = threading.Event(), threading.Event()

    def act() -> None:
        began.set()
        try:
            action(*args, **kwargs)
        finally:
            ended.set()

    on_loop(loop, act)
    if began.wait(BUSY_AFTER):
        ended.wait()
