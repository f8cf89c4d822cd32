"""`dw.watch`: a live plot, the rates that are really applied and a record, for your own training loop."""

from __future__ import annotations

import atexit
import functools
import math
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import uuid4

import numpy as np

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.drawing.curves import Curve
from diffopt_widgets.execution.driver import PUBLISH_SECONDS
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.rates.base import LastStep
from diffopt_widgets.rates.unwrap import hooked_optimizer
from diffopt_widgets.records import History
from diffopt_widgets.settings.arguments import check_kind, check_text, wrong_kind
from diffopt_widgets.watching.description import describe, title_of
from diffopt_widgets.watching.loop_checkpoint import EVERY, FOLDER, KEEP, LoopCheckpoints, LoopState
from diffopt_widgets.watching.panels import PANELS, extra_columns, panel_of
from diffopt_widgets.watching.step_recorder import StepRecorder
from diffopt_widgets.watching.warn_once import WarnOnce

if TYPE_CHECKING:
    from types import TracebackType

    import pandas as pd
    import torch
    from plotly.graph_objects import Figure
    from typing_extensions import Self

    from diffopt_widgets.records import Scalar
    from diffopt_widgets.store import RunStore, RunWriter
    from diffopt_widgets.watching.logged_values import Where
    from diffopt_widgets.widgets.plot.live import LivePlot

_SAME = ("optimizer", "parameters")
"""Facts that a training and the one it resumes have in common, beside the options."""
_LEFT = "momentum_after"
"""Fact about a run that has ended: the size of its optimizer's momentum, after which step."""
Status: TypeAlias = Literal["running", "done", "stopped", "failed"]


