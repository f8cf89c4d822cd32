"""Hooks for what the optimizers of one package need beyond torch's own interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.settings import Settings


class PackageQuirks:
    """Hooks that factory, loop and checkpoint call for every optimizer; this base class does nothing.

    A package that needs a hook has a subclass, in a file of its own beside this one.
    """

    def prepare(self, optimizer: torch.optim.Optimizer, settings: Settings) -> None:
        """Prepare an optimizer that was just built from settings, before its first step."""

    def seed(self, seed: int, device: torch.device) -> None:
        """Seed the random numbers that steps on a device draw from a generator of the package's own."""

    def memory(self, optimizer: torch.optim.Optimizer) -> Any:  # Any: tensors, numbers, texts, lists and dicts
        """Return what an optimizer keeps from step to step outside its state; None if there is nothing."""

    def recall(self, optimizer: torch.optim.Optimizer, memory: Any) -> None:
        """Give a freshly built optimizer what another one remembered."""
