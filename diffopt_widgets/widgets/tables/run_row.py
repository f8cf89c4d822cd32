"""Contents of a run's row in the table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from diffopt_widgets.widgets.page.folders import without_folders

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.runs.shown import Shown

LONGEST_NAME = 200
NUMBERS = ("final_loss", "eval_after", "best_loss", "applied_plateau", "steps_per_second", "state_bytes")
"""Attributes of a Run that are numbers in its row."""


def row_of(run: Run, shown: Shown, best: str = "") -> dict[str, Any]:
    """Row as the page and observers see it: plain values; a missing or non-finite number is None.

    `best` says in what the run is the best; it is empty for others.
    """
    return {
        "key": run.key,
        "name": shown.name,
        "color": shown.color,
        "differs": shown.differs,
        "setting": shown.setting,
        "details": dict(shown.details),
        "visible": shown.visible,
        "best": best,
        "status": run.status,
        "message": without_folders(run.message),
        "progress": len(run.history) / run.plan.steps,
        **{name: _finite(getattr(run, name)) for name in NUMBERS},
        "cannot_remove": cannot_remove(run),
        "cannot_continue": cannot_continue(run),
    }


def cannot_remove(run: Run) -> str:
    """Reason why a run cannot be removed; empty when it can."""
    return "" if run.ended else _in_progress(run)


def cannot_continue(run: Run) -> str:
    """Reason why a run cannot continue where it ended; empty when it can."""
    if not run.ended:
        return _in_progress(run)
    if run.can_continue:
        return ""
    if run.status == "done":
        return "a finished run's schedule has ended"
    return "a failed run would fail again" if run.status == "failed" else "its model and optimizer were not kept"


def clean_name(text: str) -> str:
    """Put a name on one line, without spaces around it.

    Raises:
        ValueError: the name is empty or too long.

    >>> clean_name("  base   line ")
    'base line'
    """
    name = " ".join(text.encode("utf-8", "replace").decode().split())  # half of a surrogate pair cannot be sent
    if not name:
        raise ValueError("a run needs a name")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters, this one has {len(name)}")
    return name


def _in_progress(run: Run) -> str:
    return {"waiting": "it waits for its turn", "paused": "it is paused"}.get(run.status, "still running")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
