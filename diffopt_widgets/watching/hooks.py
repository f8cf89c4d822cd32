"""Which optimizer's step hooks tell of the steps that a loop takes, and how its parameter groups are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from torch.optim import Optimizer

if TYPE_CHECKING:
    import torch

Arguments: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any]]"  # Any: whatever an optimizer's step takes
"""What a step is called with, itself the first."""

_WITHIN = ("optimizer", "_optimizer", "base_optimizer", "base")
"""Where wrappers keep the optimizer that they step: accelerate, lightning, schedule-free and SAM ones."""


def hooked_optimizer(optimizer: object) -> Optimizer:
    """The torch optimizer that calls step hooks when this one is stepped: itself, or one that it wraps.

    Raises:
        TypeError: neither it nor one within it has torch's step hooks.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))])
    >>> hooked_optimizer(sgd) is sgd
    True
    """
    found: Any = optimizer
    for _ in range(4):
        if isinstance(found, Optimizer) and _has_hooks(found):
            return found
        found = next((inner for name in _WITHIN if (inner := getattr(found, name, None)) is not None), None)
    kind = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
    raise TypeError(
        f"{kind} cannot be watched: it has no step hooks as a torch.optim.Optimizer has, nor has an optimizer within it. "
        "To fix it: pass the torch optimizer whose step() the loop calls, after its __init__ has run"
    )


def _has_hooks(optimizer: Optimizer) -> bool:
    there = {"_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"} <= vars(optimizer).keys()
    return there and bool(getattr(type(optimizer).step, "hooked", False))


def with_closure(args: tuple[Any, ...], kwargs: dict[str, Any], then: Callable[[], None]) -> Arguments | None:
    """What a step is to be called with so that `then` is called each time that its closure has computed gradients.

    Args:
        args: what the step was called with, itself the first, as step hooks get it.
        kwargs: by name.
        then: raises nothing.

    Returns:
        the arguments in the same order, as a hook that runs before a step may give them; None for a step without a closure.
    """
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if not callable(closure):
        return None

    def seen(*inner: Any, **named: Any) -> Any:  # Any: whatever an optimizer calls it with
        loss = closure(*inner, **named)
        then()
        return loss

    if len(args) > 1:
        return (args[0], seen, *args[2:]), kwargs
    return args, {**kwargs, "closure": seen}


def group_names(
    optimizer: Optimizer, names: Sequence[str] | None = None, model: torch.nn.Module | None = None
) -> tuple[str, ...]:
    """Name each parameter group: as told, else by its own name, else by the part of the model that it is.

    Raises:
        ValueError: there is not one name for each group, or two are the same.

    >>> import torch
    >>> model = torch.nn.ModuleDict({"unet": torch.nn.Linear(2, 2), "text": torch.nn.Linear(2, 2)})
    >>> groups = [{"params": part.parameters()} for part in model.values()]
    >>> group_names(torch.optim.SGD(groups), model=model), group_names(torch.optim.SGD(model.parameters()))
    (('unet', 'text'), ('all',))
    """
    groups = optimizer.param_groups
    if names is not None:
        told = tuple(str(name) for name in ([names] if isinstance(names, str) else names))
        if len(told) != len(groups) or len(set(told)) != len(told):
            raise ValueError(
                f"names are {list(told)}; the optimizer has {len(groups)} parameter groups, and each needs a name of its own"
            )
        return told
    found = [str(group.get("name") or "") for group in groups]
    if len(groups) == 1:
        return (found[0] or "all",)
    if model is not None and not all(found):
        found = [name or part for name, part in zip(found, _parts(optimizer, model), strict=True)]
    return tuple(name if name and found.count(name) == 1 else f"group {i}" for i, name in enumerate(found))


def later_names(optimizer: Optimizer, taken: Sequence[str]) -> list[str]:
    """Name the parameter groups that have come since the first were named.

    >>> import torch
    >>> one, two = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    >>> sgd = torch.optim.SGD([one])
    >>> sgd.add_param_group({"params": [two]})
    >>> later_names(sgd, ["all"])
    ['group 1']
    """
    new = list(enumerate(group_names(optimizer)))[len(taken) :]
    return [name if name not in taken else f"group {i} (added)" for i, name in new]


def _parts(optimizer: Optimizer, model: torch.nn.Module) -> list[str]:
    """For each group what the names of its parameters begin with, up to a dot; "" where they have nothing in common."""
    name_of = {parameter: name for name, parameter in model.named_parameters()}
    parts = []
    for group in optimizer.param_groups:
        paths = [name_of[p].split(".")[:-1] for p in group["params"] if p in name_of]
        common: list[str] = []
        for level in zip(*paths, strict=False):
            if len(set(level)) > 1:
                break
            common.append(level[0])
        parts.append(".".join(common))
    return parts
