"""RunsView: the runs of a bench wherever they are seen, in plots, table and samples, kept alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, Protocol

import ipywidgets as widgets

from diffopt_widgets.drawing.panels import D
from diffopt_widgets.widgets.bench.collection import Collection
from diffopt_widgets.widgets.bench.samples import SamplesView
from diffopt_widgets.widgets.page.html import paragraph
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.plot.saved import SavedPicture
from diffopt_widgets.widgets.tables.runs_table import RunsTable

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import OptimizerSpec
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import LoggedRun

P = ParamSpec("P")


class Guard(Protocol):
    """Makes of an action one that shows its errors to the person who asked for it."""

    def __call__(self, action: Callable[P, None]) -> Callable[P, None]:
        """The guarded action."""


class RunsView:
    """Plots, the line below them, table and samples of the same runs; what is done in one of them shows in all.

    Args:
        guard: put around every callback of the table.
        on_rename: called with a run that was given another name.
        on_repeat: called with a run that is to be trained once more.
        on_continue: called with a run that is to go on.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        on_rename: Callable[[Run], None],
        on_repeat: Callable[[Run], None],
        on_continue: Callable[[Run], None],
    ) -> None:
        self.plot = LivePlot()
        self.applied = widgets.HTML()
        self.table = RunsTable(
            on_rename=guard(self._rename),
            on_visible=guard(self._set_visible),
            on_remove=guard(self._remove),
            on_restore=guard(self._restore),
            on_repeat=guard(lambda key: on_repeat(self._find(key))),
            on_continue=guard(self._continue),
        )
        self.samples = SamplesView()
        self._collection = Collection()
        self._expected: OptimizerSpec | None = None
        self._saved = SavedPicture()
        mirror_legend = guard(self._mirror_legend)  # the plot may answer its page in another thread
        self._tell_renamed = on_rename
        self._tell_continue = on_continue
        self.plot.observe(lambda _: mirror_legend(), ["runs"])

    @property
    def runs(self) -> list[Run]:
        """The runs that are there, in the order in which they were started."""
        return self._collection.runs

    def add(self, run: Run, *, keep_name: bool = False) -> None:
        """Take a run in; unless its name is to be kept, it is named by what sets it apart from the others.

        Raises:
            ValueError: it is there already.
        """
        if run.key in self.table.names:
            raise ValueError(f"the run {run.name!r} is in the table already")
        self.expect(run.settings)
        self.table.add(run, self._collection.add(run, keep_name=keep_name))
        self._name_runs()

    def add_curves(self, run: LoggedRun) -> None:
        """Draw a run that was not trained on a bench; it has no settings to compare or repeat.

        Raises:
            ValueError: it is there already.
        """
        key = run.id or f"{id(run.history)}"
        self.plot.add_run(key, run.name, run.history, schedule=run.draws_schedule)
        self.plot.end_run(key)

    def changed(self, run: Run, *, over: bool) -> None:
        """Show a run that has new records or another status; `over` when it will have no more."""
        self._plot(run)
        if run.status == "failed":
            self.log_rate(on=True)  # the rate that made it diverge would flatten the others
        self.table.show(run)
        self._show_samples(run)
        if over and self.plot.has_run(run.key):
            self.plot.end_run(run.key)
            self._saved.update(self.plot)
        else:
            self.plot.refresh()

    def expect(self, settings: Settings) -> None:
        """Keep a place for what the first run of these settings will show, so that it moves nothing then."""
        self._expected = settings.spec
        self._keep_places()
        if not self.runs:
            self._say_what_is_applied([settings.spec])

    def log_rate(self, *, on: bool) -> None:
        """Whether the rates are drawn on a logarithmic axis."""
        self.plot.log = {**self.plot.log, "rate": on}

    def show_saved_picture(self) -> None:
        """Show, below the bench, what stays of the plots in a saved notebook."""
        self._saved.show()

    def _keep_places(self) -> None:
        """The plot of d has its place as soon as a run may have it, and as long as one has."""
        specs = (self._expected, *(run.settings.spec for run in self.runs))
        self.plot.expected = [D.key] if any(spec and spec.estimates_rate for spec in specs) else []

    def _name_runs(self) -> None:
        for run, differs in self._collection.name_by_difference():
            self.table.show(run)
            self._show_samples(run)
            self.table.set_differs(run.key, differs)
        self._mark_curves()

    def _mark_curves(self) -> None:
        """Tell the plot what sets the runs apart, which changes as others come."""
        for run, details, group in self._collection.marks():
            if self.plot.has_run(run.key):
                self.plot.rename_run(run.key, run.name, details=details, group=group)

    def _show_name(self, run: Run) -> None:
        self.table.show(run)
        self._show_samples(run)
        if self.plot.has_run(run.key):
            self.plot.rename_run(run.key, run.name)

    def _plot(self, run: Run) -> None:
        """Give a run its curves as soon as it has any."""
        if not run.history.groups or self.plot.has_run(run.key):
            return
        self.plot.add_run(
            run.key,
            run.name,
            run.history,
            color=self._collection.color(run),
            schedule=run.draws_schedule,
            visible=self.table.visible[run.key],
            samples_per_step=run.samples_per_step,
        )
        self._mark_curves()
        self._say_what_is_applied([run.settings.spec for run in self.runs])

    def _say_what_is_applied(self, specs: Sequence[OptimizerSpec]) -> None:
        """What the second plot shows, for each of these optimizers."""
        words = ". ".join(dict.fromkeys(f"{spec.title} applies {spec.rate_words}" for spec in specs))
        mixed = len({run.plan.task for run in self.runs}) > 1
        warning = " Losses of different tasks cannot be compared." if mixed else ""
        self.applied.value = paragraph(f"{words}.{warning}", "dw-about")

    def _show_samples(self, run: Run) -> None:
        self.samples.show(run, self._collection.color(run), visible=self.table.visible[run.key])

    def _mirror_legend(self) -> None:
        """A click in the legend hides a run too; table and samples follow."""
        for shown in self.plot.runs:
            key, visible = shown["key"], shown["visible"]
            if self.table.visible.get(key, visible) != visible:
                self.table.set_visible(key, visible)
                self._show_samples(self._find(key))

    def _rename(self, key: str, name: str) -> None:
        run = self._find(key)
        self._collection.rename(run, name)
        self._tell_renamed(run)
        self._show_name(run)
        self._saved.update(self.plot)

    def _set_visible(self, key: str, visible: bool) -> None:
        if self.plot.has_run(key):
            self.plot.set_visible(key, visible)
        self._show_samples(self._find(key))

    def _remove(self, key: str) -> None:
        self._collection.remove(self._find(key))
        self.samples.remove(key)
        if self.plot.has_run(key):
            self.plot.remove_run(key)
        self._keep_places()
        self._saved.update(self.plot)

    def _restore(self, key: str) -> None:
        self._collection.arrange(self.table.runs)
        self._name_runs()  # others may have come meanwhile
        back = self._find(key)
        self.changed(back, over=back.ended)

    def _continue(self, key: str) -> None:
        if self.plot.has_run(key):
            self.plot.resume_run(key)
        self._tell_continue(self._find(key))

    def _find(self, key: str) -> Run:
        return self._collection.find(key)
