"""Memory that an optimizer really takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer


def state_bytes(optimizer: Optimizer) -> int:
    """Bytes of all tensors in the state of `optimizer` as it is now; a storage that several tensors share counts once.

    Before its first step an optimizer has no state yet.

    >>> weights = torch.nn.Parameter(torch.ones(1000))
    >>> optimizer = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    >>> weights.sum().backward()
    >>> optimizer.step()
    >>> state_bytes(optimizer)
    4000
    """
    storages = (tensor.untyped_storage() for tensor in tensors_in(dict(optimizer.state)))
    return sum({(str(storage.device), storage.data_ptr()): storage.nbytes() for storage in storages}.values())


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """Every tensor in a state, however deep."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors_in(part)
