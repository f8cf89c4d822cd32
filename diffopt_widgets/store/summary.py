"""RunSummary: facts about a stored run, without its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from diffopt_widgets.store.database import now
from diffopt_widgets.store.liveness import is_gone

INTERRUPTED = "Interrupted: the process that trained it ended without closing it."
COLUMNS = "id, name, status, message, started, saved, rows, final_loss, about, note, writer"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Facts about a stored run that are read without loading its rows."""

    id: str
    name: str
    status: str
    """"running", how it ended ("done", "stopped", "failed"), or "interrupted" when its process is gone."""
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


def _about(text: str) -> dict[str, Any]:
    """Read the facts about a run; a damaged text gives none, so that this run and the others can still be listed."""
    try:
        about = json.loads(text)
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def search_text(run: RunSummary) -> str:
    """Return the text that a search looks into, in lower case."""
    about = json.dumps(run.about, ensure_ascii=False)
    return f"{run.name} {run.note} {run.id} {about}".casefold()
