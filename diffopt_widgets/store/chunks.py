"""Rows of a history as blobs: the step numbers as int64, then each column as float64, little-endian."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.records import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP, VALUE = np.dtype("<i8"), np.dtype("<f8")
MOST_VALUES = 500_000_000
"""Most values of one run in memory, four gigabytes; a file can ask for more in a few bytes, by columns without values."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a history at some moment: views of its columns, whose rows never change."""

    groups: tuple[str, ...]
    step: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, history: History) -> Rows:
        """Return all rows so far; nothing is copied."""
        return cls(history.groups, history.step, {name: history.column(name) for name in history.names()})

    def __len__(self) -> int:
        return len(self.step)


def pack(rows: Rows, start: int, stop: int) -> tuple[str, bytes]:
    """Pack some rows into a layout (JSON) and a blob; a column without values is named in the layout and takes no room."""
    layout: list[tuple[str, int, bool]] = []
    parts = [rows.step[start:stop].astype(STEP, copy=False).tobytes()]
    for name, column in rows.columns.items():
        values = column[start:stop]
        present = not np.isnan(values).all()
        layout.append((name, values.shape[1] if values.ndim > 1 else 0, bool(present)))
        if present:
            parts.append(values.astype(VALUE, copy=False).tobytes())
    return json.dumps(layout, ensure_ascii=False, separators=(",", ":")), b"".join(parts)


def unpack(groups: Sequence[str], chunks: Iterable[tuple[int, str, bytes]]) -> History:
    """Build the history of chunks in their order.

    Args:
        groups: names of the parameter groups.
        chunks: each as its number of rows, its layout and its blob.

    Raises:
        ValueError: a blob has another size than its layout says, or the columns do not fit together.
    """
    if not isinstance(groups, list | tuple) or not all(isinstance(name, str) for name in groups):
        raise ValueError("the names of the groups")
    parsed = [(count, _layout(count, layout, blob, len(groups)), blob) for count, layout, blob in chunks]
    total = sum(count for count, _, _ in parsed)
    widths = {name: width for _, layout, _ in parsed for name, width, _ in layout}
    if total * sum(len(groups) if width else 1 for width in widths.values()) > MOST_VALUES:
        raise ValueError("more values than it can have")
    step = np.zeros(total, dtype=np.int64)
    columns: dict[str, NDArray[np.float64]] = {}
    start = 0
    for count, layout, blob in parsed:
        stop = start + count
        step[start:stop] = np.frombuffer(blob, STEP, count)
        offset = count * STEP.itemsize
        for name, width, present in layout:
            if name not in columns:
                columns[name] = np.full((total, len(groups)) if width else total, np.nan)
            if present:
                size = count * max(1, width)
                values = np.frombuffer(blob, VALUE, size, offset)
                if width:  # fewer than there are groups where some came later
                    columns[name][start:stop, :width] = values.reshape(count, width)
                else:
                    columns[name][start:stop] = values
                offset += size * VALUE.itemsize
        start = stop
    return History.from_columns(groups, step, columns)


def _layout(count: object, layout: object, blob: object, groups: int) -> list[tuple[str, int, bool]]:
    """Read the layout of a chunk, whose blob must have exactly the values that it says."""
    if not isinstance(layout, str) or not isinstance(blob, bytes) or not isinstance(count, int) or count < 0:
        raise TypeError
    columns: list[tuple[str, int, bool]] = []
    for name, width, present in json.loads(layout):
        if not isinstance(name, str) or not isinstance(width, int) or not 0 <= width <= groups:
            raise ValueError("a column")
        columns.append((name, width, bool(present)))
    values = sum(max(1, width) for _, width, present in columns if present)
    if len(blob) != count * (STEP.itemsize + values * VALUE.itemsize):
        raise ValueError("the size of a part")
    return columns
