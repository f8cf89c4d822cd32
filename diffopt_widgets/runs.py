"""Run: one training run with all that it leaves behind, and how it is carried out step by step."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import math
import time
import traceback
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.plan import RunPlan
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.tasks import get_task

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from diffopt_widgets.settings import Settings
    from diffopt_widgets.tasks import Samples
    from diffopt_widgets.training.loop import Training

Status: TypeAlias = Literal["waiting", "running", "paused", "done", "stopped", "failed"]

PUBLISH_SECONDS = 0.1
"""How often values are fetched from the device and shown."""


@dataclass(eq=False)
class Run:
    """One training run: what was asked, what happened, and how it ended."""

    plan: RunPlan
    name: str = ""
    key: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    status: Status = "waiting"
    message: str = ""
    """How it ended, in words."""
    trace: str = ""
    """The traceback of a failed run."""
    output: str = ""
    """What the back end printed or logged while it trained."""
    history: History = field(default_factory=lambda: History(()))
    device: str = ""
    eval_before: float | None = None
    eval_after: float | None = None
    samples_before: Samples | None = None
    samples_after: Samples | None = None

    def __post_init__(self) -> None:
        self.name = self.name or short_name(self.plan.settings)

    def __repr__(self) -> str:
        return f"<Run {self.name!r} on {self.plan.task}: {self.status}, {len(self.history)} of {self.plan.steps} steps>"

    @property
    def settings(self) -> Settings:
        """The settings that it was trained with."""
        return self.plan.settings

    @property
    def ended(self) -> bool:
        """Whether it will not go on."""
        return self.status in {"done", "stopped", "failed"}

    @property
    def seconds(self) -> float:
        """Training time so far, pauses left out."""
        return float(self.history.column("seconds")[-1]) if len(self.history) else 0.0

    @property
    def steps_per_second(self) -> float | None:
        """Mean speed so far; None before the first step."""
        return len(self.history) / self.seconds if self.seconds else None

    @property
    def final_loss(self) -> float | None:
        """Mean training loss of the last twentieth of the steps taken; None before the first step."""
        if not len(self.history):
            return None
        tail = max(1, len(self.history) // 20)
        return float(self.history.column("loss")[-tail:].mean())

    def figure(self) -> go.Figure:
        """Its loss and rates as an ordinary plotly figure."""
        from diffopt_widgets.plot.figures import Curve, figure

        return figure([Curve(self.name, self.history, schedule=self.settings.spec.estimates_rate)])

    def to_frame(self) -> pd.DataFrame:
        """Its history as a pandas DataFrame, one row per step.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_frame() needs pandas. To mend it: pip install pandas") from error
        return pd.DataFrame(dict(self.history.to_columns())).set_index("step")


def short_name(settings: Settings) -> str:
    """Name a run after its optimizer and what differs from the defaults."""
    changed = {name: value for name, value in settings.changed().items() if name not in {"lr_scaler", "cycles"}}
    words = [f"{value}" if name == "schedule" else f"{name} {format_value(value)}" for name, value in changed.items()]
    return " · ".join([settings.optimizer, *words[:3]]) + (" …" if len(words) > 3 else "")


def name_by_difference(plans: Sequence[RunPlan]) -> list[str]:
    """Name runs of one comparison by what differs between them, such as `PRODIGY · d_coef 0.5`.

    Where optimizers differ, an option is named only where it is not at its optimizer's default.
    """
    flats = [plan.flat() for plan in plans]
    varying = [name for name in flats[0] if any(flat.get(name, flats[0][name]) != flats[0][name] for flat in flats)]
    if not varying:
        return [short_name(plan.settings) for plan in plans]
    if "optimizer" not in varying:
        return [f"{plan.settings.optimizer} · {_differences(plan.flat(), varying)}" for plan in plans]
    names = []
    for plan, flat in zip(plans, flats, strict=True):
        own = {field.name for field in fields(RunPlan)}
        told = [name for name in varying if name in own and name != "settings"]
        words = _differences(flat, [*plan.settings.changed(), *told])
        names.append(f"{plan.settings.optimizer} · {words}" if words else plan.settings.optimizer)
    return names


def _differences(flat: Mapping[str, Any], names: Sequence[str]) -> str:  # Any: values of a plan
    plain = {"schedule", "task"}
    return ", ".join(str(flat[name]) if name in plain else f"{name} {format_value(flat[name])}" for name in names)


def carry_out(run: Run, *, on_publish: Callable[[Run], None] = lambda _: None) -> Generator[None, None, None]:
    """Carry out a run, one step per `next()`; about ten times a second its new records are published.

    Closing the generator stops the run. An exception in it, or a loss that is no longer finite, ends the run as failed
    with a message, and keeps what was recorded; only what asks for it to stop (KeyboardInterrupt) is raised again.
    """
    pending: list[StepRecord] = []
    training: Training | None = None
    failure: Exception | None = None
    run.status = "running"
    try:
        with _captured(run):
            training = _prepare(run)
        yield
        steps = training.steps()
        published = time.perf_counter()
        while True:
            with _captured(run):
                record = next(steps, None)
            if record is None:
                break
            pending.append(record)
            if time.perf_counter() - published >= PUBLISH_SECONDS:
                _publish(run, pending, on_publish)
                published = time.perf_counter()
            yield
        _publish(run, pending, on_publish)
        run.status = "done"
    except (GeneratorExit, KeyboardInterrupt):
        run.status = "stopped"
        raise
    except Exception as error:  # noqa: BLE001  # whatever a back end raises is shown in the run bar
        run.status, run.trace, failure = "failed", traceback.format_exc(), error
    finally:
        _finish(run, training, pending, failure)
        on_publish(run)


