"""What of a History goes to the page, as bytes: rows one by one, or of each block of rows the extremes.

A page that opens at a million rows needs no more than its pixels show: 400 kB of extremes a run instead of 36 MB of rows.
When somebody zooms in, it asks for the rows in sight.
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
"""Rows per block; the page's index has the same (static/column.js)."""
EXACT_ROWS = 65_536
"""Most rows of a run that are sent one by one unasked, and in one part."""
MESSAGE_BYTES = 4_000_000
"""A message with several parts is not larger."""
TOLD_ONCE = ("n", "columns", "offset")
"""What rows in a message do not say again where it is as of the rows before."""


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of a message: what it holds, and its bytes."""

    head: dict[str, Any]
    buffers: list[memoryview]

    @property
    def size(self) -> int:
        """Bytes of its buffers."""
        return sum(buffer.nbytes for buffer in self.buffers)


def messages(parts: Iterable[Part]) -> Iterable[tuple[dict[str, Any], list[memoryview]]]:
    """Content and buffers of the messages that carry these parts: several in one, as far as they fit."""
    held: list[Part] = []
    for part in parts:
        if held and sum(other.size for other in held) + part.size > MESSAGE_BYTES:
            yield _message(held)
            held = []
        held.append(part)
    if held:
        yield _message(held)


def _message(held: list[Part]) -> tuple[dict[str, Any], list[memoryview]]:
    heads = []
    told: dict[str, Any] = {}
    for part in held:
        if "columns" not in part.head:
            heads.append(part.head)
            continue
        heads.append({key: value for key, value in part.head.items() if key not in told or told[key] != value})
        told = {key: part.head[key] for key in TOLD_ONCE}
    return {"k": "rows", "parts": heads}, [buffer for part in held for buffer in part.buffers]


def parts(
    number: int, history: History, columns: Collection[str], averages: Mapping[str, float], start: int, stop: int
) -> Iterator[Part]:
    """Rows start..stop of a run: one by one, or by blocks where they are many.

    Args:
        number: names the run to the page.
        history: of the run.
        columns: which of its columns to send, by their plain names.
        averages: columns whose moving average is drawn, with its weight of the past.
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
    """Rows start..stop one by one, however many."""
    for first in range(start, stop, EXACT_ROWS):
        yield rows(number, history, columns, first, min(stop, first + EXACT_ROWS))


def rows(number: int, history: History, columns: Collection[str], start: int, stop: int) -> Part:
    """Rows one by one: the values as float32, one column after the other, columns that are equal here only once.

    Before them the steps as float64, unless each is the row's number and an offset, which the head has then.
    """
    equal: dict[bytes, list[str]] = {}
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is not drawn
        for name, column in _flat(history, columns).items():
            equal.setdefault(column[start:stop].astype(np.float32).tobytes(), []).append(name)
    values = memoryview(b"".join(equal))
    steps = history.step[start:stop]
    offset = int(steps[0]) - start
    counted = np.array_equal(steps, np.arange(start, stop) + offset)
    head = {"id": number, "start": start, "n": stop - start, "columns": list(equal.values())}
    head["offset"] = offset if counted else None
    return Part(head, [values] if counted else [_bytes(steps.astype(np.float64)), values])


def blocks(number: int, history: History, columns: Collection[str], first: int, last: int) -> Part:
    """Blocks first..last: the first and last step of each (float64), then least and greatest values and where they lie."""
    flat = _flat(history, columns)
    steps = history.step[first * BLOCK : last * BLOCK].reshape(-1, BLOCK)
    found = [extremes(column[first * BLOCK : last * BLOCK]) for column in flat.values()]
    head = {"id": number, "start": first * BLOCK, "n": (last - first) * BLOCK, "blocks": list(flat)}
    return Part(head, [_bytes(steps[:, [0, -1]].T.astype(np.float64)), *_pack(found)])


def average(number: int, history: History, column: str, beta: float) -> Part:
    """The extremes of a column's moving average in every block, the one that is not full included."""
    with np.errstate(over="ignore"):  # as the page, which has 32 bits, would take the average
        values = history.column(column).astype(np.float32).astype(np.float64)
    found = extremes(smooth(values, beta))
    head = {"id": number, "start": 0, "n": len(history), "average": column, "beta": beta}
    return Part(head, _pack([found]))


def extremes(values: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Of each block the least and the greatest finite value, and in which of its rows they lie, both of shape (2, blocks).

    NaN where a block has none.

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
    found = grid[np.arange(count), places]
    found[~np.isfinite(found)] = np.nan
    return found, places.astype(np.uint8)


def _pack(found: list[tuple[NDArray[np.float32], NDArray[np.uint8]]]) -> list[memoryview]:
    """Of shape (columns, 2, blocks): the values, and their places."""
    if not found:
        return [memoryview(b""), memoryview(b"")]
    return [_bytes(np.stack([values for values, _ in found])), _bytes(np.stack([places for _, places in found]))]


def _flat(history: History, columns: Collection[str]) -> dict[str, Any]:
    return {name: column for name, column in history.to_columns().items() if name.split("[", 1)[0] in columns}


def _bytes(array: NDArray[Any]) -> memoryview:
    return memoryview(array.tobytes())
