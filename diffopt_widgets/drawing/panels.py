"""Which columns of a run are drawn where, and the colours of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a plot: the columns drawn there over the step."""

    key: str
    title: str
    columns: tuple[str, ...]
    """Columns of a History by their plain names; of a grouped one every group whose values differ."""
    scale: Scale = "linear"
    unit: str = ""
    smooth: bool = False
    """Draw the values faintly and their moving average over them."""
    dashed: tuple[str, ...] = ()
    """Columns drawn thin and dashed."""
    dotted: tuple[str, ...] = ()
    """Columns drawn thin and dotted."""
    optional: bool = False
    """Show the panel only while a run has one of its columns."""
    sparse: bool = False
    """Values come at some steps only, and the line goes on across the others; otherwise a step without one breaks it."""

    def dash(self, column: str) -> str:
        """How a column's line is drawn: `solid`, `dash` or `dot`."""
        return "dash" if column in self.dashed else "dot" if column in self.dotted else "solid"

    def schedule(self, column: str) -> bool:
        """Whether the column is the schedule's own value beside the applied rate: drawn only for runs that ask for it."""
        return column == "lr" and "applied_lr" in self.columns

    def to_json(self) -> dict[str, Any]:
        """What the page needs to know of the panel."""
        return {
            "key": self.key,
            "title": f"{self.title} ({self.unit})" if self.unit else self.title,
            "scale": self.scale,
            "smooth": self.smooth,
            "optional": self.optional,
            "sparse": self.sparse,
            "columns": [{"name": c, "dash": self.dash(c), "schedule": self.schedule(c)} for c in self.columns],
        }


LOSS = Panel("loss", "Training loss", ("loss",), smooth=True)
RATE = Panel("rate", "Applied learning rate", ("applied_lr", "lr"), scale="log", dashed=("lr",))
D = Panel("d", "Estimate d (dotted: raw d_hat)", ("d", "d_hat"), scale="log", dotted=("d_hat",), optional=True)
DEFAULT_PANELS = (LOSS, RATE, D)

TITLES = {
    "grad_norm": "Gradient norm",
    "update_rms": "Update RMS",
    "weight_norm": "Weight norm",
    "eval_loss": "Evaluation loss",
    "seconds": "Seconds",
}


def metric_panel(column: str, *, scale: Scale = "linear") -> Panel:
    """A panel of its own for one column, known or of anybody's naming; it shows while a run has that column.

    >>> metric_panel("grad_norm").title, metric_panel("val/mean_loss").title
    ('Gradient norm', 'val/mean loss')
    """
    title = TITLES.get(column, column.replace("_", " "))
    return Panel(column, title, (column,), scale=scale, optional=True, sparse=True)


PALETTE = ("#1B80C4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A", "#B03A7C")
"""Okabe and Ito's colours, which colour-blind people can tell apart (the blue a little lighter, for dark themes, and a dark
pink instead of their yellow, which white swallows); those that read best on both white and black come first."""


def next_color(used: Iterable[str]) -> str:
    """The first colour of the palette that is used least.

    >>> next_color(["#1B80C4"]), next_color(PALETTE)
    ('#D55E00', '#1B80C4')
    """
    taken = list(used)
    return min(PALETTE, key=taken.count)


def color_of(index: int) -> str:
    """The palette's colour for the index-th run; after the last it begins anew."""
    return PALETTE[index % len(PALETTE)]
