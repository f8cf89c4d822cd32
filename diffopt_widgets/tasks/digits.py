"""Task of making handwritten digits of 8 × 8 pixels out of noise, from real examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffopt_widgets.tasks.task import Problem, Task

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.tasks.diffusion import Examples

_WEIGHTS = 4


def _build(seed: int, device: torch.device, batch_size: int, dtype: torch.dtype) -> Problem:
    from diffopt_widgets.tasks.diffusion import Denoising
    from diffopt_widgets.tasks.networks import Conditioned, DigitsNet, seeded
    from diffopt_widgets.tasks.seeds import generator

    model = seeded(lambda: Conditioned(10, DigitsNet()), generator(_WEIGHTS, seed))
    train, held_out = _read()
    return Denoising(
        model,
        train=train,
        held_out=held_out,
        kind="images",
        drawn=[*range(10), *range(10)],
        seed=seed,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
    )


def _read() -> tuple[Examples, Examples]:
    """Read the images, scaled to −1…1; every seventh is held out."""
    from importlib import resources

    import numpy as np
    import torch

    from diffopt_widgets.tasks.diffusion import Examples

    with (resources.files(__package__) / "data" / "digits.npz").open("rb") as file, np.load(file) as stored:
        images = torch.from_numpy(stored["images"]).float() / 8 - 1
        labels = torch.from_numpy(stored["labels"]).long()
    held_out = torch.arange(len(images)) % 7 == 0
    return Examples(images[~held_out], labels[~held_out]), Examples(images[held_out], labels[held_out])


DIGITS = Task(
    key="digits",
    title="Handwritten digits",
    summary="A small UNet learns to turn noise into handwritten digits of 8 × 8 pixels (1,797 real images, UCI), each "
    "digit on request. Look for how far the loss has fallen by step 50.",
    steps=300,
    batch_size=64,
    lr=4e-3,
    build=_build,
)
