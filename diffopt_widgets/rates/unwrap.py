"""The torch optimizer that does the steps, behind the wrappers of accelerate, lightning and others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from torch.optim import Optimizer

INNER_NAMES = (
    *("optimizer", "_optimizer", "base_optimizer", "_base_optimizer", "base", "optim"),
    *("inner_optimizer", "_inner_optimizer", "wrapped_optimizer", "opt"),
)
"""Attributes in which wrappers keep the optimizer that they step: accelerate, lightning, schedule-free, SAM, timm, torch."""
_SEVERAL = ("optimizer_dict", "optimizers", "chained_optimizers")
"""Attributes in which an object keeps several optimizers: transformers' layer-wise dummies, chains."""
_MOST = 50
"""Number of objects that are looked at; an object may make a new one at each access."""


def hooked_optimizer(optimizer: object) -> Optimizer:
    """Find the torch optimizer that calls step hooks when this one is stepped: itself, or one that it wraps.

    Raises:
        TypeError: neither it nor an optimizer inside it has torch's step hooks, or it holds several.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))])
    >>> hooked_optimizer(sgd) is sgd
    True
    """
    for path in paths_inside(optimizer):
        if several := held_optimizers(path[-1]):
            raise TypeError(_several(path[-1], several, "watched"))
        if isinstance(path[-1], Optimizer) and _has_hooks(path[-1]):
            return path[-1]
    raise TypeError(
        f"{_kind(optimizer)} cannot be watched: neither it nor an optimizer inside it has the step hooks of a "
        f"torch.optim.Optimizer. {_what_to_pass(optimizer)}"
    )


def stepping_optimizer(optimizer: object) -> Any:  # Any: wrappers share no class
    """Return the optimizer whose parameter groups are stepped: the one inside a wrapper, or the given one.

    Raises:
        TypeError: it has no parameter groups and holds no optimizer, or it holds several.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))])
    >>> stepping_optimizer(sgd) is sgd
    True
    """
    return path_to_optimizer(optimizer)[-1]


def path_to_optimizer(optimizer: object) -> tuple[Any, ...]:  # Any: as above
    """Return the wrappers from the outside in, and last the optimizer that `stepping_optimizer` returns."""
    paths = []
    for path in paths_inside(optimizer):
        if several := held_optimizers(path[-1]):
            raise TypeError(_several(path[-1], several, "read"))
        if isinstance(path[-1], Optimizer) and _has_hooks(path[-1]):
            return path
        paths.append(path)
    for path in paths:
        if _is_groups(attribute(path[-1], "param_groups")):
            return path
    raise TypeError(
        f"the learning rate of {_kind(optimizer)} cannot be read: neither it nor an optimizer inside it has parameter "
        f"groups. {_what_to_pass(optimizer)}"
    )


def paths_inside(optimizer: object) -> Iterator[tuple[Any, ...]]:  # Any: as above
    """Yield the object, then what it wraps, layer by layer, each with the path to it. An object that holds itself ends there."""
    seen: list[object] = []
    waiting: deque[tuple[Any, ...]] = deque([(optimizer,)])
    while waiting and len(seen) < _MOST:
        path = waiting.popleft()
        if any(path[-1] is one for one in seen):
            continue
        seen.append(path[-1])
        yield path
        inner = (attribute(path[-1], name) for name in INNER_NAMES)
        waiting.extend((*path, one) for one in inner if one is not None)


def inner_optimizer(optimizer: object) -> Optimizer | None:
    """Return the torch optimizer that an optimizer holds and steps; None if it holds none."""
    held = (attribute(optimizer, name) for name in INNER_NAMES)
    return next((one for one in held if isinstance(one, Optimizer) and one is not optimizer), None)


def held_optimizers(thing: object) -> list[Optimizer]:
    """Return the optimizers of an object that holds several; none for an ordinary wrapper."""
    values: list[Any] = [thing] if isinstance(thing, (list, tuple, dict)) else []
    for value in (*values, *(attribute(thing, name) for name in _SEVERAL)):
        held = list(value.values()) if isinstance(value, Mapping) else value
        if isinstance(held, (list, tuple)) and held and all(isinstance(one, Optimizer) for one in held):
            return list(held)
    return []


def attribute(thing: object, name: str) -> Any:  # Any: as above
    """Return an attribute; None if there is none, or if asking for it raises."""
    try:
        return None if isinstance(thing, type) else getattr(thing, name, None)
    except Exception:  # noqa: BLE001  # a property may raise anything
        return None


def _has_hooks(optimizer: Optimizer) -> bool:
    initialized = {"_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"} <= vars(optimizer).keys()
    return initialized and bool(getattr(type(optimizer).step, "hooked", False))


def _is_groups(groups: object) -> bool:
    return isinstance(groups, (list, tuple)) and all(isinstance(group, Mapping) for group in groups)


def _kind(thing: object) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__module__}.{thing.__qualname__}"
    return f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")


def _what_to_pass(thing: object) -> str:
    if isinstance(thing, type) and issubclass(thing, Optimizer):
        return f"To fix it: pass an optimizer that was made from it, such as {thing.__name__}(model.parameters())"
    if callable(attribute(thing, "named_parameters")):
        return "To fix it: pass the optimizer that trains this model, not the model"
    return "To fix it: pass the torch optimizer whose step() the loop calls, after its __init__ has run"


def _several(holder: object, held: list[Optimizer], activity: str) -> str:
    names = sorted({type(one).__name__ for one in held})
    kind = _kind(holder)
    where = next((f".{name}" for name in _SEVERAL if attribute(holder, name) is not None), "it")
    example = f"next(iter(optimizer{where}.values()))" if where == ".optimizer_dict" else "one of its elements"
    own = ", and its own step() does nothing: each one is stepped in the backward pass" * (where == ".optimizer_dict")
    return (
        f"{kind} cannot be {activity} as one optimizer: it holds {len(held)} ({', '.join(names)}){own}. To fix it: pass "
        f"one of them, such as {example}"
    )