class Diverged(ArithmeticError):
    """The loss is no longer a finite number."""


def _prepare(run: Run) -> Training:
    from diffopt_widgets.training.loop import Training

    training = Training(run.plan)
    run.device = str(training.device)
    run.history = History(training.group_names)
    run.eval_before = training.evaluate()
    run.samples_before = training.problem.samples()
    return training


def _publish(run: Run, pending: list[StepRecord], on_publish: Callable[[Run], None]) -> None:
    from diffopt_widgets.training.loop import fetch

    records = fetch(pending)
    pending.clear()
    run.history.extend(records)
    on_publish(run)
    for record in records:
        if not math.isfinite(float(record.loss)):
            raise Diverged(record.step)


def _finish(run: Run, training: Training | None, pending: list[StepRecord], failure: Exception | None) -> None:
    """Keep what was recorded, and say in words how the run ended."""
    from diffopt_widgets.training.loop import fetch

    with contextlib.suppress(Exception):  # a device that has failed cannot be read any more
        run.history.extend(fetch(pending))
    if failure is not None:
        run.message = _explain(run, failure)
        return
    if training is not None:
        run.eval_after = training.evaluate()
        run.samples_after = training.problem.samples()
    run.message = _summary(run)


def _summary(run: Run) -> str:
    parts = [] if run.status == "done" else [f"Stopped after {len(run.history)} of {run.plan.steps} steps"]
    if run.eval_before is not None and run.eval_after is not None:
        parts.append(f"evaluation loss {run.eval_before:.3g} → {run.eval_after:.3g}")
    if "d" in run.history.names():
        parts.append(f"d ended at {run.history.column('d')[-1]:.2g}")
    if run.steps_per_second:
        parts.append(f"{run.steps_per_second:.3g} steps/s on the {run.device.upper()}")
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def _explain(run: Run, error: Exception) -> str:
    if isinstance(error, Diverged):
        return (
            f"The loss stopped being a finite number at step {error.args[0]}. "
            f"The rate is probably too high: try a tenth of it (learning rate {run.settings.lr / 10:.2g})."
        )
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__} after {len(run.history)} steps: {text}"


@contextlib.contextmanager
def _captured(run: Run) -> Iterator[None]:
    """Collect what a back end prints, and logs when `log_every` asks for it, into the run."""
    out = io.StringIO()
    root, level = logging.getLogger(), logging.getLogger().level
    handler = logging.StreamHandler(out) if run.settings.options.get("log_every") else None
    if handler:
        root.addHandler(handler)
        root.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(out):
            yield
    finally:
        if handler:
            root.removeHandler(handler)
            root.setLevel(level)
        run.output += out.getvalue()


def train(
    settings: Settings,
    task: str = "digits",
    steps: int = 300,
    *,
    batch_size: int | None = None,
    accumulation: int = 1,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Run:
    """Train to the end and return the run. KeyboardInterrupt stops it and keeps what was recorded.

    A run that fails is returned too: its `status` is "failed" and its `message` says why.

    Raises:
        SettingsError: something in the arguments cannot be used.
        KeyError: there is no such task.

    >>> from diffopt_widgets import Settings
    >>> run = train(Settings("ADAMW", lr=1e-3), task="swiss_roll", steps=5, progress=False)
    >>> run.status, len(run.history)
    ('done', 5)
    """
    plan = RunPlan(settings, get_task(task).key, steps, batch_size, accumulation, seed, device)
    return finish(Run(plan), progress=progress)


def finish(run: Run, *, progress: bool = True) -> Run:
    """Carry out a waiting run to its end, with a progress bar."""
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        show = stack.enter_context(_progress_bar(run)) if progress else lambda _: None
        for _ in carry_out(run, on_publish=show):
            pass
    return run


@contextlib.contextmanager
def _progress_bar(run: Run) -> Iterator[Callable[[Run], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    # Refreshed by hand: some notebooks do not show updates that come from a thread.
    with Progress(*columns, auto_refresh=False) as bar:
        row = bar.add_task(run.name, total=run.plan.steps, speed="")

        def show(run: Run) -> None:
            speed = f"{run.steps_per_second:.3g} steps/s" if run.steps_per_second else ""
            loss = f"loss {run.final_loss:.3g}" if run.final_loss is not None else ""
            bar.update(row, completed=len(run.history), speed=f"{loss}  {speed}", refresh=True)

        yield show


def vary(plan: RunPlan, over: Mapping[str, Sequence[Any]]) -> list[RunPlan]:
    """Every combination of the values of `over`, as plans that differ from `plan` in nothing else.

    Raises:
        SettingsError: a value cannot be used.

    >>> from diffopt_widgets import Settings
    >>> [p.settings.options["d_coef"] for p in vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]})]
    [0.5, 1.0]
    """
    own = {field.name for field in fields(RunPlan)} - {"settings"}
    plans = []
    for values in itertools.product(*over.values()):
        chosen = dict(zip(over, values, strict=True))
        settings = plan.settings.replace(**{name: value for name, value in chosen.items() if name not in own})
        plans.append(replace(plan, settings=settings, **{name: chosen[name] for name in chosen if name in own}))
    return plans
