"""Description of a training (optimizer, schedule, model) as plain values that a file can store."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.unwrap import hooked_optimizer, inner_optimizer, paths_inside

if TYPE_CHECKING:
    from torch.optim import Optimizer


def describe(optimizer: Optimizer, scheduler: object | None, model: torch.nn.Module | None) -> dict[str, Any]:
    """Describe the optimizer with its options, the schedule and the model as JSON values.

    Raises:
        ValueError: the scheduler belongs to another optimizer.

    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1, momentum=0.9)
    >>> facts = describe(sgd, torch.optim.lr_scheduler.ConstantLR(sgd), None)
    >>> facts["optimizer"], facts["options"]["momentum"], facts["scheduler"], facts["parameters"]
    ('torch.optim.sgd.SGD', 0.9, 'torch.optim.lr_scheduler.ConstantLR', 3)
    """
    params = [p for group in optimizer.param_groups for p in group["params"]]
    facts: dict[str, Any] = {
        "optimizer": _path(optimizer),
        **({} if (inner := inner_optimizer(optimizer)) is None else {"inside": _path(inner)}),
        "options": {name: _plain(value) for name, value in optimizer.defaults.items()},
        "parameters": sum(p.numel() for p in params),
        "dtypes": sorted({str(p.dtype).removeprefix("torch.") for p in params}),
        "devices": sorted({str(p.device) for p in params}),
        "torch": torch.__version__,
    }
    if scheduler is not None:
        _check_schedule(scheduler, optimizer)
        facts["scheduler"] = _path(scheduler)
    if model is not None:
        facts["model"] = _path(model)
    return facts


def title_of(optimizer: Optimizer) -> str:
    """Return the name of an optimizer's class, with that of one inside it.

    >>> title_of(torch.optim.SGD([torch.nn.Parameter(torch.ones(3))]))
    'SGD'
    """
    layers = [optimizer]
    while (inner := inner_optimizer(layers[-1])) is not None and not any(inner is layer for layer in layers):
        layers.append(inner)
    return " of ".join(type(layer).__name__ for layer in layers)


def _check_schedule(scheduler: object, optimizer: Optimizer) -> None:
    """Raise if the schedule belongs to another optimizer, a mistake that no training reports."""
    inner = getattr(scheduler, "scheduler", scheduler)  # accelerate wraps it
    owner = getattr(inner, "optimizer", None)
    if not isinstance(owner, torch.optim.Optimizer):
        return
    stepped = hooked_optimizer(owner)
    if all(path[-1] is not stepped for path in paths_inside(optimizer)):
        raise ValueError(
            f"the scheduler ({type(inner).__name__}) changes the rates of another optimizer ({type(owner).__name__}), not "
            "of the one to watch. To fix it: make the scheduler with the optimizer that the loop steps"
        )


def _path(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _plain(value: Any) -> Any:  # Any: whatever an optimizer has as an option
    """Convert a value to a JSON value, or to text if JSON has none for it."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
