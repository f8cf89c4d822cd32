"""RunBar: what to train on, Run / Pause / Stop, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.schema import Use
from diffopt_widgets.catalogue.values import OutOfRange, ValueProblem, format_value
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.tasks import get_task, list_tasks
from diffopt_widgets.training.environment import device_problem
from diffopt_widgets.widgets.bench.key_guard import KeyGuard
from diffopt_widgets.widgets.page.html import escape, paragraph

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings import Settings

LONGEST_OUTPUT = 20_000
"""Most characters of a back end's output that are shown, the last ones."""

IDLE = "Nothing is running"
"""Why Pause and Stop cannot be pressed."""

UNSHOWN = frozenset({"grad_norm"})
"""Options of a run that have no field: the bench draws no curve of what this one records."""

_SHOWN = {name: use for name, use in RUN_OPTIONS.items() if name not in UNSHOWN}


def _nothing() -> None:
    """Answer a button that is connected to nothing."""


class RunBar(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """What to train on, with Run, Pause and Stop, and the progress of a run.

    It decides nothing: the buttons call what they are given, and `show` paints a run. `values` and `problem` are ordinary
    traits to observe; `task` is the menu of tasks, and `fields` has the other controls by name.

    Args:
        task, steps: what the fields say at first; `steps=None` takes the task's own.
        on_run, on_pause, on_stop: called without arguments when a button is clicked.
        on_fix: called with a failed run when the button beside its message, which offers its `fix`, is clicked.

    >>> bar = RunBar(task="swiss_roll", steps=50)
    >>> bar.observe(lambda change: print(change["new"]["seed"]), "values")
    >>> bar.fields["seed"].value = "7"
    7
    >>> bar.fields["seed"].value = "-7"
    >>> bar.problem, bar.values["seed"]
    ('Seed: must be a whole number, from 0 to 2,147,483,647', 7)
    """

    values = traitlets.Dict(read_only=True, help="The fields by name, as RunPlan takes them; each the last right one.")
    problem = traitlets.Unicode(read_only=True, help="What is wrong with a field; empty when all is right.")

    def __init__(
        self,
        task: str = "digits",
        steps: int | None = None,
        *,
        on_run: Callable[[], None] = _nothing,
        on_pause: Callable[[], None] = _nothing,
        on_stop: Callable[[], None] = _nothing,
        on_fix: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self._blocked = ""
        self._failed: Run | None = None
        titles = [(get_task(key).title, key) for key in list_tasks()]
        self.task = widgets.Dropdown(options=titles, value=get_task(task).key, description=TASK.option.title)
        self.fields = {name: _field(use) for name, use in _SHOWN.items()}
        self.fields["steps"].value = format_value(get_task(task).steps if steps is None else steps)
        self.run = _button("Run", "primary", "Train with these settings", on_run)
        self.pause = _button("Pause", "", "Wait after the current step", on_pause)
        self.stop = _button("Stop", "", "End the run; what was recorded stays", on_stop)
        self.progress = widgets.FloatProgress(min=0, max=1, value=0)
        self.progress.add_class("dw-progress")
        self.words = widgets.HTML(paragraph("Ready.", "dw-status"))
        self.words.add_class("dw-words")
        self._wrong, self._covered = False, self.words.value
        self.about = widgets.HTML()
        self.failure = widgets.HTML()
        self.fix = _button("", "", "Put this into the form; Undo there takes it back", lambda: self._fix(on_fix))
        self.fix.layout.display = "none"
        self.fix.add_class("dw-fix")
        self.output = widgets.HTML()
        fields = self._row("dw-fields", self.task, *self.fields.values())
        buttons = self._row("dw-buttons", self.run, self.pause, self.stop, self.fix, self.progress)
        state = widgets.VBox([self.words, self.failure])
        state.add_class("dw-state")
        guard = KeyGuard([field for field in self.fields.values() if isinstance(field, widgets.Text)])
        super().__init__([fields, self.about, buttons, state, self.output, guard])
        self.add_class("dw-run-bar")
        self._describe_task()
        self._read()
        self._paint_buttons(busy=False, paused=False)
        for field in self.fields.values():
            field.observe(lambda _: self._edited(), "value")
        self.task.observe(lambda _: self._task_chosen(), "value")

    def plan(self, settings: Settings) -> RunPlan:
        """The plan of a run with these settings.

        Raises:
            ValueProblem: a field holds something that cannot be used; the message names it.
        """
        if self.problem:
            raise ValueProblem(self.problem)
        return RunPlan(settings, **self.values)

    def block(self, reason: str) -> None:
        """Disable Run with a reason, or enable it again with an empty one."""
        self._blocked = reason
        self._repaint_buttons()

    def show(self, run: Run, *, busy: bool, paused: bool, waiting: int = 0) -> None:
        """Paint the progress or the end of a run."""
        done = len(run.history)
        self.progress.value = done / run.plan.steps
        self.progress.bar_style = {"failed": "danger", "done": "success"}.get(run.status, "")
        self._wrong, self.words.value = False, _status(run, waiting)
        if run.status == "failed":
            self._failed, self.failure.value = run, _failure(run)
            self.fix.description = _fix_words(run)
            self._offer_fix(offered=bool(run.fix))
        if (output := _output(run)) != self.output.value:
            self.output.value = output
        self._paint_buttons(busy=busy, paused=paused)

    def forget_failure(self) -> None:
        """Take away what was said of an earlier run that failed."""
        self._failed, self.failure.value = None, ""
        self._offer_fix(offered=False)

    def say(self, message: str, *, error: bool = False) -> None:
        """Show a message that belongs to no run; what an error covers comes back when it is fixed."""
        if error and not self._wrong:
            self._covered = self.words.value
        self._wrong = error
        self.words.value = paragraph(message, "dw-status dw-error" if error else "dw-status")

    def _offer_fix(self, *, offered: bool) -> None:
        """The fix stands in the place of the progress, so that nothing moves."""
        self.fix.layout.display, self.progress.layout.display = (None, "none") if offered else ("none", None)

    def _paint_buttons(self, *, busy: bool, paused: bool) -> None:
        problem = self._blocked or self.problem
        self.run.disabled = bool(problem) or busy
        self.run.tooltip = problem or ("A run is in progress; Stop ends it" if busy else "Train with these settings")
        self.pause.disabled = self.stop.disabled = not busy
        self.pause.tooltip = ("Go on" if paused else "Wait after the current step") if busy else IDLE
        self.stop.tooltip = "End this run and drop those that wait; what was recorded stays" if busy else IDLE
        self.pause.description = "Resume" if paused else "Pause"
        if problem and not busy:
            self.say(problem, error=True)
        elif self._wrong and not busy:
            self._wrong, self.words.value = False, self._covered

    def _repaint_buttons(self) -> None:
        self._paint_buttons(busy=not self.stop.disabled, paused=self.pause.description == "Resume")

    def _edited(self) -> None:
        self._read()
        self._repaint_buttons()

    def _read(self) -> None:
        """Bring the traits up to date with the fields, and mark those that are wrong."""
        values: dict[str, Any] = {**self.values, "task": self.task.value}
        problems = []
        for name, field in self.fields.items():
            use = _SHOWN[name]
            try:
                values[name] = use.check(use.option.parse(field.value))
                field.remove_class("dw-wrong")
            except ValueProblem as problem:
                words = "must be" if isinstance(problem, OutOfRange) else f"{problem}; allowed is"
                problems.append(f"{use.option.title}: {words} {use.allowed()}")
                field.add_class("dw-wrong")
        if absent := device_problem(self.fields["device"].value):
            problems.append(f"{_SHOWN['device'].option.title}: {absent}")
        with self.hold_trait_notifications():
            self.set_trait("problem", "\n".join(problems))
            self.set_trait("values", values)

    def _task_chosen(self) -> None:
        self.fields["steps"].value = format_value(get_task(self.task.value).steps)
        self._describe_task()
        self._edited()

    def _fix(self, on_fix: Callable[[Run], None]) -> None:
        if self._failed is not None:
            on_fix(self._failed)

    def _describe_task(self) -> None:
        task = get_task(self.task.value)
        self.fields["batch_size"].placeholder = format_value(task.batch_size)
        self.about.value = paragraph(task.summary, "dw-about") + _explanation()

    @staticmethod
    def _row(name: str, *children: widgets.Widget) -> widgets.Box:
        row = widgets.Box(children, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        row.add_class(name)
        return row


def _field(use: Use) -> widgets.Text | widgets.Dropdown:
    """The control of an option, at its default. Its value is a text, as a person would type it."""
    option = use.option
    words = {"description": option.title, "tooltip": option.help}
    text = "" if use.default is None else format_value(use.default)
    choices = [(choice, choice) for choice in option.choices]
    if option.kind == "bool":
        choices = [("on", "true"), ("off", "false")]
    if choices:
        empty = [(option.null_words or "empty", "")] if option.nullable else []
        return widgets.Dropdown(options=[*empty, *choices], value=text, **words)
    field = widgets.Text(value=text, continuous_update=True, **words)
    if option.kind != "text":
        field.add_class("dw-number")
    return field


def _button(text: str, style: str, tooltip: str, on_click: Callable[[], None]) -> widgets.Button:
    button = widgets.Button(description=text, button_style=style, tooltip=tooltip)
    button.add_class("dw-button")
    button.on_click(lambda _: on_click())
    return button


def _explanation() -> str:
    """What each field means, folded."""
    shown = [use.option for use in _SHOWN.values()]
    pairs = "".join(f"<dt>{escape(o.title)}</dt><dd>{escape(o.help)}</dd>" for o in shown)
    return f'<details class="dw-explain"><summary>What these fields mean</summary><dl>{pairs}</dl></details>'


def _status(run: Run, waiting: int) -> str:
    """One line on a run: how far, how fast, how long still; or how it ended."""
    after = f" · {waiting} more to come" if waiting else ""
    if run.status == "failed":  # what went wrong is said below
        return paragraph(f"{waiting} more to come", "dw-status") if waiting else ""
    if run.ended:
        return paragraph(f"{run.name}: {run.message}{after}", "dw-status")
    done, steps = len(run.history), run.plan.steps
    speed = run.steps_per_second
    if speed is None:
        return paragraph(f"{run.name}: preparing …{after}", "dw-status")
    state = "paused, " if run.status == "paused" else ""
    left = clock((steps - done) / speed)
    return paragraph(
        f"{run.name}: {state}step {done} of {steps} · {speed:.3g} steps/s · {left} left{after}", "dw-status"
    )


def _failure(run: Run) -> str:
    """What went wrong in a run; stays until the next is started."""
    trace = f"<details><summary>Traceback</summary><pre>{escape(run.trace)}</pre></details>"
    return f'<div class="dw-failure">{paragraph(f"{run.name}: {run.message}", "dw-error")} {trace}</div>'


def _fix_words(run: Run) -> str:
    """What the fix of a failed run does: "Set Learning rate to 0.001"."""
    own = {name: TRAINING.get(name) or run.settings.spec.use(name) for name in run.fix}
    return "Set " + ", ".join(f"{own[name].option.title} to {format_value(value)}" for name, value in run.fix.items())


def _output(run: Run) -> str:
    """What the back end printed or logged, such as DAdaptation with log_every."""
    text = run.output.strip()
    if not text:
        return ""
    kept = text if len(text) <= LONGEST_OUTPUT else f"…{text[-LONGEST_OUTPUT:]}"
    return f"<details><summary>Output of the back end</summary><pre>{escape(kept)}</pre></details>"


def clock(seconds: float) -> str:
    """Write a duration: "8 s", "2:05", "1:02:05".

    >>> clock(8.2), clock(125), clock(3725)
    ('8 s', '2:05', '1:02:05')
    """
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
