"""LoggedRun: a run of which only the history is known, from a store or from another tool's logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from diffopt_widgets.drawing.drawables import Drawn
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.records import History

if TYPE_CHECKING:
    import pandas as pd


@printed_readably
@dataclass(frozen=True, eq=False)
class LoggedRun(Drawn):
    """Record of a training that the bench did not do itself; `dw.compare` draws it beside others."""

    name: str
    history: History
    id: str = ""
    """Id in its store; empty when it is in none."""
    status: str = "done"
    message: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    started: datetime | None = None

    def __repr__(self) -> str:
        return f"<LoggedRun {self.name!r}: {self.status}, {len(self.history)} steps>"

    @property
    def plan(self) -> None:
        """None: it was not trained on the bench."""
        return

    @property
    def samples_per_step(self) -> None:
        """None: not known."""
        return

    @property
    def draws_schedule(self) -> bool:
        """True when the schedule's own value is drawn beside the applied rate."""
        return "d" in self.history.names()

    @property
    def eval_after(self) -> float | None:
        """Last evaluation loss of its history; None where there is none."""
        return _last(self.history, "eval_loss", 1)

    @property
    def final_loss(self) -> float | None:
        """Mean training loss of the last twentieth of its rows; None where there is none."""
        return _last(self.history, "loss", max(1, len(self.history) // 20))

    def to_frame(self) -> pd.DataFrame:
        """Return its history as a pandas DataFrame, one row per step.

        Raises:
            ImportError: pandas is not installed.
        """
        return self.history.to_frame()


def _last(history: History, column: str, rows: int) -> float | None:
    """Return the mean of the last known values of a column, of so many or as many as there are."""
    if column not in history.names():
        return None
    values = history.column(column)
    known = values[np.isfinite(values)][-rows:]
    return float(known.mean()) if len(known) else None
