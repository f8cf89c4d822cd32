"""Checkpoint: the state of a training, from which another process can resume it bit for bit."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from diffopt_widgets.optimizers.quirks import PackageQuirks, quirks_of
from diffopt_widgets.plain_text import printed_readably

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.training.loop import Training

FORMAT = 1

_CONSTANT = (FunctionType, MethodType, BuiltinFunctionType, type)
"""Types of an optimizer's attributes that no step changes."""
_NAMES = frozenset({"params", "param_names"})
"""Keys of a parameter group that name its tensors."""


@printed_readably
class CheckpointError(Exception):
    """Error of making a checkpoint or resuming from it; the message gives the reason."""


@printed_readably
@dataclass(frozen=True, repr=False)
class Checkpoint:
    """State of a training after some step.

    It holds the weights in the parameter groups, the optimizer's state and groups as they are (torch's `load_state_dict`
    would cast states to the precision of the weights), its counters, the schedule, and the averages of the reader of
    applied rates. Model, data and all random numbers of a task follow from the plan and the step. It is read with
    `torch.load(weights_only=True)`, so a checkpoint from somebody else executes no code.

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
    """Number of steps taken."""
    data: bytes

    def __repr__(self) -> str:
        return f"Checkpoint(step {self.step}, {len(self.data):,} bytes)"

    @classmethod
    def of(cls, training: Training) -> Checkpoint:
        """Make a checkpoint of a training between two steps; this waits for the device.

        Raises:
            CheckpointError: a step was interrupted, or its optimizer keeps something that cannot be saved.
        """
        import torch

        if training.torn:
            raise CheckpointError(f"step {training.taken + 1} was interrupted in the middle")
        if training.sharded:
            raise CheckpointError("its weights are divided among several processes")
        file = io.BytesIO()
        torch.save(_saved(training), file)
        return cls(training.taken, file.getvalue())

    def restored(self, plan: RunPlan) -> Training:
        """Restore the training of this plan.

        Raises:
            CheckpointError: it is damaged, belongs to another plan, or was made on a device of another kind.
            Exception: any error of building a `Training`.
        """
        import torch

        from diffopt_widgets.training.loop import Training, find_device

        kind = find_device(plan.device).type
        try:
            _check_archive(self.data)
            data = torch.load(io.BytesIO(self.data), weights_only=True, map_location="cpu" if kind == "cpu" else None)
            saved_kind, readable = data["device"], data["format"] == FORMAT
        except Exception as error:
            raise CheckpointError("its checkpoint cannot be read: it is damaged, or is not one of ours") from error
        if not readable:
            raise CheckpointError("its checkpoint comes from a newer version of diffopt_widgets")
        if saved_kind != kind:
            raise CheckpointError(
                f"it was trained on {saved_kind}, and here it would continue on {kind}, which rounds differently"
            )
        training = Training(plan)
        try:
            _load(training, data)
        except Exception as error:
            why = str(error) if isinstance(error, _MisfitError) else "it is damaged, or belongs to another training"
            raise CheckpointError(f"its checkpoint does not fit: {why}") from error
        return training


class _MisfitError(Exception):
    """Error of a checkpoint that belongs to another training."""


def _check_archive(data: bytes) -> None:
    """Raise if it is not an archive as `torch.save` makes it: what is packed could take any amount of memory."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("packed")
    if sum(member.file_size for member in members) > len(data):
        raise ValueError("larger than its file")


def _saved(training: Training) -> dict[str, Any]:  # Any: values that optimizers keep
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
        ],  # in its own order: some optimizers sum over it
        "groups": [_plain_ones(group, without=_NAMES) for group in optimizer.param_groups],
        "attributes": _plain_ones(attributes),
        "layers": _plain(_quirks(training).memory(optimizer)),
        "schedule": _plain_ones(training.schedule.state_dict(), without={"lr_lambdas"}),
        "averages": training.meter.saved(),
    }


def _load(training: Training, data: dict[str, Any]) -> None:
    import torch

    optimizer, schedule, params = training.optimizer, training.schedule, _params(training)
    with torch.no_grad():
        for p, weights in zip(params, data["weights"], strict=True):
            if p.shape != weights.shape:
                raise _MisfitError(f"weights have shape {tuple(weights.shape)} instead of {tuple(p.shape)}")
            p.copy_(weights)
    for number, state in data["state"]:
        optimizer.state[params[number]] = state
    for group, saved in zip(optimizer.param_groups, data["groups"], strict=True):
        group.update({name: value for name, value in saved.items() if name not in _NAMES})
    vars(optimizer).update({name: value for name, value in data["attributes"].items() if name not in _torchs_own()})
    _quirks(training).recall(optimizer, data["layers"])
    schedule.load_state_dict({**data["schedule"], "lr_lambdas": [None] * len(optimizer.param_groups)})
    training.meter.restore(data["averages"])
    training.taken, training.seconds = int(data["taken"]), float(data["seconds"])


def _params(training: Training) -> list[torch.nn.Parameter]:
    return [p for group in training.groups for p in group.params]


def _quirks(training: Training) -> PackageQuirks:
    return quirks_of(training.plan.settings.spec.package)


def _torchs_own() -> frozenset[str]:
    """Return the names of the attributes that every optimizer has from torch."""
    import torch

    return frozenset(vars(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)))


def _refuse_unknown(attributes: dict[str, Any]) -> None:
    """Raise if an optimizer outside the catalogue keeps an object that cannot be saved, such as another optimizer."""
    import torch

    for name, value in attributes.items():
        if isinstance(value, (*_CONSTANT, torch.dtype, torch.device)):
            continue
        try:
            _plain(value)
        except CheckpointError:
            raise CheckpointError(f"its optimizer keeps a {type(value).__name__} in .{name}") from None


def _plain_ones(values: dict[str, Any], without: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """Return the values that can be saved; building the training sets the others again."""
    plain = {}
    for name, value in values.items():
        if name not in without:
            try:
                plain[name] = _plain(value)
            except CheckpointError:
                continue
    return plain


def _plain(value: Any) -> Any:
    """Convert a value to tensors, numbers, texts, lists, tuples and dicts; a tensor stays the same object."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach() if value.requires_grad else value
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)  # numpy's numbers are instances too
    if isinstance(value, list | tuple):
        parts = [_plain(part) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, dict) and all(isinstance(name, str | int) for name in value):
        return {name: _plain(part) for name, part in value.items()}
    raise CheckpointError(f"its optimizer keeps a {type(value).__name__}")
