"""Settings of single tensors that bitsandbytes keeps outside the parameter groups, with `GlobalOptimManager`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer

_OF_THE_RATE = ("lr", "max_unorm")
"""Settings that change what is applied to a tensor."""


def overridden_groups(optimizer: Optimizer) -> frozenset[int]:
    """Return the groups in which a tensor has a rate of its own; their group's rate is not what is applied to all of it."""
    manager: Any = getattr(optimizer, "mng", None)  # the types of bitsandbytes are not installed everywhere
    if not isinstance(by_tensor := getattr(manager, "pid2config", None), Mapping):
        return frozenset()
    by_index, modules = manager.index2config, manager.module_weight_config_triple
    if not (by_tensor or by_index or modules):
        return frozenset()
    # The first step looks the modules' tensors up, and may not have been taken.
    of_modules = {id(getattr(module, name)) for module, name, config in modules if _has_rate(config)}
    return frozenset(
        index
        for index, group in enumerate(optimizer.param_groups)
        if any(
            _has_rate(by_tensor.get(id(p))) or _has_rate(by_index.get((index, place))) or id(p) in of_modules
            for place, p in enumerate(group["params"])
        )
    )


def _has_rate(config: Mapping[str, Any] | None) -> bool:
    return config is not None and any(name in config for name in _OF_THE_RATE)
