"""Choice: a model with how it is trained, and its description."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffopt_widgets.state_size.models.lora import lora_tensors
from diffopt_widgets.state_size.models.model import Model, Tensors, find_model, full_tensors

_LAYER_TEXTS = {
    "attention": "in the attention layers",
    "blocks": "in the transformer blocks",
    "all": "in all linear and convolution layers",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A model with how it is trained.

    >>> choice = Choice()
    >>> choice.words(), choice.weights()
    ('an SDXL LoRA of rank 64', 92897280)
    """

    model: str = "sdxl"
    """Key of a model."""
    rank: int | None = 64
    """Rank of the LoRA; None for a full fine-tune."""
    layers: str = "attention"
    """Layers that have LoRA factors: a key of `LAYERS`."""
    dtype: str = "float32"
    """Precision of the trained weights."""

    @property
    def network(self) -> Model:
        """Model with this key. Raises KeyError when there is none."""
        return find_model(self.model)

    def tensors(self) -> Tensors:
        """Return the trained tensors.

        Raises:
            KeyError: there is no such model.
            ValueError: the rank or the choice of layers is not valid.
        """
        return full_tensors(self.network) if self.rank is None else lora_tensors(self.network, self.rank, self.layers)

    def weights(self) -> int:
        """Return the number of trained weights; raises as `tensors` does."""
        return sum(count * math.prod(tensor.shape) for tensor, count in self.tensors().items())

    def words(self) -> str:
        """Describe the training, as part of a sentence."""
        model = self.network
        if self.rank is None:
            return f"a full fine-tune of {model.title}'s {model.part}"
        return f"{model.article} {model.title} LoRA of rank {self.rank}"

    def details(self) -> str:
        """Describe the number of weights, and the layers that they are in."""
        place = f" {_LAYER_TEXTS[self.layers]} of its {self.network.part}" if self.rank is not None else ""
        return f"{self.weights():,} weights in {self.dtype}{place}"
