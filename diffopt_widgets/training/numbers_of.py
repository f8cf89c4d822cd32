"""Numbers of values that may still be on a device: copied all together, and without losing digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.records import Scalar


def numbers(values: Sequence[Scalar | None]) -> NDArray[np.float64]:
    """Convert values to numbers, None to NaN; tensors of one element are copied all at once from each device.

    Whole numbers are copied apart from the others, without losing digits: up to 2**53 all of them are kept.

    >>> numbers([1, None, torch.tensor([2.5])]).tolist()
    [1.0, nan, 2.5]
    """
    plain: list[float | None] = list(values)  # type: ignore[arg-type]  # other values are replaced below
    waiting: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, value in enumerate(values):
        if value.__class__ is float:
            continue
        if isinstance(value, torch.Tensor):
            waiting.setdefault((value.device, _holding(value.dtype)), []).append(place)
            plain[place] = math.nan
        elif value is not None:
            plain[place] = float(value)
    array = np.array(plain, dtype=np.float64)
    for (_, dtype), places in waiting.items():
        array[places] = _stack([values[place] for place in places], dtype).tolist()  # type: ignore[misc]  # tensors
    return array


def _holding(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that keeps all digits of this one: whole numbers above 2**24 lose some in float32."""
    if dtype.is_floating_point:
        return torch.float64 if dtype is torch.float64 else torch.float32
    return torch.uint64 if dtype is torch.uint64 else torch.int64


def _stack(tensors: list[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Stack tensors of one element into one vector."""
    return torch.stack(
        [
            tensor.detach().reshape(()) if tensor.dtype is dtype else tensor.detach().reshape(()).to(dtype)
            for tensor in tensors
        ]
    )
