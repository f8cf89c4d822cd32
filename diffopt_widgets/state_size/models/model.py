"""A model that people train, and the tensors that its training changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from diffopt_widgets.state_size.models.flux import FLUX, flux_weights
from diffopt_widgets.state_size.models.parts import Weight
from diffopt_widgets.state_size.models.unet import SD15, SDXL, unet_weights


class Tensor(NamedTuple):
    """A tensor that is trained."""

    shape: tuple[int, ...]
    zero: bool = False
    """Whether every value in it is 0 at the start, as in the second factor of a LoRA: Prodigy keeps less for such."""
    name: str = ""
    """As diffusers has it, where it is known: Muon tells layers apart by it."""


Tensors: TypeAlias = Mapping[Tensor, int]
"""How many there are of each; those that have names are one each."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model: the part of it that is trained, by the names that diffusers gives its weights."""

    key: str
    title: str
    article: str
    """Which one stands before the title: a or an."""
    part: str
    """Which network it is: the text encoders and the VAE are not counted."""
    link: str
    """Where its configuration is published."""
    build: Callable[[], tuple[Weight, ...]]

    @property
    def weights(self) -> tuple[Weight, ...]:
        """Every weight with its shape."""
        return _weights(self.key)


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        model.key: model
        for model in (
            Model(
                "sd15",
                "SD 1.5",
                "an",
                "UNet",
                "https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5/blob/main/unet/config.json",
                lambda: unet_weights(SD15),
            ),
            Model(
                "sdxl",
                "SDXL",
                "an",
                "UNet",
                "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/unet/config.json",
                lambda: unet_weights(SDXL),
            ),
            Model(
                "flux",
                "Flux.1 dev",
                "a",
                "transformer",
                "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/transformer/config.json",
                lambda: flux_weights(FLUX),
            ),
        )
    }
)
"""The models by key."""


def find_model(name: str) -> Model:
    """Give the model with this key, in large or small letters.

    Raises:
        KeyError: there is none; the message names those that there are.

    >>> find_model("SDXL").title
    'SDXL'
    """
    try:
        return MODELS[name.lower()]
    except KeyError:
        raise KeyError(f"there is no model {name!r}; choose one of {', '.join(MODELS)}") from None


def full_tensors(model: Model) -> Tensors:
    """The tensors of a full fine-tune: every weight of the network.

    >>> import math
    >>> sum(count * math.prod(tensor.shape) for tensor, count in full_tensors(find_model("sdxl")).items())
    2567463684
    """
    return Counter(Tensor(weight.shape, name=weight.name) for weight in model.weights)


@cache
def _weights(key: str) -> tuple[Weight, ...]:
    return MODELS[key].build()
