"""Bench: the composition root, the only place that knows form, run bar, session, plots and table."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any, ParamSpec

import ipywidgets as widgets
import traitlets
from IPython.display import display

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.catalogue.values import ValueProblem
from diffopt_widgets.drawing.panels import LOSS
from diffopt_widgets.execution.driver import saver_for
from diffopt_widgets.execution.session import Session, sessions_in_progress
from diffopt_widgets.execution.sweeps import duration, estimated_seconds
from diffopt_widgets.plain_text import printable, printed_readably
from diffopt_widgets.runs.compared import Verdict
from diffopt_widgets.runs.comparisons import Comparison, comparisons, every_optimizer
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.settings.arguments import check_kind
from diffopt_widgets.settings.variations import name_by_difference
from diffopt_widgets.tasks import get_task, task_key
from diffopt_widgets.widgets.bench.comparison_menu import ComparisonMenu
from diffopt_widgets.widgets.bench.findings import Findings
from diffopt_widgets.widgets.bench.other_session import OtherSession
from diffopt_widgets.widgets.bench.present import PresentSwitch
from diffopt_widgets.widgets.bench.report_box import ReportBox
from diffopt_widgets.widgets.bench.rest import Rest, close_everything
from diffopt_widgets.widgets.bench.run_bar import RunBar
from diffopt_widgets.widgets.bench.runs_view import RunsView
from diffopt_widgets.widgets.bench.scene import Scene
from diffopt_widgets.widgets.bench.vary import Vary
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.form_file import FormFile
from diffopt_widgets.widgets.form.panel import cannot_run
from diffopt_widgets.widgets.page.event_loop import on_loop, running_loop
from diffopt_widgets.widgets.state_size.card import StateSize
from diffopt_widgets.widgets.tables.still import in_words

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.store import LoggedRun, RunStore
    from diffopt_widgets.tasks import Task

P = ParamSpec("P")

MANY_RUNS = 12
"""Greatest number of runs of a comparison that starts at once; of a longer one the time is told first."""

TRIALS = 6
"""Number of runs, at least, that are tried for a few steps to estimate the time of a long comparison."""

_log = logging.getLogger(__name__)


def lab(
    settings: Settings | None = None,
    *,
    task: str | Task = "digits",
    steps: int | None = None,
    store: RunStore | str | os.PathLike[str] | None = None,
) -> Bench:
    """Open the bench: choose an optimizer, train, watch loss and applied learning rate.

    Args:
        settings: settings of the form at first; by default the last ones that it showed, in any kernel.
        task: the task at first, one of `list_tasks()` or a `dw.Task` of your own. The menu has all tasks that are registered
            when the bench is opened.
        steps: length of a run at first; by default that of the task.
        store: a `RunStore` or its path; the runs are saved there while they train. `Bench.add` shows a run from it.

    Raises:
        StoreError: the store cannot be opened.
    """
    return Bench(settings, task=task_key(task), steps=steps, store=store)


@printed_readably
class Bench(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """Whole bench as one widget.

    Its parts are `form`, `size`, `bar`, `vary`, `present`, `menu`, `plot`, `table`, `report` and `samples`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        task: str = "digits",
        steps: int | None = None,
        store: RunStore | str | os.PathLike[str] | None = None,
    ) -> None:
        # The event loop of the cell that opens the bench. Runs train there, and all clicks are handled there.
        self._loop = running_loop()
        self._saver = saver_for(store)
        self.form = Form(settings, file=FormFile.of_user())
        self.menu = ComparisonMenu([*comparisons(), every_optimizer()], on_choose=self._guarded(self._run_comparison))
        self.present = PresentSwitch(
            {
                "n": ("next comparison", self._guarded(self.menu.choose_next)),
                "p": ("pause or resume", self._guarded(self._pause)),
                "l": ("logarithmic loss", self._guarded(self._switch_log_loss)),
            }
        )
        self.vary = Vary(self.form.settings)
        self._findings = Findings(on_use=self._guarded(self._use_rate))
        self.bar = RunBar(
            task,
            steps,
            on_run=self._guarded(self._run_settings),
            on_pause=self._guarded(self._pause),
            on_stop=self._guarded(self.stop),
            on_fix=self._guarded(self._fix),
            beside=[self._findings.buttons, self.present],
            below=[self._findings.line],
            vary=self.vary,
        )
        self._view = RunsView(
            self._guarded,
            on_rename=self._renamed,
            on_repeat=lambda run: self.start([Run(run.plan)]),
            on_continue=lambda run: self._start([run]),
            on_stop=self.stop,
            on_change=self._tell,
        )
        self.plot, self.applied = self._view.plot, self._view.applied
        self.table, self.samples = self._view.table, self._view.samples
        self._session: Session | None = None
        self._estimated = ""
        """Key of the long comparison whose time was told last, and which the next press starts."""
        self._scene = Scene()
        """What was told last, to tell only what is new."""
        style = (resources.files("diffopt_widgets.widgets.bench") / "static" / "bench.css").read_text(encoding="utf-8")
        self.size = StateSize(self.form.settings, loop=self._loop)
        traitlets.dlink((self.form, "settings"), (self.size, "settings"))
        left = widgets.VBox([self.form, self.size])
        left.add_class("dw-left")
        others = [OtherSession(other, self._guarded, self._take_over) for other in sessions_in_progress()]
        beside = {"bar": self.bar, "menu": self.menu, "plot": self.plot, "applied": self.applied}
        self.report = ReportBox()
        beside |= {"table": self.table, "report": self.report, "samples": self.samples}
        right = widgets.VBox(list(beside.values()))
        right.add_class("dw-right")
        for name, part in {"form": self.form, "size": self.size, "present": self.present, **beside}.items():
            part.add_class(f"dw-part-{name}")
        columns = widgets.Box([left, right])
        columns.add_class("dw-columns")
        super().__init__([widgets.HTML(f"<style>{style}</style>"), *others, columns])
        self.add_class("dw-bench")
        self.form.observe(lambda _: self._check(), ["errors", "settings"])
        self.form.observe(lambda _: self._expect(), ["settings"])
        self.form.observe(lambda _: self._set_aside(), ["settings"])
        self.form.observe(lambda change: self.vary.offer(change["new"]), ["settings"])
        self.bar.observe(lambda _: self._plan_edited(), ["values"])
        self._plan_edited()
        parts = (self.form, self.size, self.present, *beside.values())
        self._rest = Rest(self, parts, busy=self._is_busy, release=self.bar.guard.release)

    def __repr__(self) -> str:
        runs = f", {in_words(run.name for run in self.runs)}" if self.runs else ""
        return f"Bench({self.form.settings!r}{runs})"

    @property
    def runs(self) -> list[Run]:
        """Runs so far, in the order in which they were started."""
        return self._view.runs

    @property
    def verdict(self) -> Verdict:
        """Outcome of the last comparison, its runs against each other; print it for its words."""
        return self.table.verdict

    def start(self, runs: Sequence[Run]) -> None:
        """Carry out runs side by side, after those in progress, and add their curves to the plots.

        A run that was stopped, also one from a store, goes on where it was.

        Raises:
            RuntimeError: there is no running event loop, as in a plain script.
        """
        self._need_session()
        for run in runs:
            self._view.add(run)
        self._start(runs)

    def add(self, run: Run | LoggedRun) -> None:
        """Show a run that was trained before beside the others, such as `store.load(id)` or one of `read_logs`.

        A run that no bench trained has only curves; it has no settings to compare or repeat.

        Raises:
            ValueError: the bench shows it already.
        """
        if isinstance(run, Run):
            self._view.add(run, keep_name=True)
            self._changed(run)
        else:
            self._view.add_curves(run)

    def stop(self, run: Run | None = None) -> None:
        """Stop one run after its current step, or, without one, all that are in progress or wait.

        A run that was stopped can go on later: its row has a button for that, and `start` and `dw.resume` do it too.

        Raises:
            ValueError: this run is not in progress here.
        """
        if run is None:
            if self._session is not None:
                self._session.stop()
            return
        check_kind("run", run, Run, "a run", "Give one of bench.runs.")
        if self._session is None or run not in self._session.runs:
            raise ValueError(printable(f"{run.name} is not in progress here, so there is nothing to stop"))
        self._session.stop_run(run)

    async def wait(self) -> None:
        """Wait until every started run has ended; for notebooks that run unattended.

        At its end the picture below the bench is brought up to date. Programs that execute a notebook (nbconvert, papermill)
        ignore what arrives between two cells, so without it the notebook would be saved with the picture of its start.
        """
        try:
            if self._session is not None:
                await self._session.wait()
        finally:
            self._view.save_picture()

    def close(self) -> None:
        """Stop its runs after their current step, unless another bench has taken them over, and close every widget inside."""
        if self.comm is None:
            return
        session = self._session
        if session is not None and session.owner is self:
            session.stop()
        super().close()
        close_everything(self)

    def figure(self) -> go.Figure:
        """Plot of the visible curves as an ordinary plotly figure."""
        return self.plot.figure()

    def _ipython_display_(self, **kwargs: Any) -> None:  # Any: whatever IPython passes
        self._rest.wake()
        if hasattr(super(), "_ipython_display_"):  # ipywidgets 7
            super()._ipython_display_(**kwargs)
        else:
            display(self._repr_mimebundle_(), raw=True)
        self._view.show_saved_picture()
        self._rest.displayed()

    def _is_busy(self) -> bool:
        return self._session is not None and self._session.busy

    def _need_session(self) -> Session:
        if self._session is None:
            self._session = Session(self._changed, self._loop)
            self._session.owner = self
        return self._session

    def _take_over(self, session: Session) -> None:
        """Show the runs of another bench's session, and act on it from now on.

        Raises:
            RuntimeError: runs of this bench are in progress.
        """
        if self._session is not None and self._session.busy:
            raise RuntimeError(
                "this bench has runs in progress itself; stop them, or wait for their end, before another is taken over"
            )
        self._session, session.owner = session, self
        session.listen(self._changed)
        taken = dict.fromkeys([*(session.together if len(session.together) > 1 else ()), *session.runs])
        for run in taken:
            self._view.add(run, keep_name=True)
        for run in taken:
            self._changed(run)

    def _start(self, runs: Sequence[Run]) -> None:
        self.bar.forget_failure()
        session = self._need_session()
        session.start(runs, self._saver)
        for run in runs:
            self.table.show(run)
        self._tell()
        self._paint_bar()  # at once, so that a second click finds Run disabled

    def _run_settings(self) -> None:
        if self.bar.run.disabled:  # a click that was on its way when the button went off
            return
        plans = self.bar.plans(self.form.settings)
        names = name_by_difference(plans) if len(plans) > 1 else [""]
        self.start([Run(plan, name) for plan, name in zip(plans, names, strict=True)])

    def _run_comparison(self, comparison: Comparison) -> None:
        plan = self.bar.plan(comparison.plan.settings)  # raises while a field is wrong
        runs = comparison.runs(seed=plan.seed, device=plan.device)
        if len(runs) > MANY_RUNS and self._estimated != comparison.key:
            some = [run.plan for run in runs][:: len(runs) // TRIALS]
            words = duration(estimated_seconds(some) * len(runs) / len(some))
            self._estimated = comparison.key
            self.bar.show_message(
                f"“{comparison.title}” is {len(runs)} runs and takes about {words} here, estimated from {len(some)} of them. "
                "Press it once more to start."
            )
            return
        self._estimated = ""
        self._view.log_rate(on=comparison.log_rate)
        self._view.log_losses()
        self.start(runs)
        self.menu.pressed = comparison.key

    def _tell(self) -> None:
        """Say at the bar, the plots, the form and the table what is shown now."""
        scene = Scene.of(self.runs, self._session, self._scene)
        if scene != self._scene:
            self._scene = scene
            self.bar.show_trained(scene.trained)
            about = f"{scene.ready.title}: {scene.trained}" if scene.ready else scene.trained
            self._view.compare(scene.judged, about)
            self._paint_bar()
        self.report.follow([run for run in self.runs if self.table.visible.get(run.key)])
        self._set_aside()

    def _set_aside(self) -> None:
        """Say at the form whether the plots show its settings, and offer the best ones that they do."""
        scene = self._scene
        if not scene.compared:
            self.form.set_aside("")
            return
        verdict = self.table.verdict
        offered = scene.offered(verdict)
        best = ", the best," if offered in verdict.best_runs else ""
        about = f"Put the settings of {offered.name}{best} into the form; Undo brings yours back" if offered else ""
        here = next((run for run in scene.compared if run.settings == self.form.settings), None)
        if here:
            why = f"These are the settings of {here.name}, one of the runs that the plots show."
        else:
            others = (
                f"“{scene.ready.title}” has settings of its own" if scene.ready else "their runs have other settings"
            )
            why = f"The plots do not use this form: {others}."
        self.form.set_aside(why, offered.settings if offered else None, about, in_use=here is not None)

    def _paint_bar(self) -> None:
        """Paint the progress or the end of what is shown."""
        session, scene = self._session, self._scene
        if session is None:
            return
        self.bar.forget_failure(unless_of=self.runs)
        self.bar.show(
            scene.told,
            busy=session.busy,
            paused=session.paused,
            waiting=len(session.waiting),
            together=scene.compared,
            outcome=str(self.table.verdict),
        )
        told = [scene.told] if scene.told else []
        self._findings.show(scene.compared or told, self.table.verdict.best_runs if scene.compared else ())

    def _pause(self) -> None:
        if self._session is None:
            return
        if self._session.paused:
            self._session.resume()
        else:
            self._session.pause()

    def _switch_log_loss(self) -> None:
        self.plot.log = {**self.plot.log, LOSS.key: not self.plot.log.get(LOSS.key, False)}

    def _fix(self, run: Run) -> None:
        """Put a failed run's settings with its fix into the form, ready for a click on Run."""
        fix: dict[str, Any] = dict(run.fix)  # Any: values of options, of whatever kind
        self.bar.forget_failure()
        self.bar.show_message("The fix is in the form now. Press Run to try again.")
        self.bar.fields["dtype"].value = run.plan.dtype  # some options need this precision
        self.form.settings = run.settings.replace(**fix)

    def _use_rate(self, plan: RunPlan) -> None:
        """Put settings with the rate that a run found into the form, and train them beside that run."""
        self.form.settings = plan.settings
        self.start([Run(plan)])

    def _plan_edited(self) -> None:
        """Give the form the run of the bar, for the drawing of its schedule and for the settings that such a run refuses."""
        run = RunOptions(**self.bar.values)
        self.form.run = replace(run, batch_size=run.batch_size or get_task(run.task).batch_size)
        self._expect()
        self._check()

    def _expect(self) -> None:
        """Let the plots keep places for what the next run will have."""
        self._view.expect(self.form.settings, self.bar.values.get("steps", RunOptions.steps))

    def _check(self) -> None:
        """Block Run with a reason while the form or the run is wrong."""
        if titles := self._titles(self.form.errors):
            self.bar.block(f"To run, correct {titles} in the form.")
        elif titles := self._titles(sorted(self.form.draft.parsed.refused)):
            self.bar.block(f"This run would be refused: see {titles} in the form.")
        else:
            trouble = self.form.trouble
            self.bar.block(cannot_run(self.form.draft.spec, trouble) if trouble else "")

    def _titles(self, names: Iterable[str]) -> str:
        return " and ".join(self.form.panel["controls"][name]["title"] for name in names)

    def _renamed(self, run: Run) -> None:
        saver = (self._session and self._session.saver_of(run)) or self._saver
        if saver is not None:
            saver.rename(run)

    def _changed(self, run: Run) -> None:
        self.table.show(run)
        self._tell()
        if run is self._scene.told or run in self._scene.compared or not self._is_busy():
            self._paint_bar()
        if run not in self.runs:
            return
        over = run.ended and (self._session is None or run not in self._session.training)
        self._view.changed(run, over=over, last=not self._is_busy())
        if over:
            self._rest.settle()

    def _guarded(self, action: Callable[P, None]) -> Callable[P, None]:
        """Wrap an action: it is done on the event loop, and the run bar shows its errors, which nobody would see otherwise."""

        def attempt(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                action(*args, **kwargs)
            except (SettingsError, ValueProblem) as problem:  # what a person entered is wrong
                self.bar.show_message(str(problem), error=True)
            except Exception as error:  # noqa: BLE001  # nobody else would see it
                _log.exception("a callback failed")
                self.bar.show_message(str(error) or type(error).__name__, error=True)

        def act(*args: P.args, **kwargs: P.kwargs) -> None:
            on_loop(self._loop, attempt, *args, **kwargs)

        return act
