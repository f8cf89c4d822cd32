"""Driver: carries out a run step by step, for `train`, for the session and for sweeps."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.execution.interrupt import end_interrupted_loop, interrupt_held_back, note_interrupted
from diffopt_widgets.execution.outcome import (
    Diverged,
    RunFailed,
    explain,
    summary,
    until_not_finite,
    warn_of_failed,
)
from diffopt_widgets.execution.progress import progress_bars
from diffopt_widgets.plain_text import printable
from diffopt_widgets.runs.run import Run, divergence
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import check_flag, checked_path, wrong_kind
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.tasks import UnknownTask, task_key
from diffopt_widgets.training.checkpoint import Checkpoint
from diffopt_widgets.training.environment import warn_of_warmup

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.records import StepRecord
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.store import RunSaver, RunStore
    from diffopt_widgets.tasks import Task
    from diffopt_widgets.training.loop import Training

PUBLISH_SECONDS = 0.1
"""Interval between two publishes, at which values are fetched from the device and shown."""

SAMPLING_POINTS = (0.25, 0.5, 0.75)
"""Points of the run, as fractions of its steps, at which samples are made during training."""

EVALUATIONS = 10
"""Largest number of evaluations of a run after its first step; the last one is at its end."""

EVALUATION_STEPS = 50
"""Smallest number of steps between two evaluations. On the digits an evaluation takes as long as five steps on a CPU, so those
on the way add at most a tenth; on the points it takes half a step."""

EVALUATION_COST = 1 / 20
"""Upper limit of the time for one evaluation of a user's task, as a fraction of the time that the whole run needs at its pace."""

SAMPLING_COST = 1 / 40
"""Upper limit of the time for one set of samples, as a fraction of the time that the whole run needs at its pace so far."""


CANNOT_GO_ON = "It cannot go on"
"""Beginning of the message of a stopped run whose checkpoint cannot be used here."""


def drive(
    run: Run,
    *,
    on_publish: Callable[[Run], object] = lambda _: None,
    make: Callable[[RunPlan], Training] | None = None,
) -> Generator[None, None, None]:
    """Carry out a run, one step per `next()`; about ten times a second its new records are published.

    Closing the generator stops the run; when the run is carried out again, it continues as if it had not been stopped. An
    exception, or a loss that is no longer finite, ends the run as failed with a message and keeps the records up to the
    step with that loss. Only KeyboardInterrupt and SystemExit, which ask for an end, are raised again.

    Args:
        run: a run that waits or was stopped.
        on_publish: called with the run at each publish.
        make: makes the training of a plan; `Training` by default.

    Raises:
        ValueError: the run is over or in progress, or its state for continuing is gone.
    """
    if not run.can_begin:
        raise ValueError(
            printable(f"{run.name} is {run.status} and cannot go on; to train it again, make a new Run of its plan")
        )
    return _steps(run, on_publish, make)


def _steps(
    run: Run, on_publish: Callable[[Run], object], make: Callable[[RunPlan], Training] | None
) -> Generator[None, None, None]:
    pending: list[StepRecord] = []
    training = None
    if run.kept is not None and (training := _restore(run)) is None:
        on_publish(run)
        return
    run.begin()
    try:
        if training is None:
            with _captured_output(run):
                training = _prepare(run, make)
        run.keep(training)
        yield
        steps = training.steps()
        published = time.perf_counter()
        while True:
            with _captured_output(run):
                record = next(steps, None)
            if record is None:
                break
            pending.append(record)
            pending[-1] = _evaluated(run, training, record)  # which an interrupt of it does not cost
            samples_due = _samples_due(training)
            if samples_due or time.perf_counter() - published >= PUBLISH_SECONDS:
                _publish(run, training, pending, on_publish)
                if samples_due:
                    _make_samples(run, training)
                published = time.perf_counter()
            yield
        _publish(run, training, pending, on_publish)
        run.end("done")
    except (GeneratorExit, KeyboardInterrupt, SystemExit):
        over = training is not None and training.taken == run.plan.steps
        if not run.ended:  # interrupted after its end already
            run.end("done" if over else "stopped")
        raise
    except Exception as error:  # noqa: BLE001  # the run bar shows whatever a back end raises
        with contextlib.suppress(Exception):  # a failed device cannot be read any more
            _record(run, training, pending)
        _fail(run, error)
    finally:
        _finish(run, training, pending)
        on_publish(run)


