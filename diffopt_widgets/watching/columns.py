"""Columns of numbers from the values of many steps; their tensors are fetched together from each device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from diffopt_widgets.training.numbers_of import numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diffopt_widgets.records import Scalar

Cell: TypeAlias = "Scalar | tuple[Scalar | None, ...] | list[Scalar] | None"
"""Entry of one step in one column: a value, one per parameter group, a list to be averaged, or None."""


class Columns:
    """Cells of some rows, by column.

    >>> import torch
    >>> columns = Columns()
    >>> columns.put("loss", [1.0, [torch.tensor(2.0), 4.0], None])
    >>> columns.put("lr", [(0.1, 0.2), (0.3, 0.4), None])
    >>> {name: values.tolist() for name, values in columns.fetch().items()}
    {'loss': [1.0, 3.0, nan], 'lr': [[0.1, 0.2], [0.3, 0.4], [nan, nan]]}
    """

    def __init__(self) -> None:
        self._flat: list[Scalar | None] = []
        self._places: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        """Start and end of each column in the flat list, and its shape."""
        self._means: list[tuple[int, int, int]] = []
        """Means to compute: the target in the flat list, and the start and end of the values to average."""

    def put(self, name: str, cells: Sequence[Cell]) -> None:
        """Add a column. Either all its values are tuples, of one length, or none is.

        A column without any value is left out, since it is not known whether it has a value for each group.
        """
        flat, begin = self._flat, len(self._flat)
        first = next((cell for cell in cells if cell is not None), None)
        if first is None:
            return
        if isinstance(first, tuple):
            nothing = (None,) * len(first)
            flat.extend([part for cell in cells for part in (nothing if cell is None else cell)])  # type: ignore[union-attr]  # all are tuples
            self._places[name] = (begin, len(flat), (len(cells), len(first)))
            return
        lists = [(begin + row, cell) for row, cell in enumerate(cells) if cell.__class__ is list]
        flat.extend(cells)  # type: ignore[arg-type]  # the lists among them are replaced here
        self._places[name] = (begin, len(flat), (len(cells),))
        for place, parts in lists:
            flat[place] = None
            self._means.append((place, len(flat), len(flat) + len(parts)))
            flat.extend(parts)

    def fetch(self) -> dict[str, NDArray[np.float64]]:
        """Return all columns as numbers; this waits for the devices that hold some of the values."""
        values = numbers(self._flat)
        for place, begin, end in self._means:
            values[place] = values[begin:end].mean()
        return {name: values[begin:end].reshape(shape) for name, (begin, end, shape) in self._places.items()}
