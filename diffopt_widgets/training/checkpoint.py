"""Checkpoint: what a training needs to go on in another process, bit for bit."""

from __future__ import annotations

import io
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.training.loop import Training

FORMAT = 1

_CONSTANT = (FunctionType, MethodType, BuiltinFunctionType, type)
"""Of an optimizer's attributes, what no step changes."""
_NAMES = frozenset({"params", "param_names"})
"""Of a parameter group, what says which tensors are in it."""


class CheckpointError(Exception):
    """A training cannot be put into a checkpoint, or not be taken up from it; the message says why."""


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """A training after some step.

    Kept are the weights in the parameter groups, the optimizer's state and groups as they are (torch's `load_state_dict`
    would cast states to the precision of the weights), its counters, the schedule, and what the reader of applied rates
    remembers. Model, data and whatever random numbers a task draws follow from the plan and the step. It is read with
    `torch.load(weights_only=True)`, so that one from somebody else executes nothing.

    >>> from diffopt_widgets import RunPlan, Settings
    >>> from diffopt_widgets.training.loop import Training
    >>> plan = RunPlan(Settings("PRODIGY"), "swiss_roll", steps=3)
    >>> training = Training(plan)
    >>> first = next(training.steps())
    >>> again = Checkpoint.of(training).restored(plan)
    >>> [float(record.loss) for record in again.steps()] == [float(record.loss) for record in training.steps()]
    True
    """

    step: int
    """How many steps had been taken."""
    data: bytes

    def __repr__(self) -> str:
        return f"Checkpoint(step {self.step}, {len(self.data):,} bytes)"

    @classmethod
    def of(cls, training: Training) -> Checkpoint:
        """What a training is now, between two steps; waits for the device.

        Raises:
            CheckpointError: a step was broken off, or its optimizer keeps something that has no form here.
        """
        import torch

        if training.torn:
            raise CheckpointError(f"step {training.taken + 1} was broken off in the middle")
        file = io.BytesIO()
        torch.save(_saved(training), file)
        return cls(training.taken, file.getvalue())

    def restored(self, plan: RunPlan) -> Training:
        """The training of this plan as it was.

        Raises:
            CheckpointError: it is damaged, of another plan, or was made on a device of another kind.
            Exception: whatever building a `Training` raises.
        """
        import torch

        from diffopt_widgets.training.loop import Training, find_device

        kind = find_device(plan.device).type
        try:
            data = torch.load(io.BytesIO(self.data), weights_only=True, map_location="cpu" if kind == "cpu" else None)
            there, readable = data["device"], data["format"] == FORMAT
        except Exception as error:
            raise CheckpointError(f"its checkpoint cannot be read: {error}") from error
        if not readable:
            raise CheckpointError("its checkpoint comes from a newer version of diffopt_widgets")
        if there != kind:
            raise CheckpointError(
                f"it was trained on {there}, and here it would go on on {kind}, which rounds otherwise"
            )
        training = Training(plan)
        try:
            _load(training, data)
        except Exception as error:
            raise CheckpointError(f"its checkpoint does not fit: {error}") from error
        return training


def _saved(training: Training) -> dict[str, Any]:  # Any: what optimizers keep
    optimizer = training.optimizer
    params = _params(training)
    place: dict[torch.Tensor, int] = {p: number for number, p in enumerate(params)}
    if set(optimizer.state) - set(place):
        raise CheckpointError("its optimizer keeps a state that belongs to no parameter")
    attributes = {name: value for name, value in vars(optimizer).items() if name not in _torchs_own()}
    if not training.plan.settings.spec.catalogued:
        _refuse_unknown(attributes)
    return {
        "format": FORMAT,
        "device": training.device.type,
        "taken": training.taken,
        "seconds": training.seconds,
        "weights": [p.detach() for p in params],
        "state": [
            (place[p], _plain(state)) for p, state in optimizer.state.items()
        ],  # in its own order: some sum over it
        "groups": [_plain_ones(group, without=_NAMES) for group in optimizer.param_groups],
        "attributes": _plain_ones(attributes),
        "layers": _layers(optimizer),
        "schedule": _plain_ones(training.schedule.state_dict(), without={"lr_lambdas"}),
        "averages": training.meter.averages(),
    }


def _load(training: Training, data: dict[str, Any]) -> None:
    import torch

    optimizer, schedule, params = training.optimizer, training.schedule, _params(training)
    with torch.no_grad():
        for p, weights in zip(params, data["weights"], strict=True):
            if p.shape != weights.shape:
                raise ValueError(f"weights have shape {tuple(weights.shape)} instead of {tuple(p.shape)}")
            p.copy_(weights)
    for number, state in data["state"]:
        optimizer.state[params[number]] = state
    for group, saved in zip(optimizer.param_groups, data["groups"], strict=True):
        group.update({name: value for name, value in saved.items() if name not in _NAMES})
    vars(optimizer).update({name: value for name, value in data["attributes"].items() if name not in _torchs_own()})
    if helper := getattr(optimizer, "kourkoutas_helper", None):
        layers, helper._current_step_prepared = data["layers"]  # noqa: SLF001  # it has no other way
        helper.layer_state = {key: layer for key, layer in zip(helper.layer_info, layers, strict=True) if layer}
    schedule.load_state_dict({**data["schedule"], "lr_lambdas": [None] * len(optimizer.param_groups)})
    training.meter.take_averages(data["averages"])
    training.taken, training.seconds = int(data["taken"]), float(data["seconds"])


def _params(training: Training) -> list[torch.nn.Parameter]:
    return [p for group in training.groups for p in group.params]


def _layers(optimizer: torch.optim.Optimizer) -> Any:
    """What adv_optm's Kourkoutas-β remembers of each layer, beside the optimizer's state; None without it."""
    helper = getattr(optimizer, "kourkoutas_helper", None)
    if helper is None:
        return None
    layers = [_plain(helper.layer_state.get(key, {})) for key in helper.layer_info]
    return layers, helper._current_step_prepared  # noqa: SLF001  # as above


def _torchs_own() -> frozenset[str]:
    """The attributes that every optimizer has from torch."""
    import torch

    return frozenset(vars(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)))


def _refuse_unknown(attributes: dict[str, Any]) -> None:
    """An optimizer that nobody has tried may keep something in an object of its own, such as another optimizer."""
    import torch

    for name, value in attributes.items():
        if isinstance(value, (*_CONSTANT, torch.dtype, torch.device)):
            continue
        try:
            _plain(value)
        except CheckpointError:
            raise CheckpointError(f"its optimizer keeps a {type(value).__name__} in .{name}") from None


def _plain_ones(values: dict[str, Any], without: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """Those values that have a form here; the others are as building the training makes them."""
    found = {}
    for name, value in values.items():
        if name not in without:
            try:
                found[name] = _plain(value)
            except CheckpointError:
                continue
    return found


def _plain(value: Any) -> Any:
    """The same value out of tensors, numbers, texts, lists, tuples and dicts; a tensor stays the same object."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach() if value.requires_grad else value
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)  # numpy's are of these too
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, dict) and all(isinstance(name, str | int) for name in value):
        return {name: _plain(part) for name, part in value.items()}
    raise CheckpointError(f"its optimizer keeps a {type(value).__name__}")
