"""Wire format: rows of a History as bytes for the page, either single rows or the extremes of each block of rows.

A page that opens at a million rows needs no more than its pixels show: 400 kB of extremes per run instead of 36 MB of rows.
When somebody zooms in, it asks for the rows in view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffopt_widgets.drawing.curves import smooth

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from diffopt_widgets.records import History

BLOCK = 256
"""Rows per block, the same number as in the page's index (static/column.js)."""
EXACT_ROWS = 65_536
"""Largest number of single rows of a run that are sent without a request, and in one part."""
MESSAGE_BYTES = 4_000_000
"""Largest size of a message with several parts."""
SHARED_KEYS = ("n", "columns", "offset")
"""Keys that a part of a message leaves out if they have the same value as in the part before."""


@dataclass(frozen=True, eq=False)
class Part:
    """Part of a message: its description and its bytes."""

    head: dict[str, Any]
    buffers: list[memoryview]

    @property
    def size(self) -> int:
        """Size of its buffers in bytes."""
        return sum(buffer.nbytes for buffer in self.buffers)


def messages(parts: Iterable[Part]) -> Iterable[tuple[dict[str, Any], list[memoryview]]]:
    """Yield content and buffers of the messages that carry these parts, as many in one message as fit."""
    batch: list[Part] = []
    for part in parts:
        if batch and sum(other.size for other in batch) + part.size > MESSAGE_BYTES:
            yield _message(batch)
            batch = []
        batch.append(part)
    if batch:
        yield _message(batch)


def _message(batch: list[Part]) -> tuple[dict[str, Any], list[memoryview]]:
    heads = []
    shared: dict[str, Any] = {}
    for part in batch:
        if "columns" not in part.head:
            heads.append(part.head)
            continue
        heads.append({key: value for key, value in part.head.items() if key not in shared or shared[key] != value})
        shared = {key: part.head[key] for key in SHARED_KEYS}
    return {"k": "rows", "parts": heads}, [buffer for part in batch for buffer in part.buffers]


def parts(
    number: int, history: History, columns: Collection[str], averages: Mapping[str, float], start: int, stop: int
) -> Iterator[Part]:
    """Yield rows start..stop of a run: as single rows, or as blocks when they are many.

    Args:
        number: id of the run on the page.
        history: history of the run.
        columns: plain names of the columns to send.
        averages: columns that are drawn smoothed, with how much.
        start: first row.
        stop: the row after the last.
    """
    if stop - start <= EXACT_ROWS:
        if stop > start:
            yield rows(number, history, columns, start, stop)
        return
    first, last = -(-start // BLOCK), stop // BLOCK
    if start < first * BLOCK:
        yield rows(number, history, columns, start, first * BLOCK)
    yield blocks(number, history, columns, first, last)
    if last * BLOCK < stop:
        yield rows(number, history, columns, last * BLOCK, stop)
    for column, beta in averages.items():
        if column in history.names() and beta > 0:
            yield average(number, history, column, beta)


def detail(number: int, history: History, columns: Collection[str], start: int, stop: int) -> Iterator[Part]:
    """Yield rows start..stop as single rows, however many."""
    for first in range(start, stop, EXACT_ROWS):
        yield rows(number, history, columns, first, min(stop, first + EXACT_ROWS))


def rows(number: int, history: History, columns: Collection[str], start: int, stop: int) -> Part:
    """Pack single rows: the values as float32, one column after the other; equal columns are sent only once.

    The steps come first, as float64. If each is the row's number plus an offset, the head has the offset instead.
    """
    equal: dict[bytes, list[str]] = {}
    with np.errstate(over="ignore"):  # a value too large for float32 becomes infinite, and is not drawn
        for name, column in _flat(history, columns).items():
            part = column[start:stop].astype(np.float32)
            if part[0] != part[0] and "[" not in name and np.isnan(part).all():  # NaN differs from itself
                continue  # as the page has it without being told
            equal.setdefault(part.tobytes(), []).append(name)
    values = memoryview(b"".join(equal))
    steps = history.step[start:stop]
    offset = int(steps[0]) - start
    counted = np.array_equal(steps, np.arange(start, stop) + offset)
    head = {"id": number, "start": start, "n": stop - start, "columns": list(equal.values())}
    head["offset"] = offset if counted else None
    return Part(head, [values] if counted else [_bytes(steps.astype(np.float64)), values])


def blocks(number: int, history: History, columns: Collection[str], first: int, last: int) -> Part:
    """Pack blocks first..last: the first and last step of each (float64), then the extremes and their places."""
    flat = _flat(history, columns)
    steps = history.step[first * BLOCK : last * BLOCK].reshape(-1, BLOCK)
    by_column = [extremes(column[first * BLOCK : last * BLOCK]) for column in flat.values()]
    head = {"id": number, "start": first * BLOCK, "n": (last - first) * BLOCK, "blocks": list(flat)}
    return Part(head, [_bytes(steps[:, [0, -1]].T.astype(np.float64)), *_pack(by_column)])


def average(number: int, history: History, column: str, beta: float) -> Part:
    """Pack the extremes of a smoothed column in every block, including the last one if it is not full."""
    with np.errstate(over="ignore"):  # rounded to 32 bits first, as the page computes the means
        values = history.column(column).astype(np.float32).astype(np.float64)
    head = {"id": number, "start": 0, "n": len(history), "average": column, "beta": beta}
    return Part(head, _pack([extremes(smooth(values, beta))]))


def extremes(values: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the least and the greatest finite value of each block, and their rows in it, both of shape (2, blocks).

    The value is NaN for a block without finite values.

    >>> values, places = extremes(np.array([3.0, 1.0, np.nan, 2.0, np.inf]))
    >>> values.tolist(), places.tolist()
    ([[1.0], [3.0]], [[1], [0]])
    """
    count = -(-len(values) // BLOCK)
    padded = np.full(count * BLOCK, np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        padded[: len(values)] = values
    grid = padded.reshape(count, BLOCK)
    finite = np.isfinite(grid)
    whole = bool(finite.all())
    low = (grid if whole else np.where(finite, grid, np.inf)).argmin(axis=1)
    high = (grid if whole else np.where(finite, grid, -np.inf)).argmax(axis=1)
    places = np.stack([low, high])
    extreme = grid[np.arange(count), places]
    extreme[~np.isfinite(extreme)] = np.nan
    return extreme, places.astype(np.uint8)


def _pack(by_column: list[tuple[NDArray[np.float32], NDArray[np.uint8]]]) -> list[memoryview]:
    """Pack the values and their places, both of shape (columns, 2, blocks)."""
    if not by_column:
        return [memoryview(b""), memoryview(b"")]
    return [
        _bytes(np.stack([values for values, _ in by_column])),
        _bytes(np.stack([places for _, places in by_column])),
    ]


def _flat(history: History, columns: Collection[str]) -> dict[str, Any]:
    return {name: column for name, column in history.to_columns(named=True).items() if name.split("[", 1)[0] in columns}


def _bytes(array: NDArray[Any]) -> memoryview:
    return memoryview(array.tobytes())
