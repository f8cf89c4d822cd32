"""LivePlot: curves that grow during the training, in any notebook.

Python sends new rows in one message of about a kilobyte, at most ten times a second, and the page keeps them. Messages can
get lost, so each one says which rows it holds: the page sees a gap and asks for it, and after a reload it asks for
everything. Requests are answered in the same way in every case (`_answer`).

Some kernels handle the page's messages in a thread of their own while a cell trains, and some people train in a thread. So
one lock protects the state of the plot. The history needs none: its rows never change.
"""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from numbers import Real
from pathlib import Path
from typing import Any
from uuid import uuid4

import ipywidgets
import traitlets

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.drawing.curves import Curve
from diffopt_widgets.drawing.exports import Exports
from diffopt_widgets.drawing.panels import DEFAULT_PANELS, Panel, next_color, next_dash
from diffopt_widgets.drawing.plotly_js import plotly_bytes
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.records import History
from diffopt_widgets.runs.shown import Shown, ShownRuns
from diffopt_widgets.settings.arguments import check_flag, check_kind, check_number, check_text, checked_list
from diffopt_widgets.widgets.page.page_widget import PageWidget
from diffopt_widgets.widgets.plot.bundle import PlotlyBundle, shared_bundle
from diffopt_widgets.widgets.plot.saved import PlotDisplay
from diffopt_widgets.widgets.plot.sender import PlotRun, Sender

FLUSH_SECONDS = 0.1
"""Shortest time between two messages; the Jupyter server drops messages when there are too many."""


