"""What a scenario reports: what was tried, how often, what held, and what was measured."""

from __future__ import annotations

from typing import NamedTuple

import torch

from diffopt_widgets.tasks import Task


class Tried(NamedTuple):
    """One line of the table in docs/faults.md; a scenario that does not hold raises AssertionError instead."""

    what: str
    times: int
    held: str
    measured: str = ""


class Bowl:
    """The least problem that trains: a few weights that move towards a point. A step takes a fraction of a millisecond."""

    def __init__(self, seed: int, device: torch.device, batch_size: int, dtype: torch.dtype) -> None:
        self.model = torch.nn.Linear(4, 2).to(device, dtype)
        self.inputs = torch.linspace(-1, 1, 32, device=device, dtype=dtype).view(8, 4)

    def loss(self, step: int, micro: int = 0) -> torch.Tensor:
        return self._error()

    @torch.no_grad()
    def evaluate(self) -> torch.Tensor:
        return self._error()

    def _error(self) -> torch.Tensor:
        return (self.model(self.inputs).float() - 1).square().mean()


BOWL = Task(key="bowl", title="A bowl", summary="Weights move towards a point.", build=Bowl, steps=60, batch_size=8)
