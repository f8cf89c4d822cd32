"""Panels of a plot, each with the columns that it draws, and the colours of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Panel:
    """One pair of axes of a plot, with the columns drawn there."""

    key: str
    title: str
    columns: tuple[str, ...]
    """Columns of a History by their plain names; a column per group has a line for each group whose values differ."""
    scale: Scale = "linear"
    unit: str = ""
    smooth: bool = False
    """Draw the values faintly, and their centred mean over them."""
    dashed: tuple[str, ...] = ()
    """Columns drawn thin and dashed."""
    dotted: tuple[str, ...] = ()
    """Columns drawn thin and dotted."""
    optional: bool = False
    """Show the panel only while a run has one of its columns."""
    sparse: bool = False
    """Only some steps have values, and the line crosses the others; if False, a step without a value breaks the line."""
    unless: str = ""
    """Leave out runs that have this column: the panel stands in for the one that begins with it."""

    def dash(self, column: str) -> str:
        """Return the line style of a column: `dash` or `dot`; `solid` for one that is drawn in the run's own style."""
        return "dash" if column in self.dashed else "dot" if column in self.dotted else "solid"

    def schedule(self, column: str) -> bool:
        """Return whether the column is the schedule's own value beside the applied rate, which only some runs show."""
        return column == "lr" and "applied_lr" in self.columns

    def to_json(self) -> dict[str, Any]:
        """Return the facts that the page needs about the panel."""
        return {
            "key": self.key,
            "title": f"{self.title} ({self.unit})" if self.unit else self.title,
            "scale": self.scale,
            "smooth": self.smooth,
            "optional": self.optional,
            "sparse": self.sparse,
            "unless": self.unless,
            "columns": [{"name": c, "dash": self.dash(c), "schedule": self.schedule(c)} for c in self.columns],
        }


LOSS = Panel("loss", "Training loss", ("loss",), smooth=True)
EVALUATION = Panel("eval_loss", "Evaluation loss", ("eval_loss",), optional=True, sparse=True)
RATE = Panel("rate", "Applied learning rate", ("applied_lr", "lr"), scale="log", dashed=("lr",))
GROUP_RATE = Panel(
    "group_rate",
    "Group's learning rate; what is applied is not known",
    ("lr",),
    scale="log",
    optional=True,
    unless="applied_lr",
)
"""Panel of runs whose optimizer applies nobody knows which rate, so that its rate is not taken for the applied one."""
D = Panel("d", "Estimate d (dotted: d_hat)", ("d", "d_hat"), scale="log", dotted=("d_hat",), optional=True)
DEFAULT_PANELS = (LOSS, EVALUATION, RATE, GROUP_RATE, D)

TITLES = {
    "grad_norm": "Gradient norm",
    "update_rms": "Update RMS",
    "weight_norm": "Weight norm",
    "eval_loss": "Evaluation loss",
    "seconds": "Seconds",
}


def metric_panel(column: str, *, scale: Scale = "linear") -> Panel:
    """Make a panel for one column, a standard one or any metric; it is shown while a run has that column.

    >>> metric_panel("grad_norm").title, metric_panel("val/mean_loss").title
    ('Gradient norm', 'val/mean loss')
    """
    title = TITLES.get(column, column.replace("_", " "))
    return Panel(column, title, (column,), scale=scale, optional=True, sparse=True)


PALETTE = ("#1B80C4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A", "#B03A7C")
"""Okabe and Ito's colours, which colour-blind people can tell apart. The blue is a little lighter, for dark themes, and a
dark pink replaces their yellow, which is hard to see on white. The colours that read best on both white and black come
first."""


DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Line styles that tell runs of one colour apart, by Plotly's names."""


def next_color(used: Iterable[str]) -> str:
    """Return the colour of the palette that is used least, the first of several.

    >>> next_color(["#1B80C4"]), next_color(PALETTE)
    ('#D55E00', '#1B80C4')
    """
    taken = list(used)
    return min(PALETTE, key=taken.count)


def next_dash(color: str, used: Iterable[tuple[str, str]]) -> str:
    """Return the line style that is used least with a colour, the first of several.

    >>> next_dash("red", [("red", "solid"), ("blue", "solid"), ("blue", "dash")])
    'dash'

    Args:
        color: colour of the new run.
        used: colour and line style of each run so far.
    """
    taken = [dash for other, dash in used if other == color]
    return min(DASHES, key=taken.count)
