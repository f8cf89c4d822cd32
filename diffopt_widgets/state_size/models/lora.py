"""Tensors of a LoRA: two thin factors beside each layer that it trains.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.state_size.models.model import Model, Tensor, Tensors, find_model
from diffopt_widgets.state_size.models.parts import Weight

_ATTENTION = re.compile(r"\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)\.weight$")
_BLOCK = re.compile(r"^(single_)?transformer_blocks\.|\.attentions\.")

HIGHEST_RANK = 100_000
"""Highest rank of a LoRA: far above the width of any layer."""

LAYERS: Mapping[str, Callable[[Weight], bool]] = MappingProxyType(
    {
        "attention": lambda weight: _ATTENTION.search(weight.name) is not None,
        "blocks": lambda weight: _BLOCK.search(weight.name) is not None,
        "all": lambda weight: True,
    }
)
"""Choices of the linear and convolution layers that a LoRA trains. `attention`: query, key, value and output of every
attention, as in diffusers' text-to-image scripts. `blocks`: all layers in the transformer blocks, with the projections into
and out of them, as in kohya's scripts for Stable Diffusion without `conv_dim`; kohya's scripts for Flux have query, key and
value in one layer, with one first factor for the three. `all`: every such layer of the network."""


def lora_tensors(model: Model, rank: int, layers: str = "attention") -> Tensors:
    """Return the tensors that a LoRA of this rank trains.

    A layer of n inputs and m outputs gets `(rank, n)` and `(m, rank)`; a convolution gets the first with its kernel and the
    second with a kernel of 1. The second factor starts at zero. Names are as in peft.

    Args:
        model: the model that the LoRA is for.
        rank: from 1 to `HIGHEST_RANK`; a narrower layer gets factors of this rank too.
        layers: a key of `LAYERS`.

    Raises:
        ValueError: the rank or the choice of layers is not valid.

    >>> from diffopt_widgets.state_size.models import find_model
    >>> import math
    >>> tensors = lora_tensors(find_model("sdxl"), 4)
    >>> sum(count * math.prod(tensor.shape) for tensor, count in tensors.items())  # 23.2 MB in 32 bits
    5806080
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= HIGHEST_RANK:
        raise ValueError(f"rank is {safe_repr(rank)}; it must be a whole number from 1 to {HIGHEST_RANK:,}")
    if not isinstance(layers, str) or layers not in LAYERS:
        raise ValueError(f"there is no choice of layers {safe_repr(layers)}; choose one of {', '.join(LAYERS)}")
    return _factors(model.key, rank, layers)


@lru_cache(maxsize=32)
def _factors(key: str, rank: int, layers: str) -> Tensors:
    tensors: Counter[Tensor] = Counter()
    for weight in find_model(key).weights:
        if len(weight.shape) > 1 and LAYERS[layers](weight):
            wide_out, wide_in, *kernel = weight.shape
            layer = weight.name.removesuffix(".weight")
            tensors[Tensor((rank, wide_in, *kernel), name=f"{layer}.lora_A.weight")] += 1
            up = (wide_out, rank, *(1 for _ in kernel))
            tensors[Tensor(up, zero=True, name=f"{layer}.lora_B.weight")] += 1
    return MappingProxyType(tensors)
