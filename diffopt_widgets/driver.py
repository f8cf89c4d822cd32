"""Carries out a run step by step, and tells how it went: for `train`, for the session and for sweeps."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

from diffopt_widgets.plan import RunPlan
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.runs import Run
from diffopt_widgets.tasks import get_task

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.values import Value
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.training.loop import Training

PUBLISH_SECONDS = 0.1
"""How often values are fetched from the device and shown."""


def carry_out(run: Run, *, on_publish: Callable[[Run], None] = lambda _: None) -> Generator[None, None, None]:
    """Carry out a run, one step per `next()`; about ten times a second its new records are published.

    Closing the generator stops the run. An exception in it, or a loss that is no longer finite, ends the run as failed
    with a message, and keeps what was recorded; only what asks for it to stop (KeyboardInterrupt) is raised again.
    """
    pending: list[StepRecord] = []
    training: Training | None = None
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
                _publish(run, training, pending, on_publish)
                published = time.perf_counter()
            yield
        _publish(run, training, pending, on_publish)
        run.status = "done"
    except (GeneratorExit, KeyboardInterrupt):
        run.status = "stopped"
        raise
    except Exception as error:  # noqa: BLE001  # whatever a back end raises is shown in the run bar
        _keep(run, pending)
        _fail(run, error)
    finally:
        _finish(run, training, pending)
        on_publish(run)


class Diverged(ArithmeticError):
    """The loss is no longer a finite number."""


def _prepare(run: Run) -> Training:
    from diffopt_widgets.training.loop import Training

    training = Training(run.plan)
    run.device = str(training.device)
    run.history = History(training.group_names)
    run.eval_before = training.evaluate()
    run.samples[0] = training.problem.samples()
    return training


def _publish(run: Run, training: Training, pending: list[StepRecord], on_publish: Callable[[Run], None]) -> None:
    from diffopt_widgets.training.loop import fetch
    from diffopt_widgets.training.memory import state_bytes

    began = time.perf_counter()
    records = fetch(pending)
    training.seconds += time.perf_counter() - began  # the device worked meanwhile: it is training time too
    pending.clear()
    run.history.extend(records)
    if run.state_bytes is None:
        run.state_bytes = state_bytes(training.optimizer)
    on_publish(run)
    for record in records:
        if not math.isfinite(float(record.loss)):
            raise Diverged(record.step)


def _keep(run: Run, pending: list[StepRecord]) -> None:
    from diffopt_widgets.training.loop import fetch

    with contextlib.suppress(Exception):  # a device that has failed cannot be read any more
        run.history.extend(fetch(pending))
    pending.clear()


def _fail(run: Run, error: Exception) -> None:
    run.status, run.trace, run.message = "failed", traceback.format_exc(), _explain(run, error)


def _finish(run: Run, training: Training | None, pending: list[StepRecord]) -> None:
    """Keep what was recorded, evaluate, and say in words how the run ended."""
    _keep(run, pending)
    if run.status == "failed":
        return
    try:
        if training is not None:
            run.eval_after = training.evaluate()
            run.samples[len(run.history)] = training.problem.samples()
        run.message = _summary(run)
    except Exception as error:  # noqa: BLE001  # as above; an evaluation needs memory of its own
        _fail(run, error)


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
        return f"The loss stopped being a finite number at step {error.args[0]}. {_gentler(run.settings)}"
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__} after {len(run.history)} steps: {text}"


def _gentler(settings: Settings) -> str:
    """What to change so that the same run would not diverge, by the kind of optimizer."""
    options = settings.options
    if options.get("relative_step"):
        return "Adafactor set its own rate too high: turn relative_step off and give a learning rate, such as 1e-3."
    if "d_coef" in options:
        return f"The estimated rate is too high: try half of d_coef ({_half(options['d_coef'])}), or a growth_rate of 1.02."
    if settings.spec.estimates_rate:
        growth = ", or a growth_rate of 1.02" if "growth_rate" in options else ""
        return f"The estimated rate is too high: try a third of the learning rate ({settings.lr / 3:.2g}){growth}."
    return f"The rate is probably too high: try a tenth of it (learning rate {settings.lr / 10:.2g})."


def _half(value: Value) -> str:
    return f"{float(value) / 2:.2g}" if isinstance(value, int | float) else "0.5"


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
    grad_norm: bool = False,
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
    plan = RunPlan(settings, get_task(task).key, steps, batch_size, accumulation, seed, device, grad_norm)
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
