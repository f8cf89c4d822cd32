"""Short tables as text, and pandas frames, of objects that have rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 110
"""Most characters of a line; columns that do not fit are named below the table."""
LONGEST_CELL = 44
"""Most characters of a cell."""


class _Printer(Protocol):
    """Printer with which IPython shows the value of a cell."""

    stack: list[int]
    """Ids of the objects that are being shown, from the outermost on."""

    def text(self, text: str) -> None:
        """Add a text."""


class Tabular:
    """Base of objects that print as a short table, and are shown so in a notebook; inside a list they are one line."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        cls._repr_pretty_ = Tabular._repr_pretty_  # type: ignore[method-assign]  # IPython prefers a class's own repr to a base's

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:  # IPython calls it so
        printer.text(str(self) if len(printer.stack) < 2 and not cycle else repr(self))


def text_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write rows as a table; numbers stand at the right with four digits.

    >>> print(text_table(["step", "loss", "name"], [[1, 2.30258, "a"], [20, None, "b"]]))
    step   loss  name
       1  2.303  a
      20         b
    """
    cells = [[_cell(value) for value in row] for row in rows]
    right = [any(isinstance(row[place], int | float) for row in rows) for place in range(len(heads))]
    widths = [max(len(text) for text in (head, *(row[i] for row in cells))) for i, head in enumerate(heads)]
    shown, width = 1, widths[0]
    while shown < len(heads) and width + 2 + widths[shown] <= WIDTH:
        width += 2 + widths[shown]
        shown += 1
    lines = [
        "  ".join(
            text.rjust(wide) if at_right else text.ljust(wide)
            for text, wide, at_right in zip(row[:shown], widths, right, strict=False)
        ).rstrip()
        for row in (heads, *cells)
    ]
    if shown < len(heads):
        lines.append(f"and {', '.join(heads[shown:])}")
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Write a value on one line, without characters that a terminal would obey."""
    if value is None or value != value:  # noqa: PLR0124  # NaN alone differs from itself
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def frame_of(columns: Mapping[str, Any], index: str) -> pd.DataFrame:  # Any: lists and arrays
    """Return columns as a pandas DataFrame, with one of them as its index.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame() needs pandas. To fix it: pip install pandas") from error
    return pd.DataFrame(dict(columns)).set_index(index)
