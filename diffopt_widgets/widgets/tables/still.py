"""The tables of runs, for pages without widgets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from diffopt_widgets.widgets.page.stand_in import Still, still_table

MOST_NAMED = 3
"""Number of runs that are named in a line; of more only the count is said."""
LONGEST_NAME = 30


def in_words(names: Iterable[str]) -> str:
    """Say how many runs there are, and name them if they are few.

    >>> in_words([]), in_words(["a", "b"]), in_words("abcd")
    ('no runs', '2 runs: a, b', '4 runs')
    """
    listed = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
    if not listed:
        return "no runs"
    count = f"{len(listed)} run{'s' * (len(listed) > 1)}"
    return count if len(listed) > MOST_NAMED else f"{count}: {', '.join(listed)}"


def runs_still(rows: Sequence[dict[str, Any]], below: str = "") -> Still:
    """Make a table of runs from the rows of a RunsTable, with a text below it."""
    heads = ("Run", "Status", "Training loss", "Evaluation loss", "Applied rate")
    numbers = ("final_loss", "eval_after", "applied_plateau")
    settings: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        settings.setdefault(row["setting"] or f"run {row['key']}", []).append(row)
    cells = [
        (_named(of), _statuses(of), *(_numbers([row[name] for row in of]) for name in numbers))
        for of in settings.values()
    ]
    note = "Of several seeds: median, lowest to highest." if len(settings) < len(rows) else ""
    return still_table(f"Runs: {len(rows)}", heads, cells, below=" ".join(part for part in (note, below) if part))


def store_still(rows: Sequence[dict[str, Any]], file: str) -> Still:
    """Make a table of runs from the rows of a RunStoreTable."""
    heads = ("Run", "Note", "Status", "Steps", "Training loss", "Started")
    cells = [
        (row["name"], row["note"], row["status"], f"{row['steps']:,}", _number(row["loss"]), row["started"])
        for row in rows
    ]
    return still_table(f"Runs in {file}: {len(rows)}", heads, cells)


def _named(rows: Sequence[dict[str, Any]]) -> str:
    """Name a run, or several seeds of a setting, and say when it is the best."""
    row = rows[0]
    if len(rows) > 1:
        named = f"{row['setting']} ({len(rows)} seeds)"
    else:
        name, differs = row["name"], row["differs"]
        named = f"{name} ({differs})" if differs and differs not in name else str(name)
    return f"{named} – best" if any(row["best"] for row in rows) else named


def _statuses(rows: Sequence[dict[str, Any]]) -> str:
    counts = Counter(_status(row["status"], row["progress"]) for row in rows)
    return ", ".join(f"{count} {words}" if len(counts) > 1 else words for words, count in counts.items())


def _status(status: str, progress: float) -> str:
    if status == "stopped" and not progress:
        return "not started"
    return status if status in {"done", "waiting"} else f"{status} at {progress:.0%}"


def _numbers(values: Sequence[float | None]) -> str:
    """Write a number, or the median of several with their ends."""
    known = [value for value in values if value is not None]
    if len(values) < 2 or not known:
        return _number(known[0] if known else None)
    middle, low, high = (_number(value) for value in (median(known), min(known), max(known)))
    of = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return (middle if low == high else f"{middle}, {low} to {high}") + of


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
