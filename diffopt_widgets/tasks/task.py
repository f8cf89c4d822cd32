"""Task: a small training problem that is exactly the same for every optimizer."""

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
    """Samples that a model makes from noise, as numbers that any front end can draw.

    `values` has shape (n, 2) for points (about −2…2) and (n, height, width) in 0…1 for images.
    """

    kind: Literal["points", "images"]
    values: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    """Label of each sample, shape (n,)."""


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
    """

    groups: tuple[ParameterGroup, ...]

    def loss(self, step: int, micro: int = 0) -> torch.Tensor:
        """Return the training loss (a scalar on the device, with its graph) on batch `step`, accumulation part `micro`."""
        ...

    def evaluate(self) -> torch.Tensor:
        """Return the loss on the fixed evaluation set: a scalar on the device, without a graph."""
        ...

    def samples(self) -> Samples:
        """Make samples with the present model, from fixed noise."""
        ...

    def wanted(self) -> Samples:
        """Return real examples that are not in the training data, with the labels of `samples` in the same order."""
        ...


@dataclass(frozen=True)
class Task:
    """One task of the bench."""

    key: str
    title: str
    summary: str
    """Description in one or two sentences: what is learned, and what to look for."""
    steps: int
    """Sensible length of a run."""
    batch_size: int
    lr: float
    """Learning rate at which Adam trains it well."""
    build: Callable[[int, torch.device, int, torch.dtype], Problem]
    """Builder of the problem: `build(seed, device, batch_size, dtype)`, with weights of that precision."""