def _prepare(run: Run, make: Callable[[RunPlan], Training] | None) -> Training:
    from diffopt_widgets.training.environment import trained_with
    from diffopt_widgets.training.loop import Training

    training = (make or Training)(run.plan)
    run.set_up(str(training.device), training.group_names, trained_with(run.settings.spec, training.device))
    run.record_evaluation(before=training.evaluate())
    run.set_real_samples(training.wanted())
    _make_samples(run, training)
    return training


def _make_samples(run: Run, training: Training) -> None:
    """Add samples of the model as it is now to the run, where its task makes samples."""
    if (samples := training.samples()) is not None:
        run.add_samples(training.taken, samples)


def _restore(run: Run) -> Training | None:
    """Training that a stopped run continues; None when its checkpoint cannot be used here, and the run's message says so.

    The steps after the checkpoint are taken again, although the history has them already.
    """
    if not isinstance(run.kept, Checkpoint):
        return run.kept
    run.end("stopped")
    try:
        with _captured_output(run):
            training = run.kept.restored(run.plan)
    except UnknownTask as error:
        run.set_message(f"{CANNOT_GO_ON} yet: {error}.")
        return None
    except Exception as error:  # noqa: BLE001  # nothing is lost: on another machine or later it may continue
        run.set_message(f"{CANNOT_GO_ON} here: {error}. It can be repeated from the start.")
        return None
    from diffopt_widgets.training.environment import trained_with

    run.go_on_with(str(training.device), trained_with(run.settings.spec, training.device))
    training.seconds = max(training.seconds, run.seconds)
    run.set_real_samples(training.wanted())
    return training


def warn_of_ends(runs: Sequence[Run]) -> None:
    """Warn of the runs that failed, and of those that could not go on, in the name of the caller's caller."""
    warn_of_failed(runs, stacklevel=4)
    for run in runs:
        if run.status == "stopped" and run.message.startswith(CANNOT_GO_ON):
            warnings.warn(f"{run.name}: {run.message}", RunFailed, stacklevel=3)


def _samples_due(training: Training) -> bool:
    """Check whether to make samples after the step just taken: it is one of `SAMPLING_POINTS`, and they cost little beside the run."""
    steps, taken = training.plan.steps, training.taken
    if (
        not training.makes_samples
        or not 0 < taken < steps
        or taken not in {round(fraction * steps) for fraction in SAMPLING_POINTS}
    ):
        return False
    return training.sampling_seconds <= SAMPLING_COST * training.seconds / taken * steps


