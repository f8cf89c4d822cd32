"""RunsView: the runs of a bench wherever they are seen: plots, table and samples paint what one collection has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, Protocol

import ipywidgets as widgets

from diffopt_widgets.drawing.panels import D
from diffopt_widgets.runs.collection import Collection
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
    """Plots, the line below them, table and samples of the same runs.

    What is done in one of them goes to the collection that owns the runs, and all paint what it has then.

    Args:
        guard: put around every callback.
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
        self._collection = Collection(compares=True)
        self.plot = LivePlot(shown=self._collection.shown)
        self.applied = widgets.HTML()
        self.table = RunsTable(
            collection=self._collection,
            on_rename=guard(self._renamed),
            on_remove=guard(self._removed),
            on_restore=guard(self._restored),
            on_repeat=guard(lambda key: on_repeat(self._collection.find(key))),
            on_continue=guard(self._continue),
        )
        self.samples = SamplesView()
        self._expected: OptimizerSpec | None = None
        self._saved = SavedPicture()
        self._tell_renamed = on_rename
        self._tell_continue = on_continue
        self._collection.shown.observe(guard(self._paint_samples))  # a click in the legend may come in another thread

    @property
    def runs(self) -> list[Run]:
        """The runs that are there, in the order in which they were started."""
        return list(self._collection.runs)

    def add(self, run: Run, *, keep_name: bool = False) -> None:
        """Take a run in; unless its name is to be kept, it is named by what sets it apart from the others.

        Raises:
            ValueError: it is there already.
        """
        first = not self.runs
        self._collection.add(run, keep_name=keep_name)
        self._expected = run.settings.spec
        self._keep_places()
        if first:
            self._say_what_is_applied([run.settings.spec])

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
        self._paint_samples_of(run)
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

    def _plot(self, run: Run) -> None:
        """Give a run its curves as soon as it has any."""
        if not run.history.groups or self.plot.has_run(run.key):
            return
        self.plot.draw_run(run.key, run.history, schedule=run.draws_schedule, samples_per_step=run.samples_per_step)
        self._say_what_is_applied([run.settings.spec for run in self.runs])

    def _say_what_is_applied(self, specs: Sequence[OptimizerSpec]) -> None:
        """What the second plot shows, for each of these optimizers."""
        words = ". ".join(dict.fromkeys(f"{spec.title} applies {spec.rate_words}" for spec in specs))
        mixed = len({run.plan.task for run in self.runs}) > 1
        warning = " Losses of different tasks cannot be compared." if mixed else ""
        self.applied.value = paragraph(f"{words}.{warning}", "dw-about")

    def _paint_samples(self) -> None:
        """Paint the samples of the runs as they are shown now; those of a run that is not there any more go."""
        for key in self.samples.strips.keys() - {run.key for run in self.runs}:
            self.samples.remove(key)
        for run in self.runs:
            self._paint_samples_of(run)

    def _paint_samples_of(self, run: Run) -> None:
        self.samples.show(run, self._collection.shown.now[run.key])

    def _renamed(self, key: str, _: str) -> None:
        self._tell_renamed(self._collection.find(key))
        self._saved.update(self.plot)

    def _removed(self, _: str) -> None:
        self._keep_places()
        self._saved.update(self.plot)

    def _restored(self, key: str) -> None:
        back = self._collection.find(key)
        self.changed(back, over=back.ended)

    def _continue(self, key: str) -> None:
        if self.plot.has_run(key):
            self.plot.resume_run(key)
        self._tell_continue(self._collection.find(key))
