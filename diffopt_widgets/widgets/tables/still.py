"""The tables of runs, for pages without widgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    cells = [
        (_named(row), _status(row["status"], row["progress"]), *(_number(row[name]) for name in numbers))
        for row in rows
    ]
    return still_table(f"Runs: {len(rows)}", heads, cells, below=below)


def store_still(rows: Sequence[dict[str, Any]], file: str) -> Still:
    """Make a table of runs from the rows of a RunStoreTable."""
    heads = ("Run", "Note", "Status", "Steps", "Training loss", "Started")
    cells = [
        (row["name"], row["note"], row["status"], f"{row['steps']:,}", _number(row["loss"]), row["started"])
        for row in rows
    ]
    return still_table(f"Runs in {file}: {len(rows)}", heads, cells)


def _named(row: dict[str, Any]) -> str:
    name, differs = row["name"], row["differs"]
    named = f"{name} ({differs})" if differs and differs not in name else str(name)
    return f"{named} – best" if row["best"] else named


def _status(status: str, progress: float) -> str:
    if status == "stopped" and not progress:
        return "not started"
    return status if status in {"done", "waiting"} else f"{status} at {progress:.0%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
