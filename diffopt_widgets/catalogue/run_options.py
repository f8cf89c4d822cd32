"""The options of a run beside its settings, each stated once. To add one, write a field of `RunOptions` and a line of `RunKeywords`.

Everything else follows from these two: signatures and docstrings of `train`, `stream` and `sweep`, flags of `diffopt run`,
fields of the run bar, what the form knows of the run, what a store keeps, the table of differences, and the names that an
option of an optimizer cannot have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.precision import PRECISIONS
from diffopt_widgets.catalogue.schema import Use
from diffopt_widgets.catalogue.values import Interval, Kind


def _option(default: object, title: str, kind: Kind, meaning: str, **more: Any) -> Any:  # Any: arguments of Option
    """A field of `RunOptions` with what its `Option` says."""
    return field(default=default, metadata={"title": title, "kind": kind, "help": meaning, **more})


@dataclass(frozen=True)
class RunOptions:
    """The options of a run by name, each with its default. Nothing is checked here: `RunPlan` does that."""

    task: str = _option("digits", "Task", "choice", "What to train on.")
    steps: int = _option(
        300,
        "Steps",
        "int",
        "Optimizer steps of the run. The schedule is spread over them.",
        domain=Interval(1, 10_000_000),
    )
    batch_size: int | None = _option(
        None,
        "Batch size",
        "int",
        "Examples per batch. Larger is smoother and slower per step; empty takes the task's own.",
        domain=Interval(1, 65_536),
        nullable=True,
        null_words="the task's own",
    )
    accumulation: int = _option(
        1,
        "Accumulation",
        "int",
        "Batches whose gradients are averaged before each step: a larger batch without its memory. 1 with a fused back pass.",
        domain=Interval(1, 1024),
    )
    seed: int = _option(
        0,
        "Seed",
        "int",
        "The same seed gives the same weights, batches and noise to every optimizer, so that runs can be compared.",
        domain=Interval(0, 2**31 - 1),
    )
    device: str = _option(
        "auto",
        "Device",
        "choice",
        "Where to train. auto takes the GPU when there is one.",
        choices=("auto", "cpu", "cuda", "mps"),
    )
    dtype: str = _option(
        "float32",
        "Weights",
        "choice",
        "Precision of the weights, their gradients and the model's own arithmetic; the loss is always taken in float32. In "
        "bfloat16, as large models are often trained, a step far smaller than its weight is lost to rounding.",
        choices=tuple(PRECISIONS),
    )
    grad_norm: bool = _option(
        False,
        "Gradient norm recorded",
        "bool",
        "Record the norm of the whole gradient too; on the tasks of the bench it costs one step in a hundred or two.",
    )


class RunKeywords(TypedDict, total=False):
    """The options of a run that functions take by keyword, for type checkers; `task` and `steps` are arguments of their own."""

    batch_size: int | None
    accumulation: int
    seed: int
    device: str
    dtype: str
    grad_norm: bool


class RunValues(RunKeywords, total=False):
    """All options of a run by name."""

    task: str
    steps: int


_USES = {
    own.name: Use(Option(own.name, **own.metadata), getattr(RunOptions, own.name), None) for own in fields(RunOptions)
}

TASK: Use = _USES.pop("task")
"""The task. Which there are is known where tasks are."""
RUN_OPTIONS: Mapping[str, Use] = _USES
"""All others by name: checked and explained like an optimizer's own, each with its default."""
