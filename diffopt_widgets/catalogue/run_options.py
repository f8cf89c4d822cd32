"""Options of a run besides its settings, each stated once. To add one, write a field of `RunOptions` and a line of `RunKeywords`.

Everything else follows from these two: signatures and docstrings of `train`, `stream` and `sweep`, flags of `diffopt run`,
fields of the run bar, the run of the form, the values in a store, the table of differences, and the names that an option of
an optimizer cannot have.
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
    """Make a field of `RunOptions` that carries the arguments of its `Option`."""
    return field(default=default, metadata={"title": title, "kind": kind, "help": meaning, **more})


@dataclass(frozen=True)
class RunOptions:
    """Options of a run by name, each with its default. `RunPlan` checks them."""

    task: str = _option("digits", "Task", "choice", "The task to train on.")
    steps: int = _option(
        300,
        "Steps",
        "int",
        "Number of optimizer steps. The schedule is spread over them.",
        domain=Interval(1, 10_000_000),
    )
    batch_size: int | None = _option(
        None,
        "Batch size",
        "int",
        "Examples per batch. Larger batches give smoother losses and slower steps; empty takes the task's own.",
        domain=Interval(1, 65_536),
        nullable=True,
        null_words="the task's own",
    )
    accumulation: int = _option(
        1,
        "Accumulation",
        "int",
        "Number of batches whose gradients are averaged before each step. This acts as a larger batch without its memory. "
        "It must be 1 with a fused back pass.",
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
        "Device to train on. auto takes the GPU when there is one.",
        choices=("auto", "cpu", "cuda", "mps"),
    )
    dtype: str = _option(
        "float32",
        "Weights",
        "choice",
        "Precision of the weights, their gradients and the model's own arithmetic; the loss is always computed in float32. "
        "Large models are often trained in bfloat16, where rounding loses a step that is far smaller than its weight.",
        choices=tuple(PRECISIONS),
    )
    grad_norm: bool = _option(
        False,
        "Gradient norm recorded",
        "bool",
        "Record the norm of the whole gradient too, which reads every gradient once more at each step.",
    )


class RunKeywords(TypedDict, total=False):
    """Options of a run that functions take by keyword, for type checkers; `task` and `steps` are separate arguments."""

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
"""The option `task`. Its choices are not known here, but where the tasks are."""
RUN_OPTIONS: Mapping[str, Use] = _USES
"""All other options by name, each with its default; they are checked and explained like an optimizer's own."""
