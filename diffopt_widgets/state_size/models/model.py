"""Models that people train, and the tensors that their training changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.state_size.models.flux import FLUX, flux_weights
from diffopt_widgets.state_size.models.parts import Weight
from diffopt_widgets.state_size.models.unet import SD15, SDXL, unet_weights


class Tensor(NamedTuple):
    """Tensor that is trained."""

    shape: tuple[int, ...]
    zero: bool = False
    """True when all its values are 0 at the start, as in the second factor of a LoRA: Prodigy keeps less state for it."""
    name: str = ""
    """Name, if it is known, for known models that in diffusers: Muon chooses layers by it."""
    dtype: str = ""
    """Precision of its own; empty for that of the training."""


Tensors: TypeAlias = Mapping[Tensor, int]
"""Number of tensors of each kind; a tensor with a name counts once."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model: the network of it that is trained, with diffusers' names for its weights."""

    key: str
    title: str
    article: str
    """Article before the title: a or an."""
    part: str
    """Kind of the network; the text encoders and the VAE are not counted."""
    link: str
    """Address of its published configuration."""
    build: Callable[[], tuple[Weight, ...]]

    @property
    def weights(self) -> tuple[Weight, ...]:
        """All weights with their shapes."""
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
"""Models by key."""


def find_model(name: str) -> Model:
    """Return the model with this key, in upper or lower case.

    Raises:
        KeyError: there is none; the message lists the keys.

    >>> find_model("SDXL").title
    'SDXL'
    """
    try:
        return MODELS[name.lower()]
    except KeyError:
        raise KeyError(f"there is no model {safe_repr(name)}; choose one of {', '.join(MODELS)}") from None


def full_tensors(model: Model) -> Tensors:
    """Return the tensors of a full fine-tune: every weight of the network.

    >>> import math
    >>> sum(count * math.prod(tensor.shape) for tensor, count in full_tensors(find_model("sdxl")).items())
    2567463684
    """
    return _all_tensors(model.key)


@cache
def _all_tensors(key: str) -> Tensors:
    return MappingProxyType(Counter(Tensor(weight.shape, name=weight.name) for weight in _weights(key)))


@cache
def _weights(key: str) -> tuple[Weight, ...]:
    return MODELS[key].build()
