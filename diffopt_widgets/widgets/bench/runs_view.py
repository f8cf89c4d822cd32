"""RunsView: plots, table and samples of a bench, which paint the runs of one collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, Protocol

import ipywidgets as widgets

from diffopt_widgets.drawing.drawables import heading
from diffopt_widgets.drawing.panels import EVALUATION, LOSS, D
from diffopt_widgets.execution.driver import evaluation_points
from diffopt_widgets.runs.collection import Collection
from diffopt_widgets.runs.compared import alike
from diffopt_widgets.widgets.bench.samples import SamplesView
from diffopt_widgets.widgets.page.event_loop import running_loop
from diffopt_widgets.widgets.page.html import paragraph
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.plot.saved import Below, SavedPicture
from diffopt_widgets.widgets.tables.runs_table import RunsTable

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import OptimizerSpec
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import LoggedRun

P = ParamSpec("P")


class Guard(Protocol):
    """Wrapper that shows the errors of an action to the person who started it."""

    def __call__(self, action: Callable[P, None]) -> Callable[P, None]:
        """Return the guarded action."""


class RunsView:
    """Plots, the line below them, table and samples of the same runs.

    A change in one of them goes to the collection that owns the runs; then all of them paint again.

    Args:
        guard: wrapper for every callback.
        on_rename: called with a run that was renamed.
        on_repeat: called with a run to train once more.
        on_continue: called with a run to continue.
        on_stop: called with a run in progress to stop.
        on_change: called when a run was added, named, hidden, removed or brought back.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        on_rename: Callable[[Run], None],
        on_repeat: Callable[[Run], None],
        on_continue: Callable[[Run], None],
        on_stop: Callable[[Run], None],
        on_change: Callable[[], None],
    ) -> None:
        self._collection = Collection(compares=True)
        self.plot = LivePlot(shown=self._collection.shown)
        self.plot.heading = self._heading
        self.applied = widgets.HTML()
        self.table = RunsTable(
            collection=self._collection,
            on_rename=guard(self._renamed),
            on_remove=guard(self._removed),
            on_restore=guard(self._restored),
            on_repeat=guard(lambda key: on_repeat(self._collection.find(key))),
            on_continue=guard(self._continue),
            on_stop=guard(lambda key: on_stop(self._collection.find(key))),
        )
        self.samples = SamplesView()
        self._expected: OptimizerSpec | None = None
        self._steps = 0
        self._trained = ""
        self._saved = SavedPicture(self.plot)
        self._saving = False
        """Whether the picture will be saved in the next turn of the loop."""
        self._on_rename = on_rename
        self._on_continue = on_continue
        self._on_change = on_change
        self._collection.shown.observe(guard(self._edited))  # a click in the legend may come from another thread

    @property
    def runs(self) -> list[Run]:
        """Runs of the view, in the order in which they were started."""
        return list(self._collection.runs)

    def add(self, run: Run, *, keep_name: bool = False) -> None:
        """Add a run; unless it keeps its name, it is named by its differences from the others.

        Raises:
            ValueError: the view has this run already.
        """
        first = not self.runs
        self._collection.add(run, keep_name=keep_name)
        self._expected = run.settings.spec
        self._reserve_places()
        if first:
            self._show_applied_rates()

    def add_curves(self, run: LoggedRun) -> None:
        """Draw a run that was not trained on a bench; it has no settings to compare or repeat.

        Raises:
            ValueError: the plot has this run already.
        """
        key = run.id or f"{id(run.history)}"
        self.plot.add_run(key, run.name, run.history, schedule=run.draws_schedule)
        self.plot.end_run(key)
        self.save_picture()

    def changed(self, run: Run, *, over: bool, last: bool = True) -> None:
        """Update all views after new records or another status of a run.

        Args:
            run: the run.
            over: no more records of it will come.
            last: no other run follows it.
        """
        self._plot(run)
        if run.status == "failed":
            self.log_rate(on=True)  # the rate of a diverged run would flatten the others
        self.table.show(run)
        self._paint_samples_of(run)
        if over and self.plot.has_run(run.key):
            self.plot.end_run(run.key)
            self.save_picture(whole=last)
        else:
            self.plot.refresh()

    def expect(self, settings: Settings, steps: int) -> None:
        """Reserve the place of the first run of these settings and so many steps, so that nothing moves when it begins."""
        self._expected, self._steps = settings.spec, steps
        self._reserve_places()
        if not self.runs:
            self._show_applied_rates()

    def compare(self, runs: Sequence[Run], words: str = "") -> None:
        """Mark the best of these runs, and say below the plots what they trained with.

        Args:
            runs: the runs of a comparison; without any, those that can be compared with the last run are.
            words: what the comparison trains with.
        """
        self.table.compare(runs or alike(self.runs))
        if words != self._trained:
            self._trained = words
            self._show_applied_rates()

    def log_rate(self, *, on: bool) -> None:
        """Set whether the rates are drawn on a logarithmic axis."""
        self.plot.log = {**self.plot.log, "rate": on}

    def log_losses(self) -> None:
        """Draw the losses on logarithmic axes, on which the ends of good runs are apart."""
        self.plot.log = {**self.plot.log, LOSS.key: True, EVALUATION.key: True}

    def show_saved_picture(self) -> None:
        """Show, below the bench, the present picture of the plots, which stays in a saved notebook."""
        self._saved.show(self._below())

    def save_picture(self, *, whole: bool = True) -> None:
        """Bring the picture of the plots in the notebook up to date, with runs and samples; `whole` for LaTeX too."""
        self._saving = False
        self._saved.update(self._below(), whole=whole)

    def _save_soon(self) -> None:
        """Bring that picture up to date once after all changes of this turn of the loop; at once in a plain script."""
        loop = running_loop()
        if loop is None:
            self.save_picture()
        elif not self._saving:
            self._saving = True
            loop.call_soon(lambda: self.save_picture() if self._saving else None)

    def _below(self) -> Below | None:
        """Return the runs and samples, for pages without widgets."""
        if not self.runs:
            return None
        runs = self.table.still()
        return Below(runs.html + self.samples.html(), runs.text, self.samples.pixels)

    def _heading(self) -> list[str]:
        """Return what figures and pictures say of the visible runs; nothing beside curves from elsewhere."""
        visible = [key for key, run in self._collection.shown.now.items() if run.visible]
        if not visible or any(key not in self._collection for key in visible):
            return []
        return heading([self._collection.find(key) for key in visible])

    def _reserve_places(self) -> None:
        """Reserve the places of plots that come later: of evaluations on the way, and of d where a run estimates its rate."""
        specs = (self._expected, *(run.settings.spec for run in self.runs))
        evaluated = any(map(evaluation_points, (self._steps, *(run.plan.steps for run in self.runs))))
        estimated = any(spec and spec.estimates_rate for spec in specs)
        self.plot.expected = [EVALUATION.key] * evaluated + [D.key] * estimated

    def _plot(self, run: Run) -> None:
        """Draw the curves of a run as soon as it has any."""
        if not run.history.groups or self.plot.has_run(run.key):
            return
        self.plot.draw_run(run.key, run.history, schedule=run.draws_schedule, samples_per_step=run.samples_per_step)
        self._show_applied_rates()

    def _show_applied_rates(self) -> None:
        """Show below the plots what a comparison trains with, and which rate each optimizer applies."""
        specs = [run.settings.spec for run in self.runs] or [spec for spec in (self._expected,) if spec]
        rates = ". ".join(dict.fromkeys(f"{spec.title} applies {spec.rate_words}" for spec in specs))
        mixed = len({run.plan.task for run in self.runs}) > 1
        warning = " Losses of different tasks cannot be compared." if mixed else ""
        trained = paragraph(self._trained, "dw-trained") if self._trained else ""
        self.applied.value = trained + paragraph(f"{rates}.{warning}", "dw-about")

    def _edited(self) -> None:
        """Follow a change in which runs there are and how they are shown."""
        self._paint_samples()
        self._on_change()

    def _paint_samples(self) -> None:
        """Paint the samples of all runs, and remove those of runs that are gone."""
        for key in self.samples.strips.keys() - {run.key for run in self.runs}:
            self.samples.remove(key)
        for run in self.runs:
            self._paint_samples_of(run)

    def _paint_samples_of(self, run: Run) -> None:
        self.samples.show(run, self._collection.shown.now[run.key])

    def _renamed(self, key: str, _: str) -> None:
        self._on_rename(self._collection.find(key))
        self._save_soon()

    def _removed(self, _: str) -> None:
        self._reserve_places()
        self._save_soon()

    def _restored(self, key: str) -> None:
        run = self._collection.find(key)
        self.changed(run, over=run.ended)

    def _continue(self, key: str) -> None:
        if self.plot.has_run(key):
            self.plot.resume_run(key)
        self._on_continue(self._collection.find(key))
