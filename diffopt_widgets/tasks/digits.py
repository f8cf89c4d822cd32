"""Tasks of making handwritten digits of 8 × 8 pixels out of noise: from the start, or by a network that makes them already.

The two of the second kind change the style of a network that was trained on the digits: it learns to make them black on
white. One trains a LoRA, the other all weights. `tests/shared/make_pretrained.py` made that network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffopt_widgets.tasks.task import Problem, Task

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.tasks.diffusion import Examples
    from diffopt_widgets.tasks.networks import Conditioned

RANK = 4
"""Rank of the LoRA."""

PRETRAINED = "digits_pretrained.npz"
PRETRAINED_SHA256 = "f6349b11c6f392b00eb439b8c5c1d151043fc3e0e3ffb70d71dc46d270d7647e"

_WEIGHTS = 4


def _build(seed: int, device: torch.device, batch_size: int, dtype: torch.dtype) -> Problem:
    from diffopt_widgets.tasks.networks import Conditioned, DigitsNet, seeded
    from diffopt_widgets.tasks.seeds import generator

    model = seeded(lambda: Conditioned(10, DigitsNet()), generator(_WEIGHTS, seed))
    return _denoising(model, seed, device, batch_size, dtype)


def _build_lora(seed: int, device: torch.device, batch_size: int, dtype: torch.dtype) -> Problem:
    from diffopt_widgets.tasks.lora import add_lora
    from diffopt_widgets.tasks.seeds import generator

    model = pretrained()
    add_lora(model, RANK, generator(_WEIGHTS, seed))
    return _denoising(model, seed, device, batch_size, dtype, inverted=True)


def _build_finetune(seed: int, device: torch.device, batch_size: int, dtype: torch.dtype) -> Problem:
    return _denoising(pretrained(), seed, device, batch_size, dtype, inverted=True)


def _denoising(
    model: Conditioned, seed: int, device: torch.device, batch_size: int, dtype: torch.dtype, *, inverted: bool = False
) -> Problem:
    from diffopt_widgets.tasks.diffusion import Denoising

    train, held_out = _read(inverted=inverted)
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


def pretrained() -> Conditioned:
    """Return the network that was trained on the digits, on the CPU.

    Raises:
        RuntimeError: its file is not the one of this version.
    """
    import hashlib
    import io
    from importlib import resources

    import numpy as np
    import torch

    from diffopt_widgets.tasks.networks import Conditioned, DigitsNet

    file = resources.files(__package__) / "data" / PRETRAINED
    content = file.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != PRETRAINED_SHA256:
        raise RuntimeError(
            f"{file} is damaged or of another version: its SHA-256 begins with {found[:8]}, and {PRETRAINED_SHA256[:8]} is "
            "expected. Install diffopt_widgets again"
        )
    with torch.device("meta"):
        network = Conditioned(10, DigitsNet())
    with np.load(io.BytesIO(content)) as stored:  # in half precision, which is half of the size
        weights = {name: torch.from_numpy(stored[name]).float() for name in stored.files}
    network.load_state_dict(weights, assign=True)
    return network


def _read(*, inverted: bool = False) -> tuple[Examples, Examples]:
    """Read the images, scaled to −1…1, white on black or inverted; every seventh is held out."""
    from importlib import resources

    import numpy as np
    import torch

    from diffopt_widgets.tasks.diffusion import Examples

    with (resources.files(__package__) / "data" / "digits.npz").open("rb") as file, np.load(file) as stored:
        images = torch.from_numpy(stored["images"]).float() / 8 - 1
        labels = torch.from_numpy(stored["labels"]).long()
    images = -images if inverted else images
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

DIGITS_LORA = Task(
    key="digits_lora",
    title="Inverted digits (LoRA)",
    summary="A UNet that makes white digits on black learns to make black ones on white, by a LoRA of rank 4 on every layer. Its "
    "B matrices start at zero: look for optimizers that scale a step by the size of the tensor.",
    steps=200,
    batch_size=64,
    lr=1e-2,
    build=_build_lora,
)

DIGITS_FINETUNE = Task(
    key="digits_finetune",
    title="Inverted digits (full)",
    summary="The same UNet learns the same as with the LoRA, but all its weights are trained. Compare the loss, the rates and "
    "the estimates of Prodigy with those of the LoRA.",
    steps=200,
    batch_size=64,
    lr=4e-3,
    build=_build_finetune,
)
