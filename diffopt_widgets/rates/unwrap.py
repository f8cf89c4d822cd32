"""The torch optimizer that does the steps, behind the wrappers of accelerate, lightning and others."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

_INNER = ("optimizer", "_optimizer", "base_optimizer", "base")
"""Attributes in which wrappers keep the optimizer that they step: accelerate, lightning, schedule-free and SAM."""


def hooked_optimizer(optimizer: object) -> Optimizer:
    """Find the torch optimizer that calls step hooks when this one is stepped: itself, or one that it wraps.

    Raises:
        TypeError: neither it nor an optimizer inside it has torch's step hooks.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))])
    >>> hooked_optimizer(sgd) is sgd
    True
    """
    candidate: Any = optimizer
    for _ in range(4):
        if isinstance(candidate, Optimizer) and _has_hooks(candidate):
            return candidate
        candidate = next((inner for name in _INNER if (inner := getattr(candidate, name, None)) is not None), None)
    kind = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
    raise TypeError(
        f"{kind} cannot be watched: neither it nor an optimizer inside it has the step hooks of a torch.optim.Optimizer. "
        "To fix it: pass the torch optimizer whose step() the loop calls, after its __init__ has run"
    )


def _has_hooks(optimizer: Optimizer) -> bool:
    initialized = {"_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"} <= vars(optimizer).keys()
    return initialized and bool(getattr(type(optimizer).step, "hooked", False))


def stepping_optimizer(optimizer: Any) -> Any:  # Any: wrappers share no class
    """Return the optimizer that is stepped: the one inside a wrapper, or the given one where nothing in it has step hooks.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))])
    >>> stepping_optimizer(sgd) is sgd
    True
    """
    try:
        return hooked_optimizer(optimizer)
    except TypeError:
        return optimizer
