"""Weight shapes of models that people train, from their public configurations: pure data."""

from __future__ import annotations

from diffopt_widgets.state_size.models.choice import Choice
from diffopt_widgets.state_size.models.lora import LAYERS, lora_tensors
from diffopt_widgets.state_size.models.model import MODELS, Model, Tensor, Tensors, find_model, full_tensors

__all__ = ["LAYERS", "MODELS", "Choice", "Model", "Tensor", "Tensors", "find_model", "full_tensors", "lora_tensors"]
