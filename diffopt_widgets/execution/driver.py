"""Carries out a run step by step: for `train`, for the session and for sweeps."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.execution.outcome import divergence, explain, summary, while_finite
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.tasks import get_task
from diffopt_widgets.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import RunSaver, RunStore
    from diffopt_widgets.training.loop import Training

PUBLISH_SECONDS = 0.1
"""How often values are fetched from the device and shown."""

PICTURES = (0.25, 0.5, 0.75)
"""How far the run is, as a part of its steps, when samples are made meanwhile."""

PICTURE_COST = 1 / 40
"""Most that making them once may take, as a part of the time that the whole run needs at its pace so far."""


def drive(run: Run, *, on_publish: Callable[[Run], None] = lambda _: None) -> Generator[None, None, None]:
    """Carry out a run, one step per `next()`; about ten times a second its new records are published.

    Closing the generator stops the run; carried out again, it goes on as if it had not been stopped. An exception in it,
    or a loss that is no longer finite, ends the run as failed with a message, and keeps what was recorded, up to the step
    with that loss; only what asks for it to stop (KeyboardInterrupt) is raised again.

    Raises:
        ValueError: the run is over or in progress, or what it needs to go on is gone.
    """
    if run.status != "waiting" and not run.can_continue:
        raise ValueError(f"{run.name} is {run.status} and cannot go on; to train it again, make a new Run of its plan")
    return _carry_out(run, on_publish)


def _carry_out(run: Run, on_publish: Callable[[Run], None]) -> Generator[None, None, None]:
    pending: list[StepRecord] = []
    training = None
    if run.kept is not None and (training := _taken_up(run)) is None:
        on_publish(run)
        return
    run.status, run.message = "running", ""
    try:
        if training is None:
            with _captured(run):
                training = _prepare(run)
        run.keep(training)
        yield
        steps = training.steps()
        published = time.perf_counter()
        while True:
            with _captured(run):
                record = next(steps, None)
            if record is None:
                break
            pending.append(record)
            picture = _picture_due(training)
            if picture or time.perf_counter() - published >= PUBLISH_SECONDS:
                _publish(run, training, pending, on_publish)
                if picture:
                    run.samples[training.taken] = training.samples()
                published = time.perf_counter()
            yield
        _publish(run, training, pending, on_publish)
        run.status = "done"
    except (GeneratorExit, KeyboardInterrupt):
        over = training is not None and training.taken == run.plan.steps
        run.status = "done" if over else "stopped"
        raise
    except Exception as error:  # noqa: BLE001  # whatever a back end raises is shown in the run bar
        with contextlib.suppress(Exception):  # a device that has failed cannot be read any more
            _record(run, training, pending)
        _fail(run, error)
    finally:
        _finish(run, training, pending)
        on_publish(run)


def _prepare(run: Run) -> Training:
    from diffopt_widgets.training.loop import Training

    training = Training(run.plan)
    run.device = str(training.device)
    run.history = History(training.group_names)
    run.eval_before = training.evaluate()
    run.samples, run.wanted = {0: training.samples()}, training.problem.wanted()
    return training


def _taken_up(run: Run) -> Training | None:
    """What a stopped run goes on with; None when its checkpoint cannot be used here, which its message then says.

    From a checkpoint, steps that came after it are taken again: they are in the history already.
    """
    if not isinstance(run.kept, Checkpoint):
        return run.kept
    run.status = "stopped"
    try:
        with _captured(run):
            training = run.kept.restored(run.plan)
    except Exception as error:  # noqa: BLE001  # nothing is lost: elsewhere, or another day, it may go on
        run.message = f"It cannot go on here: {error}. It can be repeated from the start."
        return None
    training.seconds = max(training.seconds, run.seconds)
    run.wanted = training.problem.wanted()
    return training


def _picture_due(training: Training) -> bool:
    """Whether samples are to be made after the step just taken: it is time, and they cost little beside the run."""
    steps, taken = training.plan.steps, training.taken
    if not 0 < taken < steps or taken not in {round(part * steps) for part in PICTURES}:
        return False
    return training.sampling_seconds <= PICTURE_COST * training.seconds / taken * steps


def _publish(run: Run, training: Training, pending: list[StepRecord], on_publish: Callable[[Run], None]) -> None:
    _record(run, training, pending)
    on_publish(run)
    _check_finite(run)


def _record(run: Run, training: Training | None, pending: list[StepRecord]) -> None:
    """Fetch what is pending from the device into the run's history."""
    if training is None or not pending:
        return
    from diffopt_widgets.state_size.measured import state_bytes
    from diffopt_widgets.training.loop import fetch

    began = time.perf_counter()
    records = while_finite(fetch(pending))
    training.seconds += time.perf_counter() - began  # the device worked meanwhile: it is training time too
    run.history.extend(
        record for record in records if record.step > len(run.history)
    )  # an interrupt may have left some twice
    pending.clear()
    if run.state_bytes is None:
        run.state_bytes = state_bytes(training.optimizer)


