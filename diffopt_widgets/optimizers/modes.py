"""Train mode and eval mode of optimizers that train the weights at one point and return another one for use.

A schedule-free optimizer computes its gradients at a point y and keeps an average x, which is the point to evaluate, to
sample from and to save. Its `eval()` puts x into the weights and its `train()` puts y back; other optimizers have neither.
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
    """Return whether an optimizer, or an optimizer class, has a train mode and an eval mode.

    >>> has_modes(torch.optim.SGD)
    False
    """
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))


def train_mode(optimizer: Optimizer) -> None:
    """Put an optimizer into train mode, in which it steps; do nothing to one without modes."""
    if has_modes(optimizer):
        cast("_Modal", optimizer).train()


@contextlib.contextmanager
def eval_mode(optimizer: Optimizer) -> Iterator[None]:
    """Put the weights for use in place of the trained ones while the context lasts.

    Both changes of mode are computed and round. So the trained weights are copied meanwhile, which takes as much memory as
    they do, and training goes on from the same bits. The context does nothing to an optimizer without modes. It also does
    nothing before the first step: both points are then the initial weights, and some optimizers raise (pytorch_optimizer's
    SPlus).
    """
    if not has_modes(optimizer) or not optimizer.state:
        yield
        return
    params = [p for group in optimizer.param_groups for p in group["params"]]
    copies = [p.detach().clone() for p in params]
    try:
        cast("_Modal", optimizer).eval()
        yield
    finally:
        cast("_Modal", optimizer).train()
        with torch.no_grad():
            for p, trained in zip(params, copies, strict=True):
                p.copy_(trained)
