"""Two small networks that learn to predict noise, each in two parts: `text_encoder` (the label) and `unet` (the rest).

Every tensor starts at random, biases too, and norms have no weights: LAMB and LARS scale a tensor's update by the norm of
the tensor, so one that starts at zero would never train. The last layer of a network and of a residual branch, which
diffusion models usually start at zero, starts at a tenth of torch's default instead. Without that, and without the norms,
Prodigy's estimate of the learning rate overshoots or does not settle during a run.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffopt_widgets.tasks.task import ParameterGroup

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = ("last", "final_layer")
"""Names of the layers that start small: the last one of a residual branch, and of a network."""

CONDITION = 64
"""Width of the vector for time step and label."""

_Network = TypeVar("_Network", bound=nn.Module)


def seeded(make: Callable[[], _Network], generator: torch.Generator) -> _Network:
    """Make a network on the CPU with torch's default initialisation, drawn from `generator` only.

    It is first made without memory and then filled, so the global generator is not used, even if other threads run
    meanwhile.
    """
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    with torch.no_grad():
        for name, module in network.named_modules():
            _fill(module, 0.1 if name.rpartition(".")[2] in SMALL else 1.0, generator)
    return network


def _fill(module: nn.Module, gain: float, generator: torch.Generator) -> None:
    if isinstance(module, nn.Embedding):
        module.weight.normal_(generator=generator)
    elif isinstance(module, nn.Linear | nn.Conv2d):
        bound = gain / math.sqrt(module.weight[0].numel())
        for parameter in module.parameters(recurse=False):
            parameter.uniform_(-bound, bound, generator=generator)
    elif any(True for _ in module.parameters(recurse=False)):
        raise TypeError(f"no initialisation is written for {type(module).__name__}")


def waves(x: Tensor, lowest: float, ratio: float, count: int) -> Tensor:
    """Return sines and cosines of the last dimension at `count` frequencies: (..., n) becomes (..., 2 · n · count)."""
    frequencies = lowest * ratio ** torch.arange(count, device=x.device)
    angles = (x.unsqueeze(-1) * frequencies).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Conditioned(nn.Module):
    """Network of two parts: `text_encoder` turns labels into vectors, `unet` predicts the noise with them."""

    def __init__(self, labels: int, unet: nn.Module) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "embedding": nn.Embedding(labels, CONDITION),
            "inner": nn.Linear(CONDITION, CONDITION),
            "activation": nn.SiLU(),
            "outer": nn.Linear(CONDITION, CONDITION),
        }
        self.text_encoder = nn.Sequential(OrderedDict(layers))
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Predict the noise in `x` of shape (n, …) at times `t` in 0…1 of shape (n,) for labels of shape (n,), in the precision of `x`."""
        noise: Tensor = self.unet(x, t, self.text_encoder(label))
        return noise

    def groups(self) -> tuple[ParameterGroup, ...]:
        """Return the parameters that train, each once, by part."""
        trained = {
            name: [(n, p) for n, p in part.named_parameters(name) if p.requires_grad]
            for name, part in self.named_children()
        }
        return tuple(
            ParameterGroup(name, tuple(p for _, p in named), tuple(n for n, _ in named))
            for name, named in trained.items()
        )


class _Time(nn.Module):
    """Condition vector: the embedding of the time step plus that of the label."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(32, CONDITION)
        self.outer = nn.Linear(CONDITION, CONDITION)

    def forward(self, t: Tensor, label: Tensor) -> Tensor:
        features = waves(t.unsqueeze(-1), 0.5, math.sqrt(2), 16).to(label.dtype)
        hidden = functional.silu(self.inner(features))
        return functional.silu(self.outer(hidden) + label)


class PointsNet(nn.Module):
    """Residual MLP on points of shape (n, 2), its layers modulated by time step and label."""

    def __init__(self, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.time = _Time()
        self.first_layer = nn.Linear(2 + 2 * 2 * 6, width)
        self.modulations = nn.ModuleList(nn.Linear(CONDITION, 2 * width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.final_layer = nn.Linear(width, 2)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Predict the noise in `x` for label vectors of shape (n, CONDITION)."""
        condition = self.time(t, label)
        h = self.first_layer(torch.cat([x, waves(x, 0.5, 1.6, 6).to(x.dtype)], dim=-1))
        for layer, modulation in zip(self.layers, self.modulations, strict=True):
            scale, shift = modulation(condition).chunk(2, dim=-1)
            normed = functional.layer_norm(h, h.shape[-1:])
            h = h + layer(functional.silu(normed * (1 + scale) + shift))
        noise: Tensor = x + self.final_layer(h)  # most of x is noise: only the difference has to be learned
        return noise


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(CONDITION, 2 * outputs)
        self.last = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.first(functional.silu(functional.group_norm(x, 4)))
        scale, shift = self.modulation(condition)[..., None, None].chunk(2, dim=1)
        h = functional.group_norm(h, 4) * (1 + scale) + shift
        out: Tensor = self.shortcut(x) + self.last(functional.silu(h))
        return out


class DigitsNet(nn.Module):
    """UNet with two levels on images of shape (n, 8, 8)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.time = _Time()
        self.first_layer = nn.Conv2d(1, width, 3, padding=1)
        self.before = _Residual(width, width)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(_Residual(2 * width, 2 * width) for _ in range(2))
        self.up = nn.Conv2d(2 * width, width, 3, padding=1)
        self.after = _Residual(2 * width, width)
        self.final_layer = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Predict the noise in `x` for label vectors of shape (n, CONDITION)."""
        condition = self.time(t, label)
        fine = self.before(self.first_layer(x.unsqueeze(1)), condition)
        h = self.down(fine)
        for block in self.middle:
            h = block(h, condition)
        h = self.up(functional.interpolate(h, scale_factor=2.0))
        h = self.after(torch.cat([h, fine], dim=1), condition)
        noise: Tensor = self.final_layer(functional.silu(functional.group_norm(h, 4)))
        return noise.squeeze(1)
