"""What of its runs a plot has sent to the page, and what it answers when the page asks for more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diffopt_widgets.widgets.plot.wire import Part, average, detail, messages, parts

if TYPE_CHECKING:
    from diffopt_widgets.drawing.panels import Panel
    from diffopt_widgets.records import History

DETAIL_ROWS = 262_144
"""Most rows of a run that are sent at once for a zoom."""
ALONG = frozenset({"seconds"})
"""Columns by which rows have their place along, whatever is drawn."""


@dataclass(frozen=True)
class PlotRun:
    """A run as the plot has it."""

    number: int
    """Names the run to the page. A key that is used again after removal must not meet the old rows; with a new number
    the page asks for all rows again."""
    key: str
    name: str
    history: History
    color: str
    schedule: bool
    visible: bool = True
    details: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    samples_per_step: float | None = None
    total: int | None = None
    """How many rows it has in all, once it has ended."""

    def to_json(self) -> dict[str, Any]:
        """What the page needs to know of the run."""
        return {
            "id": self.number,
            "key": self.key,
            "name": self.name,
            "color": self.color,
            "schedule": self.schedule,
            "visible": self.visible,
            "details": dict(self.details),
            "group": self.group,
            "samples_per_step": self.samples_per_step,
            "total": self.total,
        }


class Sender:
    """Sends rows of runs, those that were not sent before or those that are asked for.

    Nothing is kept but how many rows of each run were sent: what the page misses it asks for, and finds in the History.
    """

    def __init__(self, send: Callable[[dict[str, Any], list[memoryview]], None]) -> None:
        self._send = send
        self._sent: dict[int, int] = {}
        self.columns: frozenset[str] = frozenset()
        """Columns that are drawn, by their plain names."""
        self._smooth: tuple[str, ...] = ()

    def draw(self, panels: Sequence[Panel]) -> None:
        """Send what these panels draw from now on."""
        self.columns = frozenset(column for panel in panels for column in panel.columns)
        self._smooth = tuple(column for panel in panels if panel.smooth for column in panel.columns)

    def has_sent(self, run: PlotRun) -> bool:
        """Whether any row of a run was sent."""
        return self._sent.get(run.number, 0) > 0

    def send_new(self, runs: Iterable[PlotRun], smoothing: float) -> None:
        """Send the rows that came since the last time."""
        self._send_rows([(run, self._sent.get(run.number, 0), len(run.history)) for run in runs], smoothing)

    def send_all(self, runs: Iterable[PlotRun], smoothing: float) -> None:
        """Send every row, to a page that has none."""
        found = list(runs)
        self._sent = {run.number: self._sent.get(run.number, 0) for run in found}
        self._send_rows([(run, 0, len(run.history)) for run in found], smoothing)

    def answer(self, run: PlotRun, message: Mapping[str, Any], smoothing: float) -> None:
        """Send what the page asks for of a run: lost rows, rows that are in sight, or an average of another weight."""
        kind, length = message["k"], len(run.history)
        if kind == "resync":
            stop = length if message["to"] is None else min(message["to"], length)
            self._send_rows([(run, max(0, message["from"]), stop)], smoothing)
        elif kind == "detail":
            start = max(0, message["from"])
            stop = min(message["to"], length, start + DETAIL_ROWS)
            self._send_parts(detail(run.number, run.history, self.columns | ALONG, start, stop))
        elif kind == "average" and message["name"] in run.history.names() and 0 < message["beta"] < 1:
            self._send_parts([average(run.number, run.history, message["name"], message["beta"])])

    def _send_rows(self, wanted: Iterable[tuple[PlotRun, int, int]], smoothing: float) -> None:
        averages = dict.fromkeys(self._smooth, smoothing)
        columns = self.columns | ALONG
        for run, _, stop in (wanted := list(wanted)):
            self._sent[run.number] = max(self._sent.get(run.number, 0), stop)
        self._send_parts(
            part for run, a, b in wanted for part in parts(run.number, run.history, columns, averages, a, b)
        )

    def _send_parts(self, found: Iterable[Part]) -> None:
        for content, buffers in messages(found):
            self._send(content, buffers)
