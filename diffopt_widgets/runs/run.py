"""Run: one training run with all that it leaves behind; names and variations of runs."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from diffopt_widgets.catalogue.values import Value, format_value
from diffopt_widgets.records import History, StepRecord, to_frame
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.variations import differences, varying, words_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from numpy.typing import NDArray

    from diffopt_widgets.settings import Settings
    from diffopt_widgets.tasks import Samples
    from diffopt_widgets.training.checkpoint import Checkpoint
    from diffopt_widgets.training.loop import Training

Status: TypeAlias = Literal["waiting", "running", "paused", "done", "stopped", "failed"]


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: what was asked, what happened, and how it ended.

    Everyone may read its attributes. It changes by its methods alone, which whoever carries it out calls; `rename` is for
    everyone. A run that was trained before, such as one from a store, is made with its results as arguments.

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
    """How it ended, in words."""
    trace: str = ""
    """The traceback of a failed run."""
    output: str = ""
    """What the back end printed or logged while it trained."""
    history: History = field(default_factory=lambda: History(()))
    device: str = ""
    eval_before: float | None = None
    eval_after: float | None = None
    samples: Mapping[int, Samples] = field(default_factory=dict)
    """What its model made from the same noise, by the number of steps taken; 0 is before training."""
    wanted: Samples | None = None
    """Real examples of the same labels in the same order, to compare the samples with; None before it has begun."""
    state_bytes: int | None = None
    """Bytes of all tensors in the optimizer's state, each storage once, as they are after the first published steps."""
    fix: Mapping[str, Value] = field(default_factory=dict)
    """Values to set so that a failed run would go better; empty when none are known."""
    _kept: Training | Checkpoint | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.rename(self.name or short_name(self.plan.settings))

    def __repr__(self) -> str:
        precision = "" if self.plan.dtype == "float32" else f" in {self.plan.dtype}"
        return f"<Run {self.name!r} on {self.plan.task}{precision}: {self.status}, {len(self.history)} of {self.plan.steps} steps>"

    @property
    def settings(self) -> Settings:
        """The settings that it was trained with."""
        return self.plan.settings

    @property
    def draws_schedule(self) -> bool:
        """Whether the schedule's own value is drawn beside the applied rate: where the optimizer estimates its rate."""
        return self.settings.spec.estimates_rate

    @property
    def ended(self) -> bool:
        """Whether it will not go on by itself."""
        return self.status in {"done", "stopped", "failed"}

    @property
    def can_begin(self) -> bool:
        """Whether it can be carried out: it waits for that, or was stopped and can go on."""
        return self.status == "waiting" or self.can_continue

    @property
    def can_continue(self) -> bool:
        """Whether it was stopped and can go on to its planned end; one that was stopped before its first step can begin.

        A stopped run that was pickled, or interrupted in the middle of a step, cannot.
        """
        return self.status == "stopped" and (self._kept is not None or not len(self.history))

    @property
    def kept(self) -> Training | Checkpoint | None:
        """The model, optimizer and schedule of a run in progress, and those with which a stopped one goes on.

        A checkpoint in the place of them for a run that comes from a store; None when it has not begun or is over.
        """
        return self._kept

    def keep(self, kept: Training | Checkpoint | None) -> None:
        """Keep what a run needs to go on, or let it go with None. It is not pickled."""
        self._set(_kept=kept)

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._set(name=name)

    def queue(self) -> None:
        """Let it wait for its turn. Raises RuntimeError when it cannot begin."""
        self._become("waiting", allowed=self.can_begin)

    def begin(self) -> None:
        """Begin training, or go on where it was stopped. Raises RuntimeError when it can do neither."""
        self._become("running", allowed=self.can_begin, message="")

    def pause(self) -> None:
        """Let the training rest. Raises RuntimeError when it is not running."""
        self._become("paused", allowed=self.status == "running")

    def unpause(self) -> None:
        """Go on after a pause. Raises RuntimeError when it is not paused."""
        self._become("running", allowed=self.status == "paused")

    def end(self, status: Literal["done", "stopped"], message: str | None = None) -> None:
        """End it, with a message or with the one that it has.

        Raises:
            RuntimeError: it is over already, or would be done without having run.
        """
        allowed = {"running", "paused"} if status == "done" else {"waiting", "running", "paused", "stopped"}
        self._become(status, allowed=self.status in allowed, **({} if message is None else {"message": message}))

    def fail(self, message: str, trace: str, fix: Mapping[str, Value] | None = None) -> None:
        """End it as failed, whatever it was: it cannot go on. Also its last evaluation may fail, when it is done.

        Args:
            message: what went wrong, in words.
            trace: the traceback.
            fix: values to set so that it would go better.
        """
        self._become("failed", allowed=True, message=message, trace=trace, fix=fix or {}, _kept=None)

    def say(self, message: str) -> None:
        """Set the message on how it ended."""
        self._set(message=message)

    def set_up(self, device: str, groups: Sequence[str]) -> None:
        """Begin an empty history, once it is known where it is trained and in which parameter groups."""
        self._set(device=device, history=History(groups))

    def record(self, records: Iterable[StepRecord]) -> None:
        """Add what is new to the history; steps that it has are passed over."""
        self.history.extend(record for record in records if record.step > len(self.history))

    def evaluated(self, *, before: float | None = None, after: float | None = None) -> None:
        """Note the loss on the evaluation set before training, or after the steps taken."""
        losses = {"eval_before": before, "eval_after": after}
        self._set(**{name: loss for name, loss in losses.items() if loss is not None})

    def measured(self, state_bytes: int) -> None:
        """Note the size of the optimizer's state."""
        self._set(state_bytes=state_bytes)

    def sampled(self, step: int, samples: Samples) -> None:
        """Add what its model makes after so many steps."""
        self._set(samples={**self.samples, step: samples})

    def compare_samples_with(self, wanted: Samples | None) -> None:
        """Note the real examples to compare its samples with."""
        self._set(wanted=wanted)

    def printed(self, text: str) -> None:
        """Add what the back end printed or logged."""
        self._set(output=self.output + text)

    def _become(self, status: Status, *, allowed: bool, **changes: Any) -> None:  # Any: values of fields
        if not allowed:
            raise RuntimeError(f"{self.name} is {self.status} and cannot become {status}")
        self._set(status=status, **changes)

    def _set(self, **changes: Any) -> None:  # Any: as above
        """Change fields: the only place that does, since the class is frozen for everyone else."""
        for name, value in changes.items():
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:  # Any: its fields
        return self.__dict__ | {"_kept": None}

    @property
    def samples_per_step(self) -> int | None:
        """Examples that one step sees; None where they are the task's own number and the task is not registered here."""
        from diffopt_widgets.tasks import UnknownTask, get_task

        try:
            batch_size = self.plan.batch_size or get_task(self.plan.task).batch_size
        except UnknownTask:
            return None
        return batch_size * self.plan.accumulation

    @property
    def samples_before(self) -> Samples | None:
        """What the model made before training."""
        return self.samples.get(0)

    @property
    def samples_after(self) -> Samples | None:
        """What the model made at the end of a run that is done or stopped; None while it goes on."""
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
        """The level that the applied rate reached and held; None where no rate is known.

        It is the 95th percentile over the steps taken of the largest group's applied rate, steps without a known rate
        left out: a twentieth of the steps may lie higher, so that a spike does not count, and what a schedule takes away
        later does not matter.
        """
        if not len(self.history):
            return None
        applied = self.history.column("applied_lr")
        known = applied[np.isfinite(applied).any(axis=1)]
        return float(np.percentile(np.nanmax(known, axis=1), 95)) if len(known) else None

    @property
    def _tail(self) -> int:
        return max(1, len(self.history) // 20)

    def figure(self) -> go.Figure:
        """Its loss and rates as an ordinary plotly figure."""
        from diffopt_widgets.drawing.figures import compare

        return compare([self])

    def to_frame(self) -> pd.DataFrame:
        """Its history as a pandas DataFrame, one row per step.

        Raises:
            ImportError: pandas is not installed.
        """
        return to_frame(self.history)


def _window_means(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of each `width` consecutive values, in time that does not depend on `width`.

    Every window is the end of one block and the beginning of the next, so nothing is subtracted: a huge or undefined
    value spoils only the windows that hold it.

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


def short_name(settings: Settings) -> str:
    """Name a run after its optimizer and what differs from the defaults."""
    changed = {name: value for name, value in settings.changed().items() if name not in {"lr_scaler", "cycles"}}
    words = [f"{value}" if name == "schedule" else f"{name} {format_value(value)}" for name, value in changed.items()]
    return " · ".join([settings.optimizer, *words[:3]]) + (" …" if len(words) > 3 else "")


def name_by_difference(plans: Sequence[RunPlan]) -> list[str]:
    """Name runs of one comparison by what differs between them, such as `PRODIGY · d_coef 0.5`.

    Named is what differs between the runs of the same optimizer, whatever else there is to compare with. Where optimizers
    differ, also what is not at its optimizer's default, if it is not the same in all, and what differs of the plan.
    """
    if not varying(plans):
        return [short_name(plan.settings) for plan in plans]
    words = [
        ", ".join(words_of(name, value) for name, value in told.items() if name != "optimizer")
        for told in differences(plans)
    ]
    optimizers = [plan.settings.optimizer for plan in plans]
    return [f"{key} · {told}" if told else key for key, told in zip(optimizers, words, strict=True)]


def vary(plan: RunPlan, over: Mapping[str, Sequence[Any]]) -> list[RunPlan]:
    """Every combination of the values of `over`, as plans that differ from `plan` in nothing else.

    `over` may name options, parts of the plan, and `optimizer`. Another optimizer keeps the schedule, and of the values
    that are not at their defaults those that it has too; the learning rate only where both estimate their own or neither
    does, since it means something else then.

    Raises:
        SettingsError: a value cannot be used.

    >>> from diffopt_widgets import Settings
    >>> [p.settings.options["d_coef"] for p in vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]})]
    [0.5, 1.0]
    >>> adamw = RunPlan(Settings("ADAMW", lr=4e-3, schedule="COSINE"))
    >>> [p.settings for p in vary(adamw, {"optimizer": ["ADAMW_8BIT", "PRODIGY"]})]
    [Settings('ADAMW_8BIT', lr=0.004, schedule='COSINE'), Settings('PRODIGY', lr=1.0, schedule='COSINE')]
    """
    own = {field.name for field in fields(RunPlan)} - {"settings"}
    plans = []
    for values in itertools.product(*over.values()):
        chosen = dict(zip(over, values, strict=True))
        settings = _changed(plan.settings, {name: value for name, value in chosen.items() if name not in own})
        plans.append(replace(plan, settings=settings, **{name: chosen[name] for name in chosen if name in own}))
    return plans


def _changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:  # Any: Settings checks them
    found = settings.replace(changes.get("optimizer")).spec
    if found.key == settings.optimizer:
        return settings.replace(**changes)
    alike = {"lr"} if found.estimates_rate == settings.spec.estimates_rate else set()
    kept = alike | {use.name for use in found.uses}
    return settings.replace(
        **{**{name: value for name, value in settings.changed().items() if name in kept}, **changes}
    )
