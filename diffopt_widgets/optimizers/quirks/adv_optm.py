"""Quirks of adv_optm: a generator of its own, Kourkoutas-β's memory of each layer, one compiled function for all tensors.

Source: adv_optm 2.2.3.
"""

from __future__ import annotations

import importlib
import types
from typing import TYPE_CHECKING, Any

from diffopt_widgets.optimizers.quirks.package_quirks import PackageQuirks

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.settings import Settings

ROOM = 4096
"""Allowed compilations of one function; torch itself stops at 8."""


class AdvOptmQuirks(PackageQuirks):
    """Hooks for the optimizers of adv_optm."""

    def prepare(self, optimizer: torch.optim.Optimizer, settings: Settings) -> None:
        """Raise torch's limit on compilations, so that a compiled step can serve the shapes of all tensors."""
        if any(use.requires == "compiler" for use in settings.spec.asking(settings.options)):
            _give_room(optimizer)

    def seed(self, seed: int, device: torch.device) -> None:
        """Seed the generator that all its optimizers on a device use for rounding."""
        from adv_optm.util.param_update import get_generator

        get_generator(device).manual_seed(seed)

    def memory(self, optimizer: torch.optim.Optimizer) -> Any:
        """Return what Kourkoutas-β remembers of each layer, beside the optimizer's state; None without it."""
        helper = getattr(optimizer, "kourkoutas_helper", None)
        if helper is None:
            return None
        layers = [helper.layer_state.get(key, {}) for key in helper.layer_info]
        return layers, helper._current_step_prepared  # noqa: SLF001  # there is no public way

    def recall(self, optimizer: torch.optim.Optimizer, memory: Any) -> None:
        """Give Kourkoutas-β back what it remembered."""
        helper = getattr(optimizer, "kourkoutas_helper", None)
        if helper is not None:
            layers, helper._current_step_prepared = memory  # noqa: SLF001  # as above
            helper.layer_state = {key: layer for key, layer in zip(helper.layer_info, layers, strict=True) if layer}


def _give_room(optimizer: torch.optim.Optimizer) -> None:
    """Let torch compile the step of `optimizer` as often as its tensors have shapes.

    The package compiles one function for all tensors and asks torch to raise rather than fall back. torch gives up after
    8 compilations of a function, those of earlier optimizers included, so that most models would fail in their first step.
    The limit is lifted for the time of each step only.
    """
    config: Any = importlib.import_module("torch._dynamo.config")  # slow to import; its names differ by version
    names = ("recompile_limit", "accumulated_recompile_limit")
    if not hasattr(config, names[0]):  # before torch 2.6
        names = ("cache_size_limit", "accumulated_cache_size_limit")
    step = type(optimizer).step

    def with_room(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with config.patch(dict.fromkeys(names, ROOM)):
            return step(self, closure)

    optimizer.step = types.MethodType(with_room, optimizer)  # type: ignore[method-assign]
