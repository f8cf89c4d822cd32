"""Texts of the evidence that the probe records."""

from __future__ import annotations

from collections.abc import Sequence

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Value, format_value

SHORT = 100
"""Most characters of a back end's message that are kept as evidence."""


def raised(error: BaseException) -> str:
    """Format an error of a back end, cut to its first line."""
    first = str(error).strip().partition("\n")[0].rstrip(".")
    cut = first if len(first) <= SHORT else f"{first[:SHORT].rpartition(' ')[0]} …"
    return f"{type(error).__name__}: {cut}" if cut else type(error).__name__


def words_of(option: Option | None, value: Value) -> str:
    """Format a value for the evidence."""
    if value is None:
        return (option and option.null_words) or "empty"
    return ("on" if value else "off") if isinstance(value, bool) else format_value(value)


def listed(words: Sequence[str], joint: str = "and") -> str:
    """Join words to a list in a sentence: "a", "a and b", "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} {joint} {last}" if first else last