@functools.cache
def evaluation_points(steps: int) -> tuple[int, ...]:
    """Return the steps of a run after which its evaluation loss is recorded: none for a run too short for two.

    >>> evaluation_points(300), evaluation_points(99)
    ((50, 100, 150, 200, 250, 300), ())
    """
    count = min(EVALUATIONS, steps // EVALUATION_STEPS)
    return tuple(round(steps * i / count) for i in range(1, count + 1)) if count > 1 else ()


def _evaluation_due(training: Training) -> bool:
    """Check whether to evaluate after the step just taken: it is one of `evaluation_points`, and that costs little beside the run.

    What an evaluation of the bench's own tasks costs is known (`EVALUATION_STEPS`), so their records do not depend on the clock.
    """
    steps, taken = training.plan.steps, training.taken
    if taken not in evaluation_points(steps):
        return False
    if taken == steps or not training.own_task:
        return True
    return training.evaluation_seconds <= EVALUATION_COST * training.seconds / taken * steps


def _evaluated(run: Run, training: Training, record: StepRecord) -> StepRecord:
    """Return the record of the step just taken, with the evaluation loss if that is due."""
    if not _evaluation_due(training):
        return record
    began = time.perf_counter()
    float(record.loss)  # wait for the device: it is still training, and that is not the evaluation's time
    training.seconds += time.perf_counter() - began
    try:
        with _captured_output(run):
            return replace(record, eval_loss=training.evaluate())
    except Exception:  # noqa: BLE001  # it may need more memory than is left; the training goes on without this point
        return record


def _publish(run: Run, training: Training, pending: list[StepRecord], on_publish: Callable[[Run], object]) -> None:
    _record(run, training, pending)
    on_publish(run)
    _check_finite(run)


def _record(run: Run, training: Training | None, pending: list[StepRecord]) -> None:
    """Fetch the pending records from the device into the run's history."""
    if training is None or not pending:
        return
    from diffopt_widgets.state_size.measured import state_bytes
    from diffopt_widgets.training.loop import fetch

    began = time.perf_counter()
    records = until_not_finite(fetch(pending))
    training.seconds += time.perf_counter() - began  # the device was still training during the fetch
    run.record(records)  # after an interrupt some records may come twice; the run skips them
    pending.clear()
    if run.state_bytes is None:
        run.record_state_bytes(state_bytes(training.optimizer))


def _check_finite(run: Run) -> None:
    if when := divergence(run):
        raise Diverged(when)


def _fail(run: Run, error: Exception) -> None:
    when = divergence(run)
    message, fix = explain(run, Diverged(when) if when else error)  # an error that follows from it is not the cause
    run.fail(message, traceback.format_exc(), fix)


def _finish(run: Run, training: Training | None, pending: list[StepRecord]) -> None:
    """Keep the records and a stopped run's training, evaluate, and set the message on how the run ended."""
    if run.status == "failed":
        return
    try:
        _record(run, training, pending)
        if training is not None and training.taken < len(run.history):
            run.set_message(f"Stopped at step {training.taken}, on its way back to the {len(run.history)} taken before")
        else:
            if training is not None:
                run.record_evaluation(after=_last_evaluation(run, training))
                _check_finite(run)
                _make_samples(run, training)
            run.set_message(summary(run))
    except Exception as error:  # noqa: BLE001  # as above; an evaluation needs memory of its own
        _fail(run, error)
    complete = training is not None and training.taken <= len(run.history) and not training.torn
    run.keep(training if run.status == "stopped" and complete else None)


def _last_evaluation(run: Run, training: Training) -> float:
    """Return the evaluation loss after the steps taken, which the last record may have already."""
    history = run.history
    if "eval_loss" in history.names() and training.taken == history.step[-1]:
        recorded = float(history.column("eval_loss")[-1])
        if math.isfinite(recorded):
            return recorded
    return training.evaluate()


@contextlib.contextmanager
def _captured_output(run: Run) -> Iterator[None]:
    """Add what the back end prints or logs to the run."""
    from diffopt_widgets.optimizers.printing import kept_printing

    with kept_printing() as out:
        try:
            yield
        finally:
            if text := out.getvalue():
                run.add_output(text)


@lists_run_options
def train(
    settings: Settings | str,
    task: str | Task = RunOptions.task,
    steps: int = RunOptions.steps,
    *,
    progress: bool = True,
    store: RunStore | str | os.PathLike[str] | None = None,
    **options: Unpack[RunKeywords],
) -> Run:
    """Train to the end and return the run.

    Ctrl-C, or "Interrupt" of a notebook, stops the run after its current step; the run is returned, and `resume(run)` goes on.
    The next `train` of a loop around it then raises KeyboardInterrupt, which ends the loop. A second Ctrl-C does not wait
    for the step, and the run cannot go on then. A run that fails gives a warning that says why, and is returned with what it recorded: its
    `status` is "failed", its `message` is the reason and its `fix` has the values to try.

    Args:
        settings: the optimizer with its options, and the schedule; or the name of an optimizer for its defaults.
        options: options of the run by name, as in `RunOptions`.
        progress: whether to show a progress bar.
        store: a `RunStore` or its path; the run is saved there under `run.key` while it trains.

    Raises:
        SettingsError: an argument cannot be used.
        UnknownTask: there is no such task.
        StoreError: the store cannot be opened or written.

    >>> from diffopt_widgets import Settings
    >>> run = train(Settings("ADAMW", lr=1e-3), task="swiss_roll", steps=5, progress=False)
    >>> run.status, len(run.history)
    ('done', 5)
    """
    check_flag("progress", progress)
    plan = RunPlan.of(settings, task_key(task), steps, **options)
    saver = saver_for(store)
    warn_of_warmup([plan])
    run = run_to_end(Run(plan), progress=progress, saver=saver)
    warn_of_failed([run])
    return run


def saver_for(store: RunStore | str | os.PathLike[str] | None) -> RunSaver | None:
    """Saver for a store or its path; None without a store.

    Raises:
        StoreError: the store cannot be opened or written.
    """
    if store is None:
        return None
    from diffopt_widgets.store import RunSaver, RunStore

    opened = store if isinstance(store, RunStore) else RunStore(checked_path("store", store))
    opened.check_writable()
    return RunSaver(opened)


def resume(run: Run, *, progress: bool = True, store: RunStore | str | os.PathLike[str] | None = None) -> Run:
    """Continue a stopped run to its planned end, as if it had not been stopped.

    A run from a store (`store.load(id)`) continues from its last checkpoint, in any process; name the store here to keep
    saving the run there. Where the checkpoint cannot be used, such as without the GPU that it was made on, the run stays
    stopped, and a warning and its `message` say why.

    Raises:
        ValueError: the run is over or in progress, or its state for continuing is gone; or it is no run of the bench.
        StoreError: the store cannot be opened or written.
    """
    if not isinstance(run, Run):
        watched = {"plan", "about", "history"} <= set(dir(run))
        problem = "it was recorded in another loop, by dw.watch or another tool, and only that loop can continue it"
        if watched:
            raise SettingsError((Fault("run", None, problem, ""),))
        raise wrong_kind("run", run, "a run", "Give what dw.train(…) or store.load(id) returned.")
    check_flag("progress", progress)
    run_to_end(run, progress=progress, saver=saver_for(store))
    warn_of_ends([run])
    return run


def run_to_end(run: Run, *, progress: bool = True, saver: RunSaver | None = None) -> Run:
    """Carry out a waiting or stopped run to its end, with a progress bar; `saver` writes it to a store.

    Raises:
        ValueError: the run is over or in progress, or its state for continuing is gone.
    """
    end_interrupted_loop()
    try:
        with interrupt_held_back() as interrupted, progress_bars(shown=progress) as show:
            drive_to_end(run, show=show, saver=saver, interrupted=interrupted)
    except KeyboardInterrupt:
        note_interrupted()
        if progress and run.status == "stopped":
            words = "dw.resume(run) goes on" if run.can_continue else "it cannot go on, since a step was broken off"
            sys.stderr.write(f"{run.name}: stopped after {len(run.history)} of {run.plan.steps} steps; {words}\n")
    return run


def drive_to_end(
    run: Run,
    *,
    show: Callable[[Run], None],
    interrupted: Callable[[], bool],
    saver: RunSaver | None = None,
    make: Callable[[RunPlan], Training] | None = None,
) -> None:
    """Carry out a run to its end; `show` is called at each publish, and `make` is as in `drive`.

    Raises:
        KeyboardInterrupt: `interrupted` became true, which stops the run after its current step; or it was raised in a step.
    """

    def publish(run: Run) -> None:
        if saver is None or saver.save(run):
            show(run)

    try:
        show(run)
        with contextlib.closing(drive(run, on_publish=publish, make=make)) as steps:
            for _ in steps:
                if interrupted():
                    break
    except KeyboardInterrupt:  # at any line, so perhaps before its end was noted or saved
        if not run.ended:
            run.end("stopped")
        if saver is not None:
            saver.save(run)
        raise
    if interrupted():
        raise KeyboardInterrupt