@printed_readably
class LivePlot(PageWidget, Exports):
    """Loss, applied learning rate and d of runs, drawn while they train.

    The plot shares each run's History and never copies it: append to the history, then call `refresh()`. Names, colours and
    what is hidden belong to `shown`, which the plot paints; a click in the legend goes there too.

    Args:
        panels: what is drawn.
        smoothing: how much the loss is smoothed, 0 (off) to below 1, as in `drawing.curves.smooth`.
        height: of one row of panels, in pixels; by default as the window has room.
        shown: the owner of how runs are shown, where others paint them too; one of its own by default.

    >>> from diffopt_widgets.records import History, StepRecord
    >>> plot, history = LivePlot(), History(("unet",))
    >>> plot.add_run("a", "PRODIGY d_coef 0.5", history, schedule=True)
    >>> history.extend([StepRecord(1, 0.1, loss=2.0, lr=(1.0,), applied_lr=(1e-6,), d=1e-6)])
    >>> plot.refresh()
    >>> plot.end_run("a")
    """

    FOLDER = Path(__file__).parent / "static"
    ANY_THREAD = True
    SCRIPTS = (
        *("column.js", "smooth.js", "run_rows.js", "asking.js", "feed.js"),  # data
        *("format.js", "layout.js", "picture.js", "zoom.js", "plotly.js", "save.js"),  # drawing
        *("dom.js", "legend.js", "bar.js", "keys.js", "live.js"),  # controls
    )
    STYLES = ("live.css",)
    _bundle = traitlets.Instance(PlotlyBundle).tag(sync=True, **ipywidgets.widget_serialization)
    _panels: Any = traitlets.List().tag(sync=True)
    plot_id = traitlets.Unicode().tag(sync=True)
    """Id by which its saved picture refers to this plot."""
    runs: Any = traitlets.List().tag(sync=True)
    """Runs as the page has them: dicts with key, name, color, visible and more; observe it, do not set it."""
    smoothing = traitlets.Float(0.9, min=0.0, max=0.999).tag(sync=True)
    """How much the loss is smoothed, 0 (off) to below 1; the page's slider sets it too. The line is the mean of each value and as
    many before as after it: 19 values at 0.9, 199 at 0.99, as many as an exponential average of this weight is worth."""
    x: Any = traitlets.Enum(("step", "time", "samples"), "step").tag(sync=True)
    """Unit of the x axis: `"step"`, `"time"` (training time in seconds) or `"samples"` (examples seen). Runs without known
    values of it are left out."""
    log = traitlets.Dict().tag(sync=True)
    """True for each panel with a logarithmic axis, by the panel's key (`"loss"`, `"eval_loss"`, `"rate"`, `"group_rate"`, `"d"`)."""
    height = traitlets.Int(None, min=120, allow_none=True).tag(sync=True)
    """Height of one row of panels, in pixels; None: as the window has room."""
    expected: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    """Keys of optional panels (`"d"`) that get their place before a run has such values, so that nothing moves later."""
    hint = traitlets.Unicode("Press Run: loss and applied learning rate appear here").tag(sync=True)
    """Text of the empty plot."""

    def __init__(
        self,
        panels: Sequence[Panel] = DEFAULT_PANELS,
        *,
        smoothing: float = 0.9,
        height: int | None = None,
        shown: ShownRuns | None = None,
        **traits: Any,
    ) -> None:
        self.panels = tuple(
            checked_list("panels", panels, ("key", "columns"), "panels", "Write drawing.panels.metric_panel(…).")
        )
        check_number("smoothing", smoothing)
        self.shown = ShownRuns() if shown is None else shown
        """The owner of the runs' names, colours and what is hidden."""
        self._lock = threading.RLock()
        self._by_key: Mapping[str, PlotRun] = {}
        self._sender = Sender(lambda content, buffers: self.send(content, buffers))  # noqa: PLW0108  # may be replaced
        self._sender.draw(self.panels)
        self._numbers = count(1)
        self._flushed = -FLUSH_SECONDS
        self.heading = tuple
        self.png: bytes | None = None
        """Picture that the page made of the plot when the last run ended."""
        super().__init__(
            _bundle=shared_bundle(),
            plot_id=uuid4().hex[:12],
            _panels=[panel.to_json() for panel in panels],
            log={panel.key: panel.scale == "log" for panel in panels},
            smoothing=smoothing,
            height=height,
            **traits,
        )
        self._display = PlotDisplay(self)
        self.shown.observe(self._paint)
        self.on_msg(self._answer)

    def __repr__(self) -> str:
        count = len(self._by_key)
        return f"LivePlot({count} run{'s' * (count != 1)})"

    def add_run(
        self,
        key: str,
        name: str,
        history: History,
        *,
        color: str | None = None,
        schedule: bool = False,
        visible: bool = True,
        details: Mapping[str, str] | None = None,
        group: str = "",
        setting: str = "",
        samples_per_step: float | None = None,
    ) -> None:
        """Add a run; its history may already have rows.

        Args:
            key: identifies the run in later calls.
            name: shown in the legend, as plain text.
            history: shared with the caller, who appends to it.
            color: any CSS colour; by default the one of the palette that is used least.
            schedule: draw the schedule's own value beside the applied rate.
            visible: show it at first.
            details: the settings in which it differs from the others, shown with its values under the pointer.
            group: runs of one group are listed together in the legend, such as those with the same value of an option.
            setting: runs of one setting differ by their seed only: they are one line, their median, and a band, their range.
            samples_per_step: number of examples in a step, for the axis of samples.

        Raises:
            ValueError: there is already a run with this key, `color` is no colour, or `samples_per_step` is not above 0.
        """
        check_text("key", key, 'Write a text that no other run has, such as "a".')
        check_text("name", name, 'Write a name for the legend, such as "first try".')
        check_kind("history", history, History, "a History", "Give run.history.")
        check_kind("color", color, (str, type(None)), "a CSS colour", 'Write color="#1f77b4", or leave it out.')
        check_kind("details", details, (Mapping, type(None)), "a dict of texts", 'Write {"d_coef": "0.5"}.')
        check_text("group", group, 'Write a text, such as "d_coef 0.5".')
        check_text("setting", setting, 'Write a text, such as "d_coef 0.5".')
        check_flag("schedule", schedule)
        check_flag("visible", visible)
        _check_samples_per_step(samples_per_step)
        with self._lock:
            if key in self.shown.now:
                raise ValueError(f"there is already a run with the key {key!r}: choose another or remove_run({key!r})")
            now = self.shown.now.values()
            looks = [(run.color, run.dash) for run in now]
            mate = next((run for run in now if setting and run.setting == setting), None)
            color = color or (mate.color if mate else next_color(other for other, _ in looks))
            dash = mate.dash if mate else next_dash(color, looks)
            more: dict[str, Any] = {"details": details or {}, "group": group, "setting": setting, "dash": dash}
            self.shown.add(Shown(key, name, color, visible, **more))
            self.draw_run(key, history, schedule=schedule, samples_per_step=samples_per_step)

    def draw_run(
        self, key: str, history: History, *, schedule: bool = False, samples_per_step: float | None = None
    ) -> None:
        """Add the curves of a run that `shown` has already; the arguments are as in `add_run`.

        Raises:
            KeyError: `shown` has no such run.
            ValueError: its curves are drawn already, or `samples_per_step` is not above 0.
        """
        check_text("key", key, "Write the key of a run that `shown` has.")
        check_kind("history", history, History, "a History", "Give run.history.")
        check_flag("schedule", schedule)
        _check_samples_per_step(samples_per_step)
        with self._lock:
            if key in self._by_key:
                raise ValueError(f"the run with the key {key!r} is drawn already")
            if key not in self.shown.now:
                raise KeyError(f"`shown` has no run with the key {safe_repr(key)}; add_run() adds one")
            run = PlotRun(next(self._numbers), key, history, schedule, samples_per_step)
            self._set_runs({**self._by_key, key: run})
        self.refresh()

    def add_panel(self, panel: Panel) -> None:
        """Add a panel below the others, for a column that appeared during the training; `panels.metric_panel` makes one.

        Rows that the page already has are sent again if they have values for it.

        >>> from diffopt_widgets.drawing.panels import metric_panel
        >>> plot = LivePlot()
        >>> plot.add_panel(metric_panel("grad_norm", scale="log"))
        >>> [panel.key for panel in plot.panels]
        ['loss', 'eval_loss', 'rate', 'group_rate', 'd', 'grad_norm']

        Raises:
            ValueError: there is already a panel with this key.
        """
        check_kind("panel", panel, Panel, "a panel", 'Write drawing.panels.metric_panel("grad_norm").')
        with self._lock:
            if self.has_panel(panel.key):
                raise ValueError(f"there is already a panel with the key {panel.key!r}: give this one another key")
            new = set(panel.columns) - self._sender.columns
            self.panels += (panel,)
            self._sender.draw(self.panels)
            self._panels = [other.to_json() for other in self.panels]
            self.log = {**self.log, panel.key: panel.scale == "log"}
            incomplete = {
                key: replace(run, number=next(self._numbers))
                for key, run in self._by_key.items()
                if self._sender.has_sent(run) and new.intersection(run.history.names())
            }
            self._set_runs({**self._by_key, **incomplete})
            self._sender.send_new(self._by_key.values(), self.smoothing)

    def has_panel(self, key: str) -> bool:
        """Return whether there is a panel with this key."""
        return any(panel.key == key for panel in self.panels)

    def has_run(self, key: str) -> bool:
        """Return whether a run with this key was added and not removed."""
        return key in self._by_key

    def refresh(self, *, final: bool = False) -> None:
        """Send new rows to the page.

        This sends at most ten times a second: a call in between does nothing, and its rows go with the next call, or when
        the page asks after two seconds without a message. `final=True` sends at once.
        """
        check_flag("final", final)
        with self._lock:
            now = time.monotonic()
            if not final and now - self._flushed < FLUSH_SECONDS:
                return
            self._flushed = now
            self._sender.send_new((run for run in self._by_key.values() if run.total is None), self.smoothing)

    def end_run(self, key: str) -> None:
        """Send the last rows of a run and its total number of rows, so that the page asks for lost ones."""
        self.refresh(final=True)
        self._change(key, total=len(self._run(key).history))

    def resume_run(self, key: str) -> None:
        """Accept rows again for a run that had ended."""
        self._change(key, total=None)

    def rename_run(
        self, key: str, name: str, *, details: Mapping[str, str] | None = None, group: str | None = None
    ) -> None:
        """Give a run another name and, if given, other details and another group, as in `add_run`."""
        changes = {"name": name, "details": details, "group": group}
        self._run(key)
        check_text("name", name, 'Write a name for the legend, such as "first try".')
        check_kind("details", details, (Mapping, type(None)), "a dict of texts", 'Write {"d_coef": "0.5"}.')
        check_kind("group", group, (str, type(None)), "a text", 'Write a text, such as "d_coef 0.5".')
        self.shown.change(key, **{field: value for field, value in changes.items() if value is not None})

    def set_visible(self, key: str, visible: bool) -> None:
        """Show or hide a run, as a click on its name in the legend does."""
        self._run(key)
        check_flag("visible", visible)
        self.shown.change(key, visible=visible)

    def remove_run(self, key: str) -> None:
        """Remove a run's curves; the others keep their colours."""
        self._run(key)
        self.shown.remove(key)  # and so its curves go

    def curves(self) -> list[Curve]:
        """Return the runs that are shown, for `drawing.figures`."""
        now = self.shown.now
        return [
            Curve(
                one.name, run.history, one.color, one.dash, run.schedule, one.details, run.samples_per_step, one.setting
            )
            for run in self._by_key.values()
            if (one := now.get(run.key)) and one.visible
        ]

    def freeze(self) -> None:
        """Replace the displayed plot by a picture that a saved notebook keeps; call it when the last run has ended.

        This works for a plot that was displayed alone, not inside another widget.
        """
        self._display.freeze()

    def _ipython_display_(self, **_: Any) -> None:
        self._display.show()

    def _run(self, key: str) -> PlotRun:
        if not isinstance(key, str) or key not in self._by_key:
            known = ", ".join(map(repr, self._by_key)) or "none yet"
            raise KeyError(f"this plot has no run with the key {safe_repr(key)}; it has {known}")
        return self._by_key[key]

    def _change(self, key: str, **changes: Any) -> None:
        with self._lock:
            self._set_runs({**self._by_key, key: replace(self._run(key), **changes)})

    def _paint(self) -> None:
        """Paint what `shown` has now; the curves of a run that is not there any more go."""
        with self._lock:
            self._set_runs(self._by_key)

    def _set_runs(self, by_key: Mapping[str, PlotRun]) -> None:
        now = self.shown.now
        self._by_key = {key: run for key, run in by_key.items() if key in now}
        self.runs = [run.to_json(now[key]) for key, run in self._by_key.items()]

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        with self._lock:
            super()._handle_msg(msg)

    def _answer(self, _: Any, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer a message of the page."""
        kind = message.get("k")
        run = next((run for run in self._by_key.values() if run.number == message.get("id")), None)
        if kind == "hello":
            self.send_state(["runs", "_panels"])
            self._sender.send_all(self._by_key.values(), self.smoothing)
        elif kind in {"resync", "detail", "average"} and run is not None:
            if kind == "resync" and run.total is not None:
                self.send_state("runs")
            self._sender.answer(run, message, self.smoothing)
        elif kind == "visible" and run is not None:
            self.set_visible(run.key, bool(message["visible"]))
        elif kind == "echo":
            self.send({"k": "echo", "q": message["q"]})
        elif kind == "bundle":
            self.send({"k": "bundle", "data": base64.b64encode(plotly_bytes()).decode("ascii")})
        elif kind == "png" and buffers:
            self.png = bytes(buffers[0])
            self._display.picture_arrived()


def _check_samples_per_step(samples_per_step: float | None) -> None:
    if samples_per_step is None:
        return
    if (
        not isinstance(samples_per_step, Real)
        or isinstance(samples_per_step, bool)
        or not 0 < samples_per_step < math.inf
    ):
        raise ValueError(
            f"samples_per_step is {safe_repr(samples_per_step)}; it must be above 0, or None if it is not known"
        )