@printed_readably
class Watcher:
    """Watches your own training loop: the loss, the learning rates that are really applied, and every value you log.

    In a notebook a live plot appears; in a script nothing is shown. The optimizer's own hooks report the steps, so a step
    that a GradScaler skips does not count. The training waits for the device only about ten times a second, when the new
    records are fetched. Close the watch at the end, or use it in a `with` statement: then its hooks are removed from the
    optimizer.

    Args:
        optimizer: any torch optimizer, or one wrapped by accelerate, lightning or the like.
        scheduler: the optimizer's learning rate schedule. It is only noted, and must belong to this optimizer.
        model: gives names to parameter groups that have none, and is noted.
        names: names of the parameter groups, one for each.
        name: name of this run; by default the optimizer's class.
        measure: further measures: some of `grad_norm`, `weight_norm`, `update_rms`, `update_ratio` and `bf16_lost`.
            docs/watch.md says what each means and costs.
        every: measure only at every n-th step.
        start: number of steps taken before, when a training is resumed, or what `dw.resume_loop` returned. Some optimizers apply an average over the rates of past
            steps (docs/watch.md says which): it continues from the run of the same name in the `store`, if there is one that
            this training goes on from; what `dw.resume_loop` returned has it.
        samples_per_step: number of examples in a step; gives the plot an axis of samples.
        show: display the plot now; by default True in a notebook.
        plot: draw in this plot, such as that of an earlier watch.
        store: save the run in this `RunStore`, or the path of one; it then survives the kernel.
        about: further facts to save with it, as JSON values: batch size, data, a note.

    Raises:
        TypeError: the optimizer has no step hooks.
        ValueError: an argument cannot be used.
        StoreError: the run cannot be written to the store.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(3))
    >>> optimizer = torch.optim.AdamW([weight], lr=0.1)
    >>> with Watcher(optimizer, measure="grad_norm") as w:
    ...     for _ in range(3):
    ...         loss = weight.square().sum()
    ...         loss.backward()
    ...         optimizer.step()
    ...         optimizer.zero_grad()
    ...         w.log(loss=loss)
    >>> w, w.history
    (<Watcher 'AdamW': done, 3 steps>, History(3 steps: loss, lr, applied_lr, grad_norm, seconds))
    """

    def __init__(
        self,
        optimizer: object,
        scheduler: object | None = None,
        model: torch.nn.Module | None = None,
        names: Sequence[str] | None = None,
        *,
        name: str = "",
        measure: str | Iterable[str] = (),
        every: int = 1,
        start: int | LoopState = 0,
        samples_per_step: float | None = None,
        show: bool | None = None,
        plot: LivePlot | None = None,
        store: RunStore | str | os.PathLike[str] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        check_text("name", name, 'Write a name, such as "first try".')
        check_kind("about", about, (Mapping, type(None)), "a dict of facts", 'Write {"batch": 4}.')
        check_kind("show", show, (bool, type(None)), "True or False", "Write show=True, or leave it out.")
        if plot is not None and not hasattr(plot, "add_run"):
            raise wrong_kind("plot", plot, "a LivePlot", "Write plot=dw.LivePlot(), or leave it out.")
        resumed = start if isinstance(start, LoopState) else LoopState()
        start = start.step if isinstance(start, LoopState) else start
        hooked = hooked_optimizer(optimizer)
        facts = describe(hooked, scheduler, model)
        self.name = name or title_of(hooked)
        """Name of this run, in the legend and in the store."""
        self.status: Status = "running"
        self.message = ""
        """Text of the exception with which it failed."""
        self._warn = WarnOnce()
        self._left: dict[str, float] = {}
        self._writer: RunWriter | None = None
        self._checkpoints: LoopCheckpoints | None = None
        self._plot: LivePlot | None = None
        self._key = uuid4().hex[:12]
        self._samples_per_step = samples_per_step
        self._start = replace(resumed, step=start)
        self._recorder = StepRecorder(
            optimizer,
            names=names,
            model=model,
            measure=measure,
            every=every,
            start=start,
            seconds=PUBLISH_SECONDS,
            on_publish=self._on_publish,
        )
        try:
            if resumed.averages:
                self._recorder.restore(resumed.averages)
            elif store is not None and start and self._recorder.averages:
                self._recorder.recall(_last_steps(store, self.name, facts, start))
            if store is not None:
                self._writer = _begin(store, self.name, self._recorder.published, {**facts, **(about or {})})
            if plot is not None:
                self._draw_in(plot)
            if in_notebook() if show is None else show:
                self._show()
            if self._writer is not None:
                _open.add(self)
        except BaseException:
            self._end("stopped", "The watch was broken off before it began.")
            raise

    def __repr__(self) -> str:
        steps = self._recorder.steps
        return f"<Watcher {self.name!r}: {self.status}, {steps} step{'s' * (steps != 1)}>"

    # ------------------------------------------------------------------------------------------------ recording

    def log(self, values: Mapping[str, Scalar] | None = None, /, **more: Scalar) -> None:
        """Record values of the training by name, such as `w.log(loss=loss, accuracy=accuracy)`.

        A value is a number, or a tensor of one element, which is copied on its device without waiting. It may be logged
        before the optimizer's step or after it, at each step or seldom. Several values for one step, as in gradient
        accumulation, are averaged.

        A value belongs to the step just taken. If a name is logged before the first step and before the second one too, or
        several times between two steps, its values belong to the next step. Evaluations, whose names have a word such as
        `val`, `eval` or `test`, always belong to the step just taken. docs/watch.md has the whole rule; `log_at` is for
        loops that know the step.

        A value that cannot be recorded gives one warning and is left out; nothing is raised.

        Args:
            values: values by name, for names that Python does not allow as keywords, such as `{"val/loss": loss}`.
            more: values by name, as keywords.
        """
        self._recorder.log(values, **more)

    def log_at(self, step: Where, values: Mapping[str, Scalar]) -> None:
        """Record values of the step just taken ("last") or of the one that comes ("next"), whatever their names are.

        Values for the last step that are logged before the first one belong to the first step, unless the first step gets
        values of its own: then they are in `before_first_step`. Otherwise as `log`.

        Raises:
            ValueError: `step` is something else.

        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
        >>> with Watcher(optimizer) as w:
        ...     for _ in range(3):
        ...         optimizer.step()
        ...         w.log_at("last", {"accuracy": 0.5})
        ...         w.log_at("last", {"accuracy": 0.7})
        >>> w.history.column("accuracy").tolist()
        [0.6, 0.6, 0.6]
        """
        if not isinstance(step, str) or step not in {"last", "next"}:
            raise ValueError(
                f'step is {safe_repr(step)}; it must be "last", the step just taken, or "next", the one that comes'
            )
        self._recorder.log(values, step)

    def checkpoint(
        self,
        model: torch.nn.Module | Sequence[torch.nn.Module] | None = None,
        optimizer: object = None,
        scheduler: object | None = None,
        scaler: object | None = None,
        *,
        more: Mapping[str, Any] | None = None,
        folder: str | os.PathLike[str] = FOLDER,
        every: str = EVERY,
        keep: int = KEEP,
    ) -> None:
        """Save a checkpoint of your loop when one is due; call it at the end of each iteration.

        `dw.resume_loop` continues from the newest one, in another process too. A checkpoint holds the weights that the optimizer
        trains, the models' buffers, the state of optimizer, schedule and scaler, the global random states of Python, NumPy and torch, and `more`. Frozen weights
        are not in it. It is written in the background, beside its place and then renamed, so that what is there is whole. Where
        a disk fails, one warning says so, and the next checkpoint is tried as usual. The end of the watch saves the last state
        too. After Ctrl-C or an error it does so where the state of the last call could be copied: without a scaler, objects in
        `more` and large buffers, and unless a step was broken off in the middle.

        Args:
            model: the model, or several; their buffers are saved, and their names of the weights tell what differs later.
            optimizer: the optimizer that the loop steps; by default the watched one.
            scheduler: its schedule.
            scaler: the GradScaler, if there is one.
            more: the place in the data and other values that your loop needs, by name, such as `{"step": step}`; objects
                with `state_dict` and `load_state_dict` too.
            folder: where the checkpoints of this training are saved, such as a folder in your Drive.
            every: time or number of steps between two: "5 min", "30 s", "200 steps".
            keep: number of checkpoints that are kept. For `folder`, `every` and `keep` the first call counts.

        Raises:
            SettingsError: an argument cannot be used, or the folder has checkpoints of another training.

        >>> import tempfile, torch
        >>> folder = tempfile.mkdtemp()
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.AdamW(model.parameters())
        >>> with Watcher(optimizer) as w:
        ...     for step in range(5):
        ...         model(torch.ones(1, 2)).sum().backward()
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        ...         w.checkpoint(model, more={"step": step}, folder=folder, every="2 steps")
        >>> from diffopt_widgets import resume_loop
        >>> state = resume_loop(folder, model, optimizer)
        >>> state.step, state.more["step"]
        (5, 4)
        """
        if self._recorder.closed or self._recorder.forked:
            return
        if self._checkpoints is None:
            self._checkpoints = LoopCheckpoints(
                folder, every, keep, self._start, self._facts_of_checkpoint, self._warn_of_checkpoint
            )
            _open.add(self)  # its last state is saved at the end of the process too
        optimizer = self._recorder.optimizer if optimizer is None else optimizer
        self._checkpoints.note(self._recorder.calls, model, optimizer, scheduler, scaler, more)

    def _facts_of_checkpoint(self) -> tuple[int, Sequence[Any]]:
        history = self.history
        return int(history.step[-1]) if len(history) else self._start.step, self._recorder.saved_averages()

    def _warn_of_checkpoint(self, topic: str, text: str) -> None:
        self._warn(topic, f"{self.name!r}: {text}")

    @property
    def history(self) -> History:
        """Record up to now, by column; reading it waits for the device, and changes nothing.

        While the training runs it is a copy, since the last step may still get values; the same one until something new is
        recorded.
        """
        return self._recorder.history

    @property
    def before_first_step(self) -> dict[str, float]:
        """Evaluations before the first step, of names that were evaluated again after it."""
        return self._recorder.before

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the further measures."""
        return self._recorder.measures

    @property
    def closed(self) -> bool:
        """True when the watch has ended and its hooks are removed."""
        return self._recorder.closed

    def close(self) -> None:
        """End the watch: remove its hooks from the optimizer, and show and save the last records.

        Closing again does nothing, except to write to the store again if that failed before.
        """
        self._end("done", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end("done", "")
        elif isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            self._end("stopped", "")
        else:
            self._end("failed", f"{type(error).__name__}: {error}")

    def _end(self, status: Status, message: str) -> None:
        if self._recorder.forked:  # the run is that of another process, and so are its file and its plot
            self._recorder.close()
            return
        try:
            self._end_here(status, message)
        except KeyboardInterrupt:  # at any line; the store must not have it as running
            if self.status == "running":
                self.status, self.message = status, message
            if self._writer is not None:
                self._guarded("saving the end of the run", functools.partial(self._write_end, self._writer))
            raise

    def _end_here(self, status: Status, message: str) -> None:
        writer, again = self._writer, self._recorder.closed
        if not again:
            self.status, self.message = status, message
            try:
                if self._checkpoints is not None:
                    call = (
                        None if self._recorder.in_step else self._recorder.calls
                    )  # a step that was broken off is no state
                    last = functools.partial(self._checkpoints.finish, call, whole=status == "done")
                    self._guarded("saving the last checkpoint", last)
            finally:  # another Ctrl-C may end the wait for a disk
                self._recorder.close()
            self._check_end()
            if writer is not None:
                self._guarded("reading the momentum", self._note_momentum)
        if writer is not None and (writer.problem or not again):
            self._guarded("saving the end of the run", functools.partial(self._write_end, writer))
        if self._plot is not None and not again:
            self._guarded("showing the end of the run", self._finish_plot)

    def _note_momentum(self) -> None:
        """Note what the last step left, so that a training which is resumed knows the record that it continues."""
        size = self._recorder.momentum
        if size and math.isfinite(size):
            self._left = {"step": self._recorder.taken, "size": size}

    def _check_end(self) -> None:
        """Say what belongs to no step."""
        recorder = self._recorder
        if recorder.by_call and self.status == "done":
            steps = f"{recorder.taken} step{'s' * (recorder.taken != 1)}" if recorder.taken else "no step"
            self.message = f"{recorder.by_call} values were logged without a step. They are kept by call, in rows without learning rates"
            self._warn(
                "end without steps",
                f"the watch {self.name!r} has seen {steps} of its {type(recorder.optimizer).__name__}. {self.message}. To fix "
                "it: watch the optimizer whose step() the loop calls",
            )

    def _write_end(self, writer: RunWriter) -> None:
        if before := self.before_first_step:
            writer.describe(about={"before_first_step": before})
        if self._left:
            writer.describe(about={_LEFT: self._left})
        writer.end(self.status, self.message)
        if writer.problem:
            self._warn(
                "end",
                f"{self.name!r} has ended, but is not completely in its store; close() tries again. {writer.problem}",
            )

    # ------------------------------------------------------------------------------------------------ showing

    @property
    def plot(self) -> LivePlot:
        """Live plot, made at the first access."""
        if self._plot is None:
            from diffopt_widgets.widgets.plot.live import LivePlot

            self._draw_in(LivePlot(PANELS, hint="Loss and applied learning rate appear here with the first steps"))
        assert self._plot is not None  # noqa: S101  # _draw_in has put it there
        return self._plot

    def figure(self) -> Figure:
        """Return the curves up to now as an ordinary plotly figure."""
        from diffopt_widgets.drawing.figures import figure

        history = self.history
        panels = (*PANELS, *map(panel_of, extra_columns(history)))
        return figure([Curve(self.name, history, schedule=self._recorder.estimates)], panels)

    def to_frame(self) -> pd.DataFrame:
        """Return the record as a pandas DataFrame, one row per step.

        Raises:
            ImportError: pandas is not installed.
        """
        return self.history.to_frame()

    def _ipython_display_(self) -> None:
        self._show()

    def _show(self) -> None:
        from IPython.display import display

        display(self.plot)

    def _draw_in(self, plot: LivePlot) -> None:
        plot.add_run(
            self._key,
            self.name,
            self._recorder.published,
            schedule=self._recorder.estimates,
            samples_per_step=self._samples_per_step,
        )
        self._plot = plot
        self._add_panels(self._recorder.measures)

    def _on_publish(self) -> None:
        """Save and draw the new rows of the history."""
        if self._writer is not None:
            self._guarded("saving the run", self._writer.save)
            if not self._writer.may_show():
                return
        if self._plot is not None:
            self._guarded("drawing", self._refresh)

    def _refresh(self) -> None:
        self._add_panels(extra_columns(self._recorder.published))
        self.plot.refresh()

    def _add_panels(self, columns: Iterable[str]) -> None:
        for column in columns:
            if not self.plot.has_panel(column):
                self.plot.add_panel(panel_of(column))

    def _finish_plot(self) -> None:
        self._refresh()
        self.plot.end_run(self._key)
        self.plot.freeze()

    def _guarded(self, activity: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  # a display or a disk that fails must not end the training
            text = f"the watch had trouble {activity}; the training goes on. {type(error).__name__}: {error}"
            self._warn(activity, text)


watch = Watcher

_open: weakref.WeakSet[Watcher] = weakref.WeakSet()
"""Watches with a store that may still be open."""


@atexit.register
def _end_open() -> None:
    """Save the last records of watches that nobody has closed: the process ends, and whether the training did is not known."""
    for watcher in tuple(_open):
        if not watcher.closed:
            watcher._end("stopped", "The process ended before the watch was closed.")  # noqa: SLF001  # of this module


def in_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel, which can display a plot."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def _last_steps(
    store: RunStore | str | os.PathLike[str], name: str, facts: Mapping[str, Any], step: int
) -> list[LastStep]:
    """Find what earlier runs of this name, with this optimizer, have recorded of a step."""
    from diffopt_widgets.store import RunStore, StoreError

    found = []
    try:
        store = store if isinstance(store, RunStore) else RunStore(store)
        for run in store.list():
            if run.name != name or not _alike(run.about, facts):
                continue
            history, left = store.load(run.id).history, run.about.get(_LEFT)
            rows = np.flatnonzero(history.step == step)
            if len(rows) and "applied_lr" in history.names():
                row = {
                    key: history.column(key)[rows[-1]] for key in ("applied_lr", "d", "d_hat") if key in history.names()
                }
                estimates = _finite(row.get("d")), _finite(row.get("d_hat"))
                size = left.get("size") if isinstance(left, Mapping) and left.get("step") == step else None
                found.append(LastStep(tuple(row["applied_lr"].tolist()), *estimates, size))
    except (StoreError, KeyError):  # another process may remove a run; whether the store can be written is seen next
        return []
    return found


def _alike(about: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Return whether an earlier run had this optimizer, with these options.

    Loading a state may add an option with its default, so those count that both have.
    """
    old, new = about.get("options"), facts["options"]
    if not isinstance(old, Mapping) or any(about.get(key) != facts[key] for key in _SAME):
        return False
    return all(old[name] == new[name] for name in old.keys() & new.keys())


def _finite(value: Any) -> float | None:  # Any: numpy's numbers
    return float(value) if value is not None and np.ndim(value) == 0 and np.isfinite(value) else None


def _begin(
    store: RunStore | str | os.PathLike[str], name: str, history: History, about: Mapping[str, Any]
) -> RunWriter:
    from diffopt_widgets.store import RunStore

    return (store if isinstance(store, RunStore) else RunStore(store)).begin(name, history, about)
