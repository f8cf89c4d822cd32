"""Run: one training run with all that it leaves behind; names and variations of runs."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.plan import RunPlan
from diffopt_widgets.records import History

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from diffopt_widgets.settings import Settings
    from diffopt_widgets.tasks import Samples

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
        from diffopt_widgets.plot.figures import compare

        return compare([self])

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
