"""Run: one training run with all its results; names and variations of runs."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from diffopt_widgets.catalogue.values import Value
from diffopt_widgets.drawing.drawables import Drawn
from diffopt_widgets.plain_text import printable, printed_readably, showable
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.settings.arguments import check_kind, check_text
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.variations import short_name

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from diffopt_widgets.settings import Settings
    from diffopt_widgets.tasks import Samples
    from diffopt_widgets.training.checkpoint import Checkpoint
    from diffopt_widgets.training.loop import Training

Status: TypeAlias = Literal["waiting", "running", "paused", "done", "stopped", "failed"]


_THEN = " and then "
"""Words between two versions with which one run was trained."""


@printed_readably
@dataclass(frozen=True, eq=False)
class Run(Drawn):
    """One training run: its plan, its history and its outcome.

    Any code may read its attributes and call `rename`. Its other methods are for the code that carries it out, and they are
    the only way to change it. A run that was trained before, such as one from a store, is made with its results as
    arguments.

    >>> from diffopt_widgets import Settings
    >>> run = Run(RunPlan(Settings("PRODIGY")))
    >>> run.begin()
    >>> run.end("stopped", "After no step")
    >>> run.pause()
    Traceback (most recent call last):
    RuntimeError: PRODIGY is stopped and cannot become paused
    """

    plan: RunPlan
    name: str = ""
    key: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    status: Status = "waiting"
    message: str = ""
    """Outcome as text."""
    trace: str = ""
    """Traceback of a failed run."""
    output: str = ""
    """Text that the back end printed or logged during training."""
    history: History = field(default_factory=lambda: History(()))
    device: str = ""
    eval_before: float | None = None
    eval_after: float | None = None
    samples: Mapping[int, Samples] = field(default_factory=dict)
    """Samples of its model from the same noise, by the number of steps taken; 0 is before training."""
    wanted: Samples | None = None
    """Real examples with the same labels in the same order, for comparison with the samples; None before the run begins."""
    state_bytes: int | None = None
    """Bytes of all tensors in the optimizer's state after the first published steps, each storage counted once."""
    fix: Mapping[str, Value] = field(default_factory=dict)
    """Values to set so that a failed run would go better; empty when none are known."""
    trained_with: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages and the machine that it was trained with; empty before it begins, and where it is not known."""
    _kept: Training | Checkpoint | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_kind("plan", self.plan, RunPlan, "a plan", 'Write dw.RunPlan(dw.Settings("PRODIGY"), steps=300).')
        check_text("name", self.name, 'Write a name, such as "first try".')
        self.rename(self.name or short_name(self.plan.settings))

    def __repr__(self) -> str:
        precision = "" if self.plan.dtype == "float32" else f" in {self.plan.dtype}"
        steps = f"{len(self.history)} of {self.plan.steps} steps"
        why = f". {self.message}" if self.status == "failed" else ""
        return f"<Run {self.name!r} on {self.plan.task}{precision}: {self.status}, {steps}{why}>"

    @property
    def settings(self) -> Settings:
        """Settings of its plan."""
        return self.plan.settings

    @property
    def draws_schedule(self) -> bool:
        """True when the schedule's own value is drawn beside the applied rate: the optimizer estimates its rate."""
        return self.settings.spec.estimates_rate

    @property
    def ended(self) -> bool:
        """True when the run is done, stopped or failed."""
        return self.status in {"done", "stopped", "failed"}

    @property
    def can_begin(self) -> bool:
        """True when the run can be carried out: it is waiting, or was stopped and can continue."""
        return self.status == "waiting" or self.can_continue

    @property
    def can_continue(self) -> bool:
        """True when the run was stopped and can continue to its planned end, or begin if it was stopped before its first step.

        A stopped run that was pickled, or interrupted in the middle of a step, cannot continue.
        """
        return self.status == "stopped" and (self._kept is not None or not len(self.history))

    @property
    def kept(self) -> Training | Checkpoint | None:
        """Model, optimizer and schedule of a run in progress, or of a stopped run that can continue.

        For a run from a store it is a checkpoint; None when the run has not begun or is over.
        """
        return self._kept

    def keep(self, training: Training | Checkpoint | None) -> None:
        """Keep the training, or the checkpoint, from which the run can continue; None discards it. It is not pickled."""
        self._set(_kept=training)

    def rename(self, name: str) -> None:
        """Give the run another name; a replacement stands for each character that no page can show."""
        self._set(name=showable(name))

    def queue(self) -> None:
        """Set the run to wait for its turn. Raises RuntimeError when it cannot begin."""
        self._become("waiting", allowed=self.can_begin)

    def begin(self) -> None:
        """Begin training, or continue where the run was stopped. Raises RuntimeError when it can do neither."""
        self._become("running", allowed=self.can_begin, message="")

    def pause(self) -> None:
        """Pause the run. Raises RuntimeError when it is not running."""
        self._become("paused", allowed=self.status == "running")

    def unpause(self) -> None:
        """Continue after a pause. Raises RuntimeError when the run is not paused."""
        self._become("running", allowed=self.status == "paused")

    def end(self, status: Literal["done", "stopped"], message: str | None = None) -> None:
        """End the run, with a new message or with the one that it has.

        Raises:
            RuntimeError: the run is over already, or would be done without having run.
        """
        allowed = {"running", "paused"} if status == "done" else {"waiting", "running", "paused", "stopped"}
        self._become(status, allowed=self.status in allowed, **({} if message is None else {"message": message}))

    def fail(self, message: str, trace: str, fix: Mapping[str, Value] | None = None) -> None:
        """End the run as failed, whatever its status: it cannot continue. A run that is done may fail in its last evaluation.

        Args:
            message: what went wrong.
            trace: the traceback.
            fix: values to set so that the run would go better.
        """
        self._become("failed", allowed=True, message=message, trace=trace, fix=fix or {}, _kept=None)

    def set_message(self, message: str) -> None:
        """Set the message on how the run ended."""
        self._set(message=message)

    def set_up(self, device: str, groups: Sequence[str], trained_with: Mapping[str, str] | None = None) -> None:
        """Set the device and what it is trained with, and begin an empty history for these parameter groups."""
        self._set(device=device, trained_with=dict(trained_with or {}), history=History(groups))

    def go_on_with(self, device: str, trained_with: Mapping[str, str]) -> None:
        """Set the device on which it goes on, and add the versions and the machine where they are others than before."""
        before = self.trained_with or dict.fromkeys(trained_with, "not known")
        both = dict(self.trained_with)
        for kind, text in trained_with.items():
            earlier = before.get(kind, text)
            both[kind] = earlier if text in earlier.split(_THEN) else f"{earlier}{_THEN}{text}"
        self._set(device=device, trained_with=both)

    def record(self, records: Iterable[StepRecord]) -> None:
        """Add new records to the history; steps that it already has are skipped."""
        self.history.extend(record for record in records if record.step > len(self.history))

    def record_evaluation(self, *, before: float | None = None, after: float | None = None) -> None:
        """Set the loss on the evaluation set before training, or after the steps taken."""
        losses = {"eval_before": before, "eval_after": after}
        self._set(**{name: loss for name, loss in losses.items() if loss is not None})

    def record_state_bytes(self, state_bytes: int) -> None:
        """Set the size of the optimizer's state."""
        self._set(state_bytes=state_bytes)

    def add_samples(self, step: int, samples: Samples) -> None:
        """Add samples that its model made after `step` steps."""
        self._set(samples={**self.samples, step: samples})

    def set_real_samples(self, real: Samples | None) -> None:
        """Set the real examples for comparison with its samples."""
        self._set(wanted=real)

    def add_output(self, text: str) -> None:
        """Add text that the back end printed or logged."""
        self._set(output=self.output + text)

    def take_over(self, changes: Mapping[str, Any]) -> None:  # Any: values of fields
        """Set fields to what the process tells that carries the run out."""
        self._set(**changes)

    def as_stopped(self) -> Run:
        """Return a copy with a history of its own that another process can carry on, once it has a checkpoint."""
        copied = copy.copy(self)
        copied.take_over({"status": "stopped", "history": self.history.copy()})
        return copied

    def _become(self, status: Status, *, allowed: bool, **changes: Any) -> None:  # Any: values of fields
        if not allowed:
            raise RuntimeError(printable(f"{self.name} is {self.status} and cannot become {status}"))
        self._set(status=status, **changes)

    def _set(self, **changes: Any) -> None:  # Any: as above
        """Change fields. This is the only place that does; for all other code the class is frozen."""
        for name, value in changes.items():
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:  # Any: its fields
        return self.__dict__ | {"_kept": None}

    @property
    def batch_size(self) -> int | None:
        """Number of examples in one batch; None where the task sets it and is not registered in this process."""
        from diffopt_widgets.tasks import UnknownTask, get_task

        try:
            return self.plan.batch_size or get_task(self.plan.task).batch_size
        except UnknownTask:
            return None

    @property
    def facts(self) -> dict[str, str]:
        """Facts that say what was trained, for the columns of a table; `batch_size` is empty where it is not known."""
        plan = self.plan
        size = "" if self.batch_size is None else str(self.batch_size)
        numbers = {"steps": plan.steps, "batch_size": size, "accumulation": plan.accumulation, "seed": plan.seed}
        texts = {"optimizer": plan.settings.optimizer, "task": plan.task}
        return {**texts, **{name: str(number) for name, number in numbers.items()}, "dtype": plan.dtype}

    @property
    def samples_per_step(self) -> int | None:
        """Number of examples in one step; None where that of a batch is not known."""
        return self.batch_size and self.batch_size * self.plan.accumulation

    @property
    def samples_before(self) -> Samples | None:
        """Samples of the model before training."""
        return self.samples.get(0)

    @property
    def samples_after(self) -> Samples | None:
        """Samples of the model at the end of the run; None while it goes on."""
        return self.samples.get(len(self.history)) if self.ended else None

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
        return float(self.history.column("loss")[-self._tail :].mean())

    @property
    def best_loss(self) -> float | None:
        """Lowest mean training loss over any stretch as long as that of `final_loss`; None before the first step.

        Stretches with a loss that is not finite do not count. It is never above a finite `final_loss`.
        """
        final = self.final_loss
        if final is None:
            return None
        means = _window_means(self.history.column("loss"), self._tail)
        finite = means[np.isfinite(means)]
        best = float(finite.min()) if len(finite) else final
        return min(best, final)  # the same window summed in another order may differ in its last bit

    @property
    def applied_plateau(self) -> float | None:
        """Level that the applied rate reached and held; None where no rate is known.

        It is the 95th percentile, over the steps with a known rate, of the largest applied rate of any group. A twentieth
        of the steps may lie higher, so that a spike does not count; a schedule's later decay does not matter.
        """
        if "applied_lr" not in self.history.names():
            return None
        applied = self.history.column("applied_lr")
        known = applied[np.isfinite(applied).any(axis=1)]
        return float(np.percentile(np.nanmax(known, axis=1), 95)) if len(known) else None

    @property
    def _tail(self) -> int:
        return max(1, len(self.history) // 20)

    def to_frame(self) -> pd.DataFrame:
        """History as a pandas DataFrame, one row per step.

        Raises:
            ImportError: pandas is not installed.
        """
        return self.history.to_frame()


def _window_means(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of each `width` consecutive values, in time that does not depend on `width`.

    Every window is the end of one block and the beginning of the next, so nothing is subtracted. A huge or undefined value
    thus spoils only the windows that contain it.

    >>> _window_means(np.array([4.0, 2.0, np.inf, 0.0, 6.0]), 2)
    array([ 3., inf, inf,  3.])
    """
    count = len(values) - width + 1
    padded = np.zeros(-(-len(values) // width) * width)
    padded[: len(values)] = values
    blocks = padded.reshape(-1, width)
    ends = np.cumsum(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    beginnings = np.cumsum(blocks, axis=1).ravel()
    starts = np.arange(count)
    return np.where(starts % width == 0, ends[starts], ends[starts] + beginnings[starts + width - 1]) / width


def divergence(run: Run) -> str:
    """Say when a run's training or evaluation loss was no longer finite, as in "at step 7"; empty when all losses are."""
    if len(run.history) and not (finite := np.isfinite(run.history.column("loss"))).all():
        return f"at step {run.history.step[finite.argmin()]}"
    if run.eval_after is not None and not np.isfinite(run.eval_after):
        return f"after step {len(run.history)}"
    return ""
