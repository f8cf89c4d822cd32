"""LoRA: two thin factors beside each layer of a network whose own weights stay as they are.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, https://arxiv.org/abs/2106.09685. Names, shapes and initial
values are those of peft, with lora_alpha equal to the rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from diffopt_widgets.tasks.networks import seeded

if TYPE_CHECKING:
    import torch


class LoraLayer(nn.Module):
    """Frozen layer plus the product of two thin factors, of which the second, B, starts at zero: at first nothing changes."""

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = seeded(lambda: _first_factor(base, rank), generator)
        self.lora_B = seeded(lambda: _second_factor(base, rank), generator)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the frozen layer returns, changed by the factors."""
        out: Tensor = self.base(x) + self.lora_B(self.lora_A(x))
        return out


def add_lora(network: nn.Module, rank: int, generator: torch.Generator) -> None:
    """Freeze a network, and put a LoRA of this rank beside each of its linear and convolution layers."""
    network.requires_grad_(requires_grad=False)
    for name, layer in [*network.named_modules()]:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, LoraLayer(layer, rank, generator))


def _first_factor(base: nn.Linear | nn.Conv2d, rank: int) -> nn.Linear | nn.Conv2d:
    """Make the factor A without values: it has the layer's inputs and, if it is a convolution, its kernel."""
    if isinstance(base, nn.Linear):
        return nn.Linear(base.in_features, rank, bias=False)
    kernel, stride, padding = base.kernel_size, base.stride, base.padding
    return nn.Conv2d(base.in_channels, rank, kernel, stride, padding, bias=False)  # type: ignore[arg-type]  # its own values


def _second_factor(base: nn.Linear | nn.Conv2d, rank: int) -> nn.Linear | nn.Conv2d:
    """Make the factor B without values: it has the layer's outputs."""
    if isinstance(base, nn.Linear):
        return nn.Linear(rank, base.out_features, bias=False)
    return nn.Conv2d(rank, base.out_channels, 1, bias=False)
