"""Hooks: the closure of a step, and names for the parameter groups of an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.optimizers.groups import plain_name

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer

Arguments: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any]]"  # Any: whatever an optimizer's step takes
"""Positional and keyword arguments of a step; the first is the optimizer."""


def with_closure(args: tuple[Any, ...], kwargs: dict[str, Any], callback: Callable[[], None]) -> Arguments | None:
    """Replace a step's closure by one that also calls `callback` each time that it has computed gradients.

    Args:
        args: positional arguments of the step, the optimizer first, as step hooks get them.
        kwargs: keyword arguments of the step.
        callback: must not raise.

    Returns:
        the arguments in the same order, as a hook before a step may return them; None for a step without a closure.
    """
    closure = args[1] if len(args) > 1 else kwargs.get("closure")
    if not callable(closure):
        return None

    def wrapped(*inner: Any, **named: Any) -> Any:  # Any: whatever an optimizer calls it with
        loss = closure(*inner, **named)
        callback()
        return loss

    if len(args) > 1:
        return (args[0], wrapped, *args[2:]), kwargs
    return args, {**kwargs, "closure": wrapped}


def group_names(
    optimizer: Optimizer, names: Sequence[str] | None = None, model: torch.nn.Module | None = None
) -> tuple[str, ...]:
    """Name each parameter group: from `names`, else by its own name, else by the part of the model that it holds.

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
        if isinstance(names, type) or not isinstance(names, Iterable):
            raise TypeError(f'names: a list of names is wanted, such as ["unet"], and not {safe_repr(names)}')
        chosen = tuple(str(name) for name in ([names] if isinstance(names, str) else names))
        if len(chosen) != len(groups) or len(set(chosen)) != len(chosen):
            raise ValueError(
                f"names are {list(chosen)}; the optimizer has {len(groups)} parameter groups, and each needs its own name"
            )
        return chosen
    own = [plain_name(name) or name for name in (str(group.get("name") or "") for group in groups)]
    if len(groups) == 1:
        return (own[0] or "all",)
    if model is not None and not all(own):
        own = [name or part for name, part in zip(own, _parts(optimizer, model), strict=True)]
    return tuple(name if name and own.count(name) == 1 else f"group {i}" for i, name in enumerate(own))


def later_names(optimizer: Optimizer, taken: Sequence[str]) -> list[str]:
    """Name the parameter groups that were added after the first ones were named.

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
    """Return the common prefix of each group's parameter names, up to a dot; "" if there is none."""
    name_of = {parameter: name for name, parameter in model.named_parameters()}
    parts = []
    for group in optimizer.param_groups:
        paths = [name_of[p].split(".")[:-1] for p in group["params"] if p in name_of]
        common: list[str] = []
        for level in zip(*paths, strict=False):
            if len(set(level)) > 1:
                break
            common.append(level[0])
        parts.append(plain_name(".".join(common)))
    return parts
