"""Task of making points on a spiral, the swiss roll, out of noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from diffopt_widgets.tasks.task import Problem, Task

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.tasks.diffusion import Examples

SECTIONS = 8
"""Number of labels: equal sections of the roll, from the inside out."""

DRAWN = 512
"""Number of points in a sample."""

_WEIGHTS, _DATA = 4, 5


def _build(seed: int, device: torch.device, batch_size: int, dtype: torch.dtype) -> Problem:
    from diffopt_widgets.tasks.diffusion import Denoising
    from diffopt_widgets.tasks.networks import Conditioned, PointsNet, seeded
    from diffopt_widgets.tasks.seeds import generator

    model = seeded(lambda: Conditioned(SECTIONS, PointsNet()), generator(_WEIGHTS, seed))
    return Denoising(
        model,
        train=_roll(8192, 0),
        held_out=_roll(1024, 1),
        kind="points",
        drawn=[i * SECTIONS // DRAWN for i in range(DRAWN)],
        seed=seed,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
    )


def _roll(count: int, part: int) -> Examples:
    """Draw points on one and a half turns of a spiral, a little blurred, within about ±1.8."""
    import torch

    from diffopt_widgets.tasks.diffusion import Examples
    from diffopt_widgets.tasks.seeds import generator

    random = generator(_DATA, part)
    along = torch.rand(count, generator=random)
    turn = math.pi * (1.5 + 3 * along)
    points = torch.stack([turn.cos(), turn.sin()], dim=1) * turn.unsqueeze(1) / 8
    blur = 0.03 * torch.randn(count, 2, generator=random)
    return Examples(points + blur, (along * SECTIONS).long())


SWISS_ROLL = Task(
    key="swiss_roll",
    title="Swiss roll",
    summary="A small network learns to turn noise into points on a spiral, each coloured section on request. Look for "
    "how soon the loss leaves its plateau and how sharp the roll gets.",
    steps=400,
    batch_size=256,
    lr=4e-3,
    build=_build,
)
