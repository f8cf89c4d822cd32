"""Runs carried out part of the way, compared with straight ones, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.store import RunSaver

PATIENCE = 300  # seconds for what takes one or two; a busy machine is not a failure


def go_on(run: dw.Run, steps: int, recording: RunSaver | None = None) -> None:
    """Carry out so many steps more, then stop."""
    going = drive(run, on_publish=recording.save if recording else lambda _: None)
    for _ in range(steps + 1):  # the first builds the run, or takes it up again
        next(going)
    going.close()


def assert_same(run: dw.Run, straight: dw.Run) -> None:
    """Both are done, and all but the time that they took is the same to the bit."""
    assert (run.status, run.history.names()) == ("done", straight.history.names())
    for name in straight.history.names():
        if name != "seconds":
            np.testing.assert_array_equal(run.history.column(name), straight.history.column(name), err_msg=name)
    assert (np.diff(run.history.column("seconds")) > 0).all()
    assert (run.eval_before, run.eval_after) == (straight.eval_before, straight.eval_after)
    for step in (0, len(straight.history)):
        np.testing.assert_array_equal(run.samples[step].values, straight.samples[step].values)
        np.testing.assert_array_equal(run.samples[step].labels, straight.samples[step].labels)
    np.testing.assert_array_equal(run.wanted.values, straight.wanted.values)


async def until(condition: Callable[[], object]) -> None:
    """Wait on the event loop until a condition holds."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), PATIENCE)
