"""What a task is: a small training problem that every optimizer meets in exactly the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Samples:
    """What a model makes from noise, as numbers that any front end can draw.

    `values` has shape (n, 2) for points (about −2…2) and (n, height, width) in 0…1 for images.
    """

    kind: Literal["points", "images"]
    values: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    """The label that each was made for, shape (n,)."""


@dataclass(frozen=True)
class ParameterGroup:
    """A named part of the model, such as `text_encoder` or `unet`."""

    name: str
    params: tuple[torch.nn.Parameter, ...]
    names: tuple[str, ...] = ()
    """The name of each parameter in the whole model, such as `unet.layers.0.weight`; none where the model has no names."""


class Problem(Protocol):
    """A task made ready for one run: a freshly seeded model with its data on the device.

    The same seed gives the same weights, and the same step the same batch, noise and time steps, whatever optimizer is
    used and on whatever device; weights of another precision are the same, rounded.
    """

    groups: tuple[ParameterGroup, ...]

    def loss(self, step: int, micro: int = 0) -> torch.Tensor:
        """Training loss (a scalar on the device, with its graph) on batch number `step`, accumulation part `micro`."""
        ...

    def evaluate(self) -> torch.Tensor:
        """Loss on the fixed evaluation set: a scalar on the device, without a graph."""
        ...

    def samples(self) -> Samples:
        """Make examples with the model as it is now, from a fixed noise."""
        ...

    def wanted(self) -> Samples:
        """Real examples that the model has not learned from, with the labels of `samples` in the same order."""
        ...


@dataclass(frozen=True)
class Task:
    """One task of the bench."""

    key: str
    title: str
    summary: str
    """What is learned, and what to look for, in one or two sentences."""
    steps: int
    """A sensible length of a run."""
    batch_size: int
    lr: float
    """A learning rate at which Adam trains well on it."""
    build: Callable[[int, torch.device, int, torch.dtype], Problem]
    """Make it ready: `build(seed, device, batch_size, dtype)`, with weights of that precision."""