def _check_finite(run: Run) -> None:
    if diverged := divergence(run):
        raise diverged


def _fail(run: Run, error: Exception) -> None:
    run.status, run.trace = "failed", traceback.format_exc()
    run.message, run.fix = explain(run, divergence(run) or error)  # what a broken loss led to is not the cause


def _finish(run: Run, training: Training | None, pending: list[StepRecord]) -> None:
    """Keep what was recorded and what a stopped run needs to go on, evaluate, and say in words how it ended."""
    if run.status == "failed":
        run.keep(None)
        return
    try:
        _record(run, training, pending)
        if training is not None and training.taken < len(run.history):
            run.message = f"Stopped at step {training.taken}, on its way back to the {len(run.history)} taken before"
        else:
            if training is not None:
                run.eval_after = training.evaluate()
                _check_finite(run)
                run.samples[training.taken] = training.samples()
            run.message = summary(run)
    except Exception as error:  # noqa: BLE001  # as above; an evaluation needs memory of its own
        _fail(run, error)
    whole = training is not None and training.taken <= len(run.history) and not training.torn
    run.keep(training if run.status == "stopped" and whole else None)


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


@lists_run_options
def train(
    settings: Settings,
    task: str = RunOptions.task,
    steps: int = RunOptions.steps,
    *,
    progress: bool = True,
    store: RunStore | str | os.PathLike[str] | None = None,
    **options: Unpack[RunKeywords],
) -> Run:
    """Train to the end and return the run. KeyboardInterrupt stops it and keeps what was recorded.

    A run that fails is returned too: its `status` is "failed" and its `message` says why.

    Args:
        settings: the optimizer with its options, and the schedule.
        options: those of the run by name, as `RunOptions` has them.
        progress: whether to show a progress bar.
        store: a `RunStore`, or the path of one, that keeps the run as it goes, under `run.key`.

    Raises:
        SettingsError: something in the arguments cannot be used.
        KeyError: there is no such task.
        StoreError: the store cannot be opened.

    >>> from diffopt_widgets import Settings
    >>> run = train(Settings("ADAMW", lr=1e-3), task="swiss_roll", steps=5, progress=False)
    >>> run.status, len(run.history)
    ('done', 5)
    """
    plan = RunPlan.of(settings, get_task(task).key, steps, **options)
    return run_to_end(Run(plan), progress=progress, saver=saver_for(store))


def saver_for(store: RunStore | str | os.PathLike[str] | None) -> RunSaver | None:
    """What keeps runs in a store or the path of one; None without a store.

    Raises:
        StoreError: the store cannot be opened.
    """
    if store is None:
        return None
    from diffopt_widgets.store import RunSaver, RunStore

    return RunSaver(store if isinstance(store, RunStore) else RunStore(store))


def resume(run: Run, *, progress: bool = True, store: RunStore | str | os.PathLike[str] | None = None) -> Run:
    """Take a stopped run up again and train it to its planned end, as if it had not been stopped.

    One that a store gives (`store.load(id)`) goes on from its last checkpoint, in any process; name the store to have it
    kept there on. Where the checkpoint cannot be used, such as without the GPU that it was made on, the run stays stopped
    and its `message` says why.

    Raises:
        ValueError: the run is over or in progress, or what it needs to go on is gone.
        StoreError: the store cannot be opened.
    """
    return run_to_end(run, progress=progress, saver=saver_for(store))


def run_to_end(run: Run, *, progress: bool = True, saver: RunSaver | None = None) -> Run:
    """Carry out a waiting or stopped run to its end, with a progress bar; `saver` keeps it in a store.

    Raises:
        ValueError: the run is over or in progress, or what it needs to go on is gone.
    """
    with contextlib.suppress(KeyboardInterrupt), progress_bars(shown=progress) as show:
        drive_to_end(run, show=show, saver=saver)
    return run


def drive_to_end(run: Run, *, show: Callable[[Run], None], saver: RunSaver | None = None) -> None:
    """As `run_to_end`, but KeyboardInterrupt goes on to the caller once the run is stopped; `show` is told of progress."""

    def publish(run: Run) -> None:
        if saver is not None:
            saver.save(run)
        show(run)

    show(run)
    for _ in drive(run, on_publish=publish):
        pass
