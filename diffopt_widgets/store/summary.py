"""RunSummary: facts about a stored run, without its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue.tables import Tabular, frame_of, text_table
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.store.database import now
from diffopt_widgets.store.liveness import is_gone

if TYPE_CHECKING:
    import pandas as pd

INTERRUPTED = "Interrupted: the process that trained it ended without closing it."
DAMAGED = "damaged"
"""Status of a run whose entry in the file cannot be read."""
_LISTED = 30
"""Most runs in a printed table."""
LATEST = 2.0**37
"""Seconds since 1970 above which a time is not one: in the year 6325."""
COLUMNS = "id, name, status, message, started, saved, rows, final_loss, about, note, writer"


@printed_readably
@dataclass(frozen=True, slots=True)
class RunSummary:
    """Facts about a stored run that are read without loading its rows."""

    id: str
    name: str
    status: str
    """"running", how it ended ("done", "stopped", "failed"), "interrupted" when its process is gone, or "damaged"."""
    message: str
    started: datetime
    saved: datetime
    """Time of the last write."""
    steps: int
    """Number of rows."""
    final_loss: float | None
    """Mean of the last twentieth of the losses."""
    about: Mapping[str, Any]
    note: str


@printed_readably
class Summaries(tuple[RunSummary, ...], Tabular):
    """Summaries of stored runs, the newest first: a tuple that prints as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self:
            return "no runs"
        heads = ["id", "name", "status", "steps", "loss at the end", "started"]
        rows = [
            [run.id, run.name, run.status, run.steps, run.final_loss, f"{run.started.astimezone():%Y-%m-%d %H:%M}"]
            for run in self[:_LISTED]
        ]
        rest = len(self) - _LISTED
        return text_table(heads, rows) + (f"\nand {rest:,} more; to_frame() has all of them" if rest > 0 else "")

    __str__ = __repr__

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas DataFrame with a row for each run; `optimizer` and `task` are empty where they are not known.

        Raises:
            ImportError: pandas is not installed.
        """
        plain = ("id", "name", "status", "steps", "final_loss", "started", "saved", "message", "note")
        columns: dict[str, list[object]] = {name: [getattr(run, name) for run in self] for name in plain}
        columns |= {name: [str(run.about.get(name, "")) for run in self] for name in ("optimizer", "task")}
        return frame_of(columns, "id")


def summary_of(
    id: str,
    name: str,
    status: str,
    message: str,
    started: float,
    saved: float,
    steps: int,
    final_loss: float | None,
    about: str,
    note: str,
    writer: str,
) -> RunSummary:
    """Build the summary from a row of the table, whose columns are `COLUMNS`."""
    if status == "running" and is_gone(writer, now() - saved):
        status, message = "interrupted", INTERRUPTED
    began, last = (datetime.fromtimestamp(moment, timezone.utc) for moment in (started, saved))
    return RunSummary(id, name, status, message, began, last, steps, final_loss, _about(about), note)


def is_whole(row: tuple[Any, ...]) -> bool:
    """Return whether the values of a row are what they should be, and not those of a damaged file."""
    texts = (0, 1, 2, 3, 8, 9, 10)
    if len(row) < len(COLUMNS.split(",")) or not all(isinstance(row[place], str) for place in texts):
        return False
    times, steps, loss = row[4:6], row[6], row[7]
    return (
        all(isinstance(moment, float) and 0 <= moment < LATEST for moment in times)
        and isinstance(steps, int)
        and (loss is None or isinstance(loss, float))
    )


def damaged(id: object, name: object, path: Path) -> RunSummary:
    """Build the summary of a run whose entry in the file cannot be read."""
    message = (
        f"the entry of this run in {path} is damaged. Copy the readable part with: sqlite3 FILE .recover | sqlite3 NEW"
    )
    never = datetime.fromtimestamp(0, timezone.utc)
    called = name if isinstance(name, str) else str(id)
    return RunSummary(str(id), called, DAMAGED, message, never, never, 0, None, {}, "")


def _about(text: str) -> dict[str, Any]:
    """Read the facts about a run; a damaged text gives none, so that this run and the others can still be listed."""
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def search_text(run: RunSummary) -> str:
    """Return the text that a search looks into, in lower case."""
    about = json.dumps(run.about, ensure_ascii=False)
    return f"{run.name} {run.note} {run.id} {about}".casefold()
