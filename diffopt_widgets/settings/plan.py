"""RunPlan: everything that a training run depends on, so that the same plan gives the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.precision import PRECISIONS
from diffopt_widgets.catalogue.schema import Values
from diffopt_widgets.catalogue.values import Interval, ValueProblem
from diffopt_widgets.settings import Fault, Settings, SettingsError

PLAN_OPTIONS: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option(
            "steps",
            "Steps",
            "int",
            "Optimizer steps of the run. The schedule is spread over them.",
            domain=Interval(1, 10_000_000),
        ),
        Option(
            "batch_size",
            "Batch size",
            "int",
            "Examples per batch. Larger is smoother and slower per step; empty takes the task's own.",
            domain=Interval(1, 65_536),
            nullable=True,
            null_words="the task's own",
        ),
        Option(
            "accumulation",
            "Accumulation",
            "int",
            "Batches whose gradients are averaged before each step: a larger batch without its memory. 1 with a fused back pass.",
            domain=Interval(1, 1024),
        ),
        Option(
            "seed",
            "Seed",
            "int",
            "The same seed gives the same weights, batches and noise to every optimizer, so that runs can be compared.",
            domain=Interval(0, 2**31 - 1),
        ),
        Option(
            "device",
            "Device",
            "choice",
            "Where to train. auto takes the GPU when there is one.",
            choices=("auto", "cpu", "cuda", "mps"),
        ),
        Option(
            "dtype",
            "Weights",
            "choice",
            "Precision of the weights, their gradients and the model's own arithmetic; the loss is always taken in float32. In "
            "bfloat16, as large models are often trained, a step far smaller than its weight is lost to rounding.",
            choices=tuple(PRECISIONS),
        ),
    )
}
"""The options of a plan by name, checked and explained like an optimizer's own."""


@dataclass(frozen=True)
class RunPlan:
    """One training run, described completely.

    Raises:
        SettingsError: with one `Fault` for each thing that is wrong.

    >>> RunPlan(Settings("PRODIGY"), steps=0)
    Traceback (most recent call last):
    ...
    diffopt_widgets.settings.SettingsError: steps = 0: must be a whole number, from 1 to 10,000,000.
    """

    settings: Settings
    task: str = "digits"
    steps: int = 300
    batch_size: int | None = None
    accumulation: int = 1
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"
    grad_norm: bool = False
    """Record the norm of the whole gradient too; on the tasks of the bench it costs one step in a hundred or two."""

    def __post_init__(self) -> None:
        faults = []
        for name, option in PLAN_OPTIONS.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, option.check(value))
            except ValueProblem as problem:
                faults.append(Fault.of(name, value, problem, option.allowed()))
        if not faults and (fault := accumulation_fault(self.settings.options, self.accumulation)):
            faults.append(fault)
        if faults:
            raise SettingsError(tuple(faults))

    def flat(self) -> dict[str, object]:
        """Every value by name: the optimizer, its options, the schedule, the task and so on."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "settings"}
        return {"optimizer": self.settings.optimizer, **self.settings.values(), **own}


def accumulation_fault(options: Values, accumulation: int) -> Fault | None:
    """Why an optimizer with these options cannot accumulate gradients over so many batches; None where it can."""
    if accumulation == 1 or not options.get("fused_back_pass"):
        return None
    return Fault(
        "fused_back_pass",
        True,
        f"it steps in each backward pass, so gradients cannot be accumulated over {accumulation} batches",
        "",
        "Turn it off, or set accumulation to 1 and take a larger batch.",
        fix={"fused_back_pass": False},
    )
