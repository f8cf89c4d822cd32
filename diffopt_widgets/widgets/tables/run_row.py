"""What one row of the table says about a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run

LONGEST_NAME = 200
NUMBERS = ("final_loss", "eval_after", "best_loss", "applied_plateau", "steps_per_second", "state_bytes")
"""The numbers in a row, by the attributes of a Run."""


@dataclass(slots=True)
class Entry:
    """A run in the table, and what only the table knows of it."""

    run: Run
    color: str
    differs: str
    visible: bool


def row_of(entry: Entry) -> dict[str, Any]:
    """A row as the page and observers see it: plain values; a number that there is not, or not a finite one, is None."""
    run = entry.run
    return {
        "key": run.key,
        "name": run.name,
        "color": entry.color,
        "differs": entry.differs,
        "visible": entry.visible,
        "status": run.status,
        "message": run.message,
        "progress": len(run.history) / run.plan.steps,
        **{name: _finite(getattr(run, name)) for name in NUMBERS},
        "cannot_remove": cannot_remove(run),
        "cannot_continue": cannot_continue(run),
    }


def cannot_remove(run: Run) -> str:
    """Why a run must stay; empty when it may go."""
    return "" if run.ended else _in_progress(run)


def cannot_continue(run: Run) -> str:
    """Why a run cannot go on where it ended; empty when it can."""
    if not run.ended:
        return _in_progress(run)
    if run.can_continue:
        return ""
    if run.status == "done":
        return "a finished run's schedule has ended"
    return "what failed would fail again" if run.status == "failed" else "what it needs to go on was not kept"


def clean_name(text: str) -> str:
    """A name on one line, without blanks around it.

    Raises:
        ValueError: nothing is left, or it is too long.

    >>> clean_name("  base   line ")
    'base line'
    """
    name = " ".join(text.encode("utf-8", "replace").decode().split())  # half a surrogate pair could not be sent
    if not name:
        raise ValueError("a run needs a name")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters, this one has {len(name)}")
    return name


def _in_progress(run: Run) -> str:
    return {"waiting": "it waits for its turn", "paused": "it is paused"}.get(run.status, "still running")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
