"""From values of many steps, tensors among them, to columns of numbers: one copy from each device for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from diffopt_widgets.records import Scalar

Cell: TypeAlias = "Scalar | tuple[Scalar | None, ...] | list[Scalar] | None"
"""What one step has in one column: a value, one per parameter group, several to be averaged, or nothing."""


class Columns:
    """The cells of some rows, by column.

    >>> columns = Columns()
    >>> columns.put("loss", [1.0, [torch.tensor(2.0), 4.0], None])
    >>> columns.put("lr", [(0.1, 0.2), (0.3, 0.4), None])
    >>> {name: values.tolist() for name, values in columns.fetch().items()}
    {'loss': [1.0, 3.0, nan], 'lr': [[0.1, 0.2], [0.3, 0.4], [nan, nan]]}
    """

    def __init__(self) -> None:
        self._flat: list[Scalar | None] = []
        self._places: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        """By column: where it begins and ends in the flat list, and its shape."""
        self._means: list[tuple[int, int, int]] = []
        """Where the mean of which part of the flat list goes."""

    def put(self, name: str, cells: Sequence[Cell]) -> None:
        """Add a column; its tuples are all of one length, and there are either only tuples or none.

        A column without any value is left out: nobody can tell then whether it has a value for each group.
        """
        flat, begin = self._flat, len(self._flat)
        first = next((cell for cell in cells if cell is not None), None)
        if first is None:
            return
        if isinstance(first, tuple):
            nothing = (None,) * len(first)
            flat.extend([part for cell in cells for part in (nothing if cell is None else cell)])  # type: ignore[union-attr]  # tuples, as asked for
            self._places[name] = (begin, len(flat), (len(cells), len(first)))
            return
        several = [(begin + row, cell) for row, cell in enumerate(cells) if cell.__class__ is list]
        flat.extend(cells)  # type: ignore[arg-type]  # the lists among them are replaced here
        self._places[name] = (begin, len(flat), (len(cells),))
        for place, parts in several:
            flat[place] = None
            self._means.append((place, len(flat), len(flat) + len(parts)))
            flat.extend(parts)

    def fetch(self) -> dict[str, NDArray[np.float64]]:
        """All columns as numbers; waits for the devices that hold some of the values."""
        values = numbers(self._flat)
        for place, begin, end in self._means:
            values[place] = values[begin:end].mean()
        return {name: values[begin:end].reshape(shape) for name, (begin, end, shape) in self._places.items()}


def numbers(values: Sequence[Scalar | None]) -> NDArray[np.float64]:
    """The values as numbers, NaN for None; tensors of one element are copied all at once from each device.

    >>> numbers([1, None, torch.tensor([2.5])]).tolist()
    [1.0, nan, 2.5]
    """
    plain: list[float | None] = list(values)  # type: ignore[arg-type]  # what is no number is replaced here
    waiting: dict[torch.device, list[int]] = {}
    for place, value in enumerate(values):
        if value.__class__ is float:
            continue
        if isinstance(value, torch.Tensor):
            waiting.setdefault(value.device, []).append(place)
            plain[place] = math.nan
        elif value is not None:
            plain[place] = float(value)
    found = np.array(plain, dtype=np.float64)
    for places in waiting.values():
        found[places] = _stacked([values[place] for place in places]).tolist()  # type: ignore[misc]  # tensors
    return found


def _stacked(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Tensors of one element as one vector, in one precision that holds them all."""
    kinds = {tensor.dtype for tensor in tensors}
    exact = torch.float64 if torch.float64 in kinds else torch.float32
    return torch.stack(
        [
            tensor.detach().reshape(()) if tensor.dtype is exact else tensor.detach().reshape(()).to(exact)
            for tensor in tensors
        ]
    )
