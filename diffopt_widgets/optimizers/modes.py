"""Train mode and eval mode of optimizers that train the weights at one point and give another one to use.

A schedule-free optimizer takes its gradients at a point y and averages the way into x, which is what to evaluate, sample
and save. Its `eval()` puts x into the weights and its `train()` puts y back; other optimizers have neither.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.optim import Optimizer


class _Modal(Protocol):
    def train(self) -> None: ...

    def eval(self) -> None: ...


def has_modes(optimizer: object) -> bool:
    """Whether an optimizer, or a class of them, has a train mode and an eval mode.

    >>> has_modes(torch.optim.SGD)
    False
    """
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


def train_mode(optimizer: Optimizer) -> None:
    """Put an optimizer into the mode in which it steps; nothing happens to one without modes."""
    if has_modes(optimizer):
        cast("_Modal", optimizer).train()


@contextlib.contextmanager
def eval_mode(optimizer: Optimizer) -> Iterator[None]:
    """Hold the weights to use instead of those that are trained, for as long as the context lasts.

    The way there and back is computed, and rounds: so the trained weights are kept meanwhile, in memory as large as they
    are, and training goes on from the same bits. Nothing happens to an optimizer without modes, nor before the first step:
    both are then the weights to begin with, and some (pytorch_optimizer's SPlus) raise when asked.
    """
    if not has_modes(optimizer) or not optimizer.state:
        yield
        return
    params = [p for group in optimizer.param_groups for p in group["params"]]
    kept = [p.detach().clone() for p in params]
    try:
        cast("_Modal", optimizer).eval()
        yield
    finally:
        cast("_Modal", optimizer).train()
        with torch.no_grad():
            for p, trained in zip(params, kept, strict=True):
                p.copy_(trained)
