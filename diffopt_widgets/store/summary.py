"""RunSummary: what a store tells of a run without loading its rows."""

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
    """What a store tells of a run without loading its rows."""

    id: str
    name: str
    status: str
    """"running", how it ended ("done", "stopped", "failed"), or "interrupted" when its process is gone."""
    message: str
    started: datetime
    saved: datetime
    """When it was last written."""
    steps: int
    """How many rows it has."""
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
    """The summary of a row of the table, whose columns are `COLUMNS`."""
    if status == "running" and is_gone(writer, now() - saved):
        status, message = "interrupted", INTERRUPTED
    began, last = (datetime.fromtimestamp(moment, timezone.utc) for moment in (started, saved))
    return RunSummary(id, name, status, message, began, last, steps, final_loss, _about(about), note)


def _about(text: str) -> dict[str, Any]:
    """What is known about a run; nothing where that is damaged, so that it can be shown and the others too."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def words_of(run: RunSummary) -> str:
    """All that a search looks into."""
    about = json.dumps(run.about, ensure_ascii=False)
    return f"{run.name} {run.note} {run.id} {about}".casefold()
