"""Measured bytes of an optimizer's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer


def state_bytes(optimizer: Optimizer) -> int:
    """Return the bytes of all tensors in an optimizer's present state; a storage that several tensors share counts once.

    Of tensors that are divided among processes (DTensor) it counts the part of this one. An optimizer has no state before its first step.

    >>> weights = torch.nn.Parameter(torch.ones(1000))
    >>> optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    >>> weights.sum().backward()
    >>> optimizer.step()
    >>> state_bytes(optimizer)
    4000
    """
    own = (tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors_in(dict(optimizer.state)))
    storages = (tensor.untyped_storage() for tensor in own)
    return sum({(str(storage.device), storage.data_ptr()): storage.nbytes() for storage in storages}.values())


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """Yield every tensor in a state, at any depth."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
