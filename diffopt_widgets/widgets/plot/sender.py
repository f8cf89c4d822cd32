"""Sender: rows of runs for the page of a plot, new ones and those that the page asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diffopt_widgets.widgets.plot.wire import Part, average, detail, messages, parts

if TYPE_CHECKING:
    from diffopt_widgets.drawing.panels import Panel
    from diffopt_widgets.records import History
    from diffopt_widgets.runs.shown import Shown

DETAIL_ROWS = 262_144
"""Largest number of rows of a run that are sent at once for a zoom."""
ALONG = frozenset({"seconds"})
"""Columns for the x axis, which are sent whatever is drawn."""


@dataclass(frozen=True)
class PlotRun:
    """Curves of a run in a plot; its name, colour and the like belong to `ShownRuns`."""

    number: int
    """Id of the run on the page. When a key is used again after removal, the new number keeps it apart from the old rows,
    and the page asks for all rows again."""
    key: str
    history: History
    schedule: bool
    samples_per_step: float | None = None
    total: int | None = None
    """Total number of its rows once it has ended, else None."""

    def to_json(self, shown: Shown) -> dict[str, Any]:
        """Return the facts that the page needs about the run."""
        return {
            "id": self.number,
            "key": self.key,
            "name": shown.name,
            "color": shown.color,
            "dash": shown.dash,
            "schedule": self.schedule,
            "visible": shown.visible,
            "details": dict(shown.details),
            "group": shown.group,
            "setting": shown.setting,
            "samples_per_step": self.samples_per_step,
            "total": self.total,
        }


class Sender:
    """Sends rows of runs: those not sent before, or those that the page asks for.

    It only remembers how many rows of each run were sent: the page asks for lost rows, which are in the History.
    """

    def __init__(self, send: Callable[[dict[str, Any], list[memoryview]], None]) -> None:
        self._send = send
        self._sent: dict[int, int] = {}
        self.columns: frozenset[str] = frozenset()
        """Columns that are drawn, by their plain names."""
        self._smooth: tuple[str, ...] = ()

    def draw(self, panels: Sequence[Panel]) -> None:
        """Send the columns of these panels from now on."""
        self.columns = frozenset(column for panel in panels for column in panel.columns)
        self._smooth = tuple(column for panel in panels if panel.smooth for column in panel.columns)

    def has_sent(self, run: PlotRun) -> bool:
        """Return whether any row of a run was sent."""
        return self._sent.get(run.number, 0) > 0

    def send_new(self, runs: Iterable[PlotRun], smoothing: float) -> None:
        """Send the rows that are new since the last time."""
        self._send_rows([(run, self._sent.get(run.number, 0), len(run.history)) for run in runs], smoothing)

    def send_all(self, runs: Iterable[PlotRun], smoothing: float) -> None:
        """Send every row, to a page that has none."""
        all_runs = list(runs)
        self._sent = {run.number: self._sent.get(run.number, 0) for run in all_runs}
        self._send_rows([(run, 0, len(run.history)) for run in all_runs], smoothing)

    def answer(self, run: PlotRun, message: Mapping[str, Any], smoothing: float) -> None:
        """Answer a request of the page about a run: lost rows, rows in view, or an average of another weight."""
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

    def _send_rows(self, ranges: Iterable[tuple[PlotRun, int, int]], smoothing: float) -> None:
        averages = dict.fromkeys(self._smooth, smoothing)
        columns = self.columns | ALONG
        for run, _, stop in (ranges := list(ranges)):
            self._sent[run.number] = max(self._sent.get(run.number, 0), stop)
        self._send_parts(
            part for run, a, b in ranges for part in parts(run.number, run.history, columns, averages, a, b)
        )

    def _send_parts(self, parts_: Iterable[Part]) -> None:
        for content, buffers in messages(parts_):
            self._send(content, buffers)
