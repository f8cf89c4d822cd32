"""The same training with and without recording: bare, as the bench takes its steps, and watched."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import diffopt_widgets as dw
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.loop import Training


def bare(training: Training, watch: dw.Watcher | None = None) -> Iterator[None]:
    """The plain loop: forward, backward, step, schedule; one step per `next`."""
    step = 0
    while True:
        with training.compute():
            loss = training.problem.loss(step)
            loss.backward()
            training.optimizer.step()
            training.schedule.step()
            training.optimizer.zero_grad(set_to_none=True)
            if watch is not None:
                watch.log(loss=loss)
        step += 1
        yield


def watched(training: Training, *, publishing: bool = True, **options: Any) -> Iterator[None]:
    """The plain loop under `dw.watch`."""
    watch = dw.watch(training.optimizer, show=False, **options)
    if not publishing:
        watch._recorder._due = math.inf
    return bare(training, watch)


def long_plan(settings: dw.Settings, device: str, task: str = "digits", **options: Any) -> RunPlan:
    """A plan whose end is never reached."""
    return RunPlan(settings, task, steps=1_000_000, device=device, **options)
