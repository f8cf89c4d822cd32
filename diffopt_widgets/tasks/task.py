"""Task: a small training problem that is exactly the same for every optimizer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, Protocol

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.plain_text import printed_readably

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from numpy.typing import NDArray


@printed_readably
@dataclass(frozen=True)
class Samples:
    """Samples that a model makes from noise, as numbers that any front end can draw.

    `values` has shape (n, 2) for points (about −2…2) and (n, height, width) in 0…1 for images.
    """

    kind: Literal["points", "images"]
    values: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    """Label of each sample, shape (n,)."""


@printed_readably
@dataclass(frozen=True)
class ParameterGroup:
    """Named part of the model, such as `text_encoder` or `unet`."""

    name: str
    params: tuple[torch.nn.Parameter, ...]
    names: tuple[str, ...] = ()
    """Name of each parameter in the whole model, such as `unet.layers.0.weight`; empty if the model has no names."""


class Problem(Protocol):
    """Task of one run: a freshly seeded model with its data on the device.

    The same seed gives the same weights, and the same step has the same batch, noise and time steps, for every optimizer
    and device; weights of another precision are the same, rounded.

    A problem also has the parameters to train: `groups`, a tuple of `ParameterGroup`; or `model`, a `torch.nn.Module` whose
    parameters are one group. It may have `samples()`, which makes `Samples` with the model as it
    is now, from a fixed noise; and `wanted()`, which gives real examples that the model has not learned from, with the labels
    of `samples` in the same order. Without them no samples are shown.

    In a training that several processes share (`dw.launch`), each of them computes the loss over the whole batch, unless the
    problem has `take_part(part, parts)`. That is called once, and from then on `loss` is over one of several parts of each
    batch, weighted so that the mean of all parts is the loss over the whole.
    """

    def loss(self, step: int, micro: int = 0) -> torch.Tensor:
        """Return the training loss (a scalar on the device, with its graph) on batch `step`, accumulation part `micro`."""
        ...

    def evaluate(self) -> torch.Tensor:
        """Return the loss on the fixed evaluation set: a scalar on the device, without a graph."""
        ...


@printed_readably
@dataclass(frozen=True, kw_only=True)
class Task:
    """Training problem of a run: one of the bench's, or one of your own for `dw.train(task=…)` and `dw.register_task`.

    Raises:
        ValueError: the key has other characters than letters, digits, _ and -, or a number is not above 0.
        TypeError: `build` cannot be called.

    >>> Task(key="my task", title="Mine", summary="…", build=print)
    Traceback (most recent call last):
    ...
    ValueError: a task's key is made of letters, digits, _ and - and begins with a letter, such as my_task; this is 'my task'
    """

    key: str
    title: str
    """Its name in the bench."""
    summary: str
    """What is learned, and what to look for, in one or two sentences."""
    build: Callable[[int, torch.device, int, torch.dtype], Problem]
    """Make it ready: `build(seed, device, batch_size, dtype)`, with weights of that precision on that device."""
    steps: int = 300
    """A sensible length of a run: what the bench's field says at first."""
    batch_size: int = 64
    """Examples per batch where a run names no other number."""
    lr: float = 1e-3
    """A learning rate at which Adam trains well on it."""

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not _KEY.fullmatch(self.key):
            raise ValueError(
                "a task's key is made of letters, digits, _ and - and begins with a letter, such as my_task; this is "
                f"{safe_repr(self.key)}"
            )
        if not callable(self.build):
            raise TypeError(
                f"build of the task {self.key!r} is a {type(self.build).__name__}; it must be a function "
                "build(seed, device, batch_size, dtype)"
            )
        for name in ("steps", "batch_size", "lr"):
            value = getattr(self, name)
            kind, words = (Real, "a number above 0") if name == "lr" else (Integral, "a whole number above 0")
            if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < _HIGHEST:  # type: ignore[operator]  # a number
                raise ValueError(f"{name} of the task {self.key!r} is {safe_repr(value)}; it must be {words}")


_HIGHEST = 1e12
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
