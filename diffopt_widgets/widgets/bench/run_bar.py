"""RunBar: task and options of a run, Run / Pause / Stop, and progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.schema import Use
from diffopt_widgets.catalogue.values import OutOfRange, ValueProblem, format_value
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.tasks import get_task, list_tasks
from diffopt_widgets.training.environment import device_problem
from diffopt_widgets.widgets.bench.key_guard import KeyGuard
from diffopt_widgets.widgets.bench.progress import Progress
from diffopt_widgets.widgets.page.event_loop import on_loop_in_turn, running_loop
from diffopt_widgets.widgets.page.folders import without_folders
from diffopt_widgets.widgets.page.html import NO_MATH, escape, paragraph

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.tasks import Task
    from diffopt_widgets.widgets.bench.vary import Vary

LONGEST_OUTPUT = 20_000
"""Maximum number of characters of a back end's output that are shown; the last ones are."""

STATUSES = ("running", "paused", "waiting", "done", "stopped", "failed")
"""Statuses of a run, in the order in which those of a comparison are counted."""

IDLE = "Nothing is running"
"""Reason why Pause and Stop are disabled."""

UNSHOWN = frozenset({"grad_norm"})
"""Options of a run that have no field: the bench draws no curve of the gradient norm."""

_SHOWN = {name: use for name, use in RUN_OPTIONS.items() if name not in UNSHOWN}


def _nothing() -> None:
    """Default callback of a button: do nothing."""


