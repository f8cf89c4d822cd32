"""Run: one training run with all that it leaves behind; names and variations of runs."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from diffopt_widgets.catalogue.values import Value, format_value
from diffopt_widgets.records import History, to_frame
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
    samples: dict[int, Samples] = field(default_factory=dict)
    """What its model made from the same noise, by the number of steps taken; 0 is before training."""
    wanted: Samples | None = None
    """Real examples of the same labels in the same order, to compare the samples with; None before it has begun."""
    state_bytes: int | None = None
    """Bytes of all tensors in the optimizer's state, each storage once, as they are after the first published steps."""
    fix: Mapping[str, Value] = field(default_factory=dict)
    """Values to set so that a failed run would go better; empty when none are known."""
    _kept: Training | Checkpoint | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.name = self.name or short_name(self.plan.settings)

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
        self._kept = kept

    def __getstate__(self) -> dict[str, Any]:  # Any: its fields
        return self.__dict__ | {"_kept": None}

    @property
    def samples_per_step(self) -> int:
        """Examples that one step sees."""
        from diffopt_widgets.tasks import get_task

        return (self.plan.batch_size or get_task(self.plan.task).batch_size) * self.plan.accumulation

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
