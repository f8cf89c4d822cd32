"""Checkpoint: the state of a training, from which another process can resume it bit for bit."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from diffopt_widgets.optimizers.quirks import quirks_of
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
        from diffopt_widgets.training.loop import Training, find_device

        data = read_saved(self.data, find_device(plan.device))
        training = Training(plan)
        try:
            _load(training, data)
        except Exception as error:
            why = str(error) if isinstance(error, MisfitError) else "it is damaged, or belongs to another training"
            raise CheckpointError(f"its checkpoint does not fit: {why}") from error
        return training


class MisfitError(Exception):
    """Error of a checkpoint that belongs to another training."""


class DamagedError(CheckpointError):
    """Error of a checkpoint that is not whole."""


def read_saved(data: bytes, device: torch.device) -> dict[str, Any]:  # Any: as `plain` allows
    """Read what was saved on a device of the same kind; it executes no code.

    Tensors that were saved on a GPU come to this device, the others to the CPU.

    Raises:
        DamagedError: it is damaged.
        CheckpointError: it is not one of ours, comes from a newer version, or was made on a device of another kind.
        Exception: there is too little memory.
    """
    import torch

    def placed(storage: Any, location: str) -> Any:  # Any: torch's untyped storages
        return storage if location == "cpu" or device.type != "cuda" else storage.cuda(device.index)

    try:
        _check_archive(data)
        saved = torch.load(io.BytesIO(data), weights_only=True, map_location=placed)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise DamagedError("its checkpoint cannot be read: it is damaged, or is not one of ours") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("format"), int) or "device" not in saved:
        raise CheckpointError("it is not a checkpoint of diffopt_widgets")
    if saved["format"] != FORMAT:
        raise CheckpointError("its checkpoint comes from a newer version of diffopt_widgets")
    if saved["device"] != device.type:
        raise CheckpointError(
            f"it was trained on {saved['device']}, and here it would continue on {device.type}, which rounds differently"
        )
    return saved


def _check_archive(data: bytes) -> None:
    """Raise if it is not an archive as `torch.save` makes it: what is packed could take any amount of memory."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("packed")
    if sum(member.file_size for member in members) > len(data):
        raise ValueError("larger than its file")


def _saved(training: Training) -> dict[str, Any]:  # Any: values that optimizers keep
    if not training.plan.settings.spec.catalogued:
        refuse_unknown(training.optimizer)
    return {
        "format": FORMAT,
        "device": training.device.type,
        "taken": training.taken,
        "seconds": training.seconds,
        **optimizer_state(training.optimizer, _params(training), _package(training)),
        "schedule": plain_ones(training.schedule.state_dict(), without={"lr_lambdas"}),
        "averages": training.meter.saved(),
    }


def _load(training: Training, data: dict[str, Any]) -> None:
    optimizer, schedule = training.optimizer, training.schedule
    load_optimizer_state(optimizer, _params(training), _package(training), data)
    schedule.load_state_dict({**data["schedule"], "lr_lambdas": [None] * len(optimizer.param_groups)})
    training.meter.restore(data["averages"])
    training.taken, training.seconds = int(data["taken"]), float(data["seconds"])


def _params(training: Training) -> list[torch.nn.Parameter]:
    return [p for group in training.groups for p in group.params]


def _package(training: Training) -> str:
    return training.plan.settings.spec.package


def optimizer_state(
    optimizer: torch.optim.Optimizer, params: Sequence[torch.Tensor], package: str
) -> dict[str, Any]:  # Any: as above
    """Return the weights and all that the optimizer keeps, as they are: torch's `load_state_dict` would cast states.

    Raises:
        CheckpointError: it keeps something that cannot be saved.
    """
    place = {p: number for number, p in enumerate(params)}
    if set(optimizer.state) - set(place):
        raise CheckpointError("its optimizer keeps a state that belongs to no parameter")
    return {
        "weights": [p.detach() for p in params],
        "state": [
            (place[p], plain(state)) for p, state in optimizer.state.items()
        ],  # in its own order: some optimizers sum over it
        "groups": [plain_ones(group, without=_NAMES) for group in optimizer.param_groups],
        "attributes": plain_ones(_own_attributes(optimizer)),
        "layers": plain(quirks_of(package).memory(optimizer)),
    }


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, params: Sequence[torch.Tensor], package: str, data: Mapping[str, Any]
) -> None:
    """Give weights and optimizer what `optimizer_state` returned.

    Raises:
        MisfitError: a weight has another shape.
        ValueError: there are more parameters or groups, or fewer.
    """
    import torch

    with torch.no_grad():
        for p, weights in zip(params, data["weights"], strict=True):
            if p.shape != weights.shape:
                raise MisfitError(f"weights have shape {tuple(weights.shape)} instead of {tuple(p.shape)}")
            p.copy_(weights)
    for number, state in data["state"]:
        optimizer.state[params[number]] = state
    for group, saved in zip(optimizer.param_groups, data["groups"], strict=True):
        group.update({name: value for name, value in saved.items() if name not in _NAMES})
    vars(optimizer).update({name: value for name, value in data["attributes"].items() if name not in _torchs_own()})
    quirks_of(package).recall(optimizer, data["layers"])


def _own_attributes(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what an optimizer keeps outside its state and groups, without what names the weights, as LBFGS has it."""
    own = {name: value for name, value in vars(optimizer).items() if name not in _torchs_own()}
    return {name: value for name, value in own.items() if not _holds_weights(value)}


def _holds_weights(value: Any) -> bool:
    import torch

    if isinstance(value, Mapping):
        return any(map(_holds_weights, (*value.keys(), *value.values())))
    if isinstance(value, (list, tuple)):
        return any(map(_holds_weights, value))
    return isinstance(value, torch.nn.Parameter)


def _torchs_own() -> frozenset[str]:
    """Return the names of the attributes that every optimizer has from torch."""
    import torch

    return frozenset(vars(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)))


def refuse_unknown(optimizer: torch.optim.Optimizer) -> None:
    """Check that an optimizer outside the catalogue keeps only what can be saved.

    Raises:
        CheckpointError: it keeps something else, such as another optimizer.
    """
    import torch

    kept = {f".{name}": value for name, value in _own_attributes(optimizer).items()}
    for group in optimizer.param_groups:
        kept |= {f"the group's {name!r}": value for name, value in group.items() if name not in _NAMES}
    for name, value in kept.items():
        if isinstance(value, (*_CONSTANT, torch.dtype, torch.device)):
            continue
        try:
            plain(value)
        except CheckpointError:
            raise CheckpointError(f"its optimizer keeps a {type(value).__name__} in {name}") from None


def plain_ones(values: Mapping[str, Any], without: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """Return the values that can be saved; building the training sets the others again."""
    kept = {}
    for name, value in values.items():
        if name not in without:
            try:
                kept[name] = plain(value)
            except CheckpointError:
                continue
    return kept


def plain(value: Any) -> Any:
    """Convert a value to tensors, numbers, texts, lists, tuples and dicts; a tensor stays the same object.

    Raises:
        CheckpointError: it holds something else.
    """
    import torch

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, torch.Tensor):
        return value.detach() if value.requires_grad else value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # one of an Enum could not be read again
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, list | tuple):
        parts = [plain(part) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, dict) and all(isinstance(name, str | int) for name in value):
        plain_dict = {plain(name): plain(part) for name, part in value.items()}
        return Counter(plain_dict) if isinstance(value, Counter) else plain_dict
    raise CheckpointError(f"its optimizer keeps a {type(value).__name__}")