@printed_readably
class RunBar(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """Task and options of a run, buttons Run, Pause and Stop, and the progress of a run.

    It decides nothing: the buttons call their callbacks, and `show` paints a run. `values` and `problem` are ordinary traits
    to observe; `task` is the menu of tasks, and `fields` has the other controls by name.

    Args:
        task, steps: values of the fields at first; `steps=None` takes the number of the task.
        on_run, on_pause, on_stop: called without arguments when a button is clicked.
        on_fix: called with a failed run when the button beside its message, which offers its `fix`, is clicked.
        beside: widgets at the end of the row of buttons.
        vary: rows in which options are varied; without them Run trains one run.
        below: widgets below the words on the run.

    >>> bar = RunBar(task="swiss_roll", steps=50)
    >>> bar.observe(lambda change: print(change["new"]["seed"]), "values")
    >>> bar.fields["seed"].value = "7"
    7
    >>> bar.fields["seed"].value = "-7"
    >>> bar.problem, bar.values["seed"]
    ('Seed: must be a whole number, from 0 to 2,147,483,647', 7)
    """

    values = traitlets.Dict(
        read_only=True, help="The fields by name, as RunPlan takes them; each has its last valid value."
    )
    problem = traitlets.Unicode(read_only=True, help="Error of a field; empty when all fields are valid.")

    def __init__(
        self,
        task: str = "digits",
        steps: int | None = None,
        *,
        on_run: Callable[[], None] = _nothing,
        on_pause: Callable[[], None] = _nothing,
        on_stop: Callable[[], None] = _nothing,
        on_fix: Callable[[Run], None] = lambda run: None,
        beside: Sequence[widgets.DOMWidget] = (),
        vary: Vary | None = None,
        below: Sequence[widgets.DOMWidget] = (),
    ) -> None:
        self._vary = vary
        self._blocked = ""
        self._failed: Run | None = None
        self._ended: set[str] = set()
        """Keys of runs whose end was told."""
        self._trained = ""
        titles = [(get_task(key).title, key) for key in list_tasks()]
        self.task = widgets.Dropdown(options=titles, value=get_task(task).key, description=TASK.option.title)
        self.fields = {name: _field(use) for name, use in _SHOWN.items()}
        self.fields["steps"].value = format_value(get_task(task).steps if steps is None else steps)
        self.run = _button("Run", "primary", "Train with these settings", on_run)
        self.pause = _button("Pause", "", "Wait after the current step", on_pause)
        self.stop = _button("Stop", "", "End the run and keep its records", on_stop)
        self.progress = Progress()
        self.progress.add_class("dw-progress")
        self.words = widgets.HTML(paragraph("Ready.", "dw-status"))
        self.words.add_class("dw-words")
        self._wrong, self._covered = False, self.words.value
        self.about = widgets.HTML()
        self.about.add_class("dw-about-task")
        self.explanation = widgets.HTML()
        self.failure = widgets.HTML()
        self.fix = _button("", "", "Put this into the form; Undo in the form reverts it", lambda: self._fix(on_fix))
        self.fix.layout.display = "none"
        self.fix.add_class("dw-fix")
        self.output = widgets.HTML()
        fields = self._row("dw-fields", self.task, *self.fields.values())
        buttons = self._row("dw-buttons", self.run, self.pause, self.stop, self.fix, self.progress, *beside)
        state = widgets.VBox([self.words, self.failure, *below, self.about])
        state.add_class("dw-state")
        varied = [] if vary is None else [vary]
        texts = [field for field in self.fields.values() if isinstance(field, widgets.Text)]
        self.guard = KeyGuard([*texts, *(text for box in varied for text in (*box.texts, box.number))])
        more = self._row("dw-below", self.explanation, *(box.switch for box in varied))
        super().__init__([fields, buttons, state, more, *varied, self.output, self.guard])
        self.add_class("dw-run-bar")
        self._describe_task()
        self._read()
        self._paint_buttons(busy=False, paused=False)
        # Newer kernels handle the messages of plain widgets in a thread of their own, beside those of the form.
        cells = running_loop()
        for field in self.fields.values():
            field.observe(lambda _: on_loop_in_turn(cells, self._edited), "value")
        self.task.observe(lambda _: on_loop_in_turn(cells, self._task_chosen), "value")
        for box in varied:
            box.observe(lambda _: self._edited(), ["problem", "over", "seeds"])

    def __repr__(self) -> str:
        return f"RunBar({self.values['task']}, {self.values['steps']} steps)"

    def plan(self, settings: Settings) -> RunPlan:
        """The plan of a run with these settings.

        Raises:
            ValueProblem: the value of a field cannot be used; the message names the field.
        """
        if self.problem:
            raise ValueProblem(self.problem)
        return RunPlan(settings, **self.values)

    def plans(self, settings: Settings) -> list[RunPlan]:
        """The plans of the runs that Run starts: one, or those of all values and seeds that are varied.

        Raises:
            ValueProblem: the value of a field cannot be used; the message names the field.
            SettingsError: a combination of the values cannot be trained.
        """
        plan = self.plan(settings)
        return [plan] if self._vary is None else self._vary.plans(plan)

    def block(self, reason: str) -> None:
        """Disable Run with a reason, or enable it again with an empty one."""
        self._blocked = reason
        self._repaint_buttons()

    def show(
        self,
        run: Run | None,
        *,
        busy: bool,
        paused: bool,
        waiting: int = 0,
        together: Sequence[Run] = (),
        outcome: str = "",
    ) -> None:
        """Paint the progress or the end of a run, or of the comparison that it belongs to.

        Args:
            run: the run; None when there is none any more.
            busy: a run is in progress or waiting.
            paused: the runs in progress were asked to pause.
            waiting: number of runs that wait.
            together: the runs of its comparison, which train side by side.
            outcome: how these ended against each other, in words.
        """
        if run is None:
            self._wrong, self.words.value = False, paragraph("Ready.", "dw-status")
            self.progress.reset()
            self._paint_buttons(busy=busy, paused=paused)
            return
        compared = tuple(together) if len(together) > 1 and run in together else ()
        shown = compared or (run,)
        outcome = outcome if _all_over(compared) else ""
        ends = self._new_ends(shown)
        self._wrong = False
        self.words.value = paragraph(outcome, "dw-status dw-outcome") if outcome else _status(run, waiting, compared)
        self._failed = next((one for one in reversed(ends) if one.status == "failed"), self._failed)
        if self._failed in shown:
            self.failure.value, self.fix.description = _failure(self._failed), _fix_label(self._failed)
        self._speak(run, compared, outcome, ends)
        if self._failed is not None:  # the progress of a comparison that goes on stays in sight
            self._offer_fix(offered=bool(self._failed.fix) and not (compared and busy))
        if (output := _output(shown)) != self.output.value:
            self.output.value = output
        self._paint_buttons(busy=busy, paused=paused)

    def forget_failure(self, *, unless_of: Sequence[Run] = ()) -> None:
        """Remove the message of an earlier run that failed, unless it is one of these."""
        if self._failed is None or self._failed in unless_of:
            return
        self._failed, self.failure.value = None, ""
        self._offer_fix(offered=False)

    def show_trained(self, words: str) -> None:
        """Say what a comparison trains with, in the place of the task; with an empty text the task is described again."""
        if words != self._trained:
            self._trained = words
            self._describe_task()

    def show_message(self, message: str, *, error: bool = False) -> None:
        """Show a message that belongs to no run; the text that an error replaces comes back when the error is fixed."""
        message = without_folders(message)
        if error and not self._wrong:
            self._covered = self.words.value
        self._wrong = error
        self.progress.alert, self.progress.said = (message, "") if error else ("", message)
        self.words.value = paragraph(message, "dw-status dw-error" if error else "dw-status")

    def _offer_fix(self, *, offered: bool) -> None:
        """Show the fix in the place of the progress bar, so that nothing moves."""
        self.fix.layout.display, self.progress.hidden = (None if offered else "none"), offered

    def _new_ends(self, shown: Sequence[Run]) -> list[Run]:
        """Return those of these runs whose end was not told yet."""
        self._ended -= {run.key for run in shown if not run.ended}
        new = [run for run in shown if run.ended and run.key not in self._ended]
        self._ended |= {run.key for run in new}
        return new

    def _speak(self, run: Run, compared: Sequence[Run], outcome: str, ends: Sequence[Run]) -> None:
        """Tell the progress of a run or a comparison, and its end, to those who do not see them."""
        failed = self._failed if self._failed in (compared or (run,)) else None
        self.progress.alert = _end(failed) if failed else ""
        if outcome:
            statuses = {other.status for other in compared}
            look = "" if "stopped" in statuses else "done" if "done" in statuses else "failed"
            self.progress.said = outcome
            self.progress.show(_share(compared), outcome, look)
        elif compared:
            told = [_end(other) for other in compared if other.ended and other.status != "failed"]
            if new := [other for other in ends if other.status != "failed"]:
                self.progress.said = _end(new[-1])
            elif self.progress.said not in told and any(len(other.history) for other in compared):
                self.progress.said = ""  # what was said before may still be spoken until then
            share, taken = _share(compared), f"{_taken(compared)}{_left(compared, ', ')}"
            self.progress.show(share, f"{_doing(compared)}, {100 * share:.0f} %: {taken}")
        else:
            if run.ended or len(run.history):
                self.progress.said = _end(run) if run.ended and run.status != "failed" else ""
            done, steps = len(run.history), run.plan.steps
            words = without_folders(run.message) if run.ended else f"step {done} of {steps}{_left([run], ', ')}"
            self.progress.show(done / steps, words, run.status if run.status in {"done", "failed"} else "")

    def _paint_buttons(self, *, busy: bool, paused: bool) -> None:
        problem = self._blocked or self.problem
        self.run.disabled = bool(problem) or busy
        self.run.tooltip = problem or ("Training is in progress; Stop ends it" if busy else "Train with these settings")
        self.pause.disabled = self.stop.disabled = not busy
        self.pause.tooltip = ("Go on" if paused else "Wait after the current step") if busy else IDLE
        self.stop.tooltip = "End what trains, keep its records, and drop the waiting runs" if busy else IDLE
        self.pause.description = "Resume" if paused else "Pause"
        if problem and not busy:
            self.show_message(problem, error=True)
        elif self._wrong and not busy:
            self._wrong, self.words.value, self.progress.alert = False, self._covered, ""

    def _repaint_buttons(self) -> None:
        self._paint_buttons(busy=not self.stop.disabled, paused=self.pause.description == "Resume")

    def _edited(self) -> None:
        self._read()
        self._repaint_buttons()

    def _read(self) -> None:
        """Update the traits from the fields, and mark invalid fields."""
        values: dict[str, Any] = {**self.values, "task": self.task.value}
        problems = []
        for name, field in self.fields.items():
            use = _SHOWN[name]
            try:
                values[name] = use.check(use.option.parse(field.value))
                field.remove_class("dw-wrong")
            except ValueProblem as problem:
                message = "must be" if isinstance(problem, OutOfRange) else f"{problem}; allowed is"
                problems.append(f"{use.option.title}: {message} {use.allowed()}")
                field.add_class("dw-wrong")
        if absent := device_problem(self.fields["device"].value):
            problems.append(f"{_SHOWN['device'].option.title}: {absent}")
        if self._vary is not None and self._vary.problem:
            problems.append(self._vary.problem)
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
        self.about.value = (
            f'<p class="dw-about dw-trained {NO_MATH}" title="{escape(self._trained)}">{escape(self._trained)}</p>'
            if self._trained
            else paragraph(task.summary, "dw-about")
        )
        self.explanation.value = _explanation(task)

    @staticmethod
    def _row(name: str, *children: widgets.Widget) -> widgets.Box:
        row = widgets.Box(children, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        row.add_class(name)
        return row


def _field(use: Use) -> widgets.Text | widgets.Dropdown:
    """Control of an option at its default; its value is text, as a person would type it."""
    option = use.option
    labels = {"description": option.title, "tooltip": option.help}
    text = "" if use.default is None else format_value(use.default)
    choices = [(choice, choice) for choice in option.choices]
    if option.kind == "bool":
        choices = [("on", "true"), ("off", "false")]
    if choices:
        empty = [(option.null_words or "empty", "")] if option.nullable else []
        return widgets.Dropdown(options=[*empty, *choices], value=text, **labels)
    field = widgets.Text(value=text, continuous_update=True, **labels)
    if option.kind != "text":
        field.add_class("dw-number")
    return field


def _button(text: str, style: str, tooltip: str, on_click: Callable[[], None]) -> widgets.Button:
    button = widgets.Button(description=text, button_style=style, tooltip=tooltip)
    button.add_class("dw-button")
    button.on_click(lambda _: on_click())
    return button


def _explanation(task: Task) -> str:
    """Folded list of the task, the fields and their meaning, as HTML."""
    lines = [(task.title, task.summary), *((use.option.title, use.option.help) for use in _SHOWN.values())]
    pairs = "".join(f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>" for title, text in lines)
    return f'<details class="dw-explain {NO_MATH}"><summary>What these fields mean</summary><dl>{pairs}</dl></details>'


def _all_over(compared: Sequence[Run]) -> bool:
    """Return whether there are runs of a comparison, and all have ended."""
    return bool(compared) and all(run.ended for run in compared)


def _share(compared: Sequence[Run]) -> float:
    """Done share of a comparison; of a run that failed nothing more will come, so it counts as a whole one."""
    done = sum(run.plan.steps if run.status == "failed" else len(run.history) for run in compared)
    return done / sum(run.plan.steps for run in compared)


def _doing(compared: Sequence[Run]) -> str:
    """Say how the runs of a comparison are: "3 runs: 2 running, 1 done"."""
    counts = Counter[str](run.status for run in compared)
    if len(counts) == 1:
        return f"{len(compared)} runs: all {compared[0].status}"
    return f"{len(compared)} runs: {', '.join(f'{counts[status]} {status}' for status in STATUSES if counts[status])}"


def _taken(compared: Sequence[Run]) -> str:
    return f"{sum(len(run.history) for run in compared)} of {sum(run.plan.steps for run in compared)} steps"


def _speed(shown: Sequence[Run]) -> float | None:
    """Steps per second of runs that train side by side, in all; None before the first step."""
    seconds = sum(run.seconds for run in shown)
    return sum(len(run.history) for run in shown) / seconds if seconds else None


def _left(shown: Sequence[Run], before: str) -> str:
    """Remaining time of a run or of a whole comparison in words, as soon as a speed is known."""
    speed = _speed(shown)
    if speed is None:
        return ""
    going = [run for run in shown if not run.ended]
    seconds = sum((run.plan.steps - len(run.history)) / (run.steps_per_second or speed) for run in going)
    return f"{before}{clock(seconds)} left"


def _status(run: Run, waiting: int, compared: Sequence[Run]) -> str:
    """Progress, speed and remaining time of a run or a comparison in one line, or the outcome of a run."""
    if compared:  # those of the comparison that wait are counted already
        waiting -= sum(other.status == "waiting" for other in compared)
        after = f" · {waiting} more after these" if waiting > 0 else ""
        speed = _speed(compared)
        how = "preparing …" if speed is None else f"{_taken(compared)} · {speed:.3g} steps/s{_left(compared, ' · ')}"
        doing = f"{len(compared)} runs" if speed is None else _doing(compared)
        return paragraph(f"{doing} · {how}{after}", "dw-status dw-running")
    after = f" · {waiting} more to come" if waiting else ""
    if run.status == "failed":  # the failure is shown below
        return paragraph(f"{waiting} more to come", "dw-status") if waiting else ""
    if run.ended:
        return paragraph(f"{_end(run)}{after}", "dw-status dw-outcome")
    speed = run.steps_per_second
    if speed is None:
        return paragraph(f"{run.name}: preparing …{after}", "dw-status")
    state = "paused, " if run.status == "paused" else ""
    return paragraph(
        f"{run.name}: {state}step {len(run.history)} of {run.plan.steps} · {speed:.3g} steps/s{_left([run], ' · ')}{after}",
        "dw-status dw-running",
    )


def _end(run: Run) -> str:
    return f"{run.name}: {without_folders(run.message)}"


def _failure(run: Run) -> str:
    """Failure of a run as HTML; it stays until the next run is started."""
    trace = f"<details><summary>Traceback</summary><pre>{escape(without_folders(run.trace))}</pre></details>"
    return f'<div class="dw-failure">{paragraph(_end(run), "dw-error")} {trace}</div>'


def _fix_label(run: Run) -> str:
    """Label of the fix of a failed run: "Set Learning rate to 0.001"."""
    uses = {name: TRAINING.get(name) or run.settings.spec.use(name) for name in run.fix}
    return "Set " + ", ".join(f"{uses[name].option.title} to {format_value(value)}" for name, value in run.fix.items())


def _output(shown: Sequence[Run]) -> str:
    """Output that the back ends printed or logged, such as DAdaptation with log_every, as HTML."""
    printed = [(run.name, text) for run in shown if run.output and (text := without_folders(run.output.strip()))]
    if not printed:
        return ""
    longest = LONGEST_OUTPUT // len(printed)
    ends = [(name, text if len(text) <= longest else f"…{text[-longest:]}") for name, text in printed]
    whole = ends[0][1] if len(shown) == 1 else "\n\n".join(f"{name}:\n{text}" for name, text in ends)
    return f"<details><summary>Output of the back end</summary><pre>{escape(whole)}</pre></details>"


def clock(seconds: float) -> str:
    """Format a duration: "8 s", "2:05", "1:02:05".

    >>> clock(8.2), clock(125), clock(3725)
    ('8 s', '2:05', '1:02:05')
    """
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
