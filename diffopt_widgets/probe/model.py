"""Small model that the probe trains, and the circumstances of its training."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from diffopt_widgets.catalogue.schema import Values, no_values
from diffopt_widgets.tasks.seeds import seeded

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

SIDE = 128
"""Side of the weight, which has SIDE² = 16,384 elements, the most that an 8-bit optimizer requires."""
EXAMPLES = 16

Build: TypeAlias = Callable[[list[dict[str, Any]]], "tuple[torch.optim.Optimizer, LRScheduler | None]"]
"""Function that makes the optimizer for some parameter groups, and its schedule if there is one."""


@dataclass(frozen=True, slots=True)
class Circumstance:
    """One way to train the small model. Many options have an effect only under some of them."""

    words: str = ""
    values: Values = field(default_factory=no_values)
    bfloat16: bool = False
    groups: tuple[str, ...] = ()
    """Names of two parameter groups, of the weight and of the bias; if empty, there is one group without a name."""
    names: tuple[str, str] = ("block_weight", "block.bias")
    """Names of the weight and the bias, for optimizers that use names."""
    zero: bool = False
    """True when the bias starts at exactly 0."""
    convolution: bool = False
    """True when the weight has four dimensions, (SIDE, SIDE, 1, 1)."""
    matrices: bool = False
    """True when the bias is a matrix too, of one row."""


PLAIN = Circumstance()
CIRCUMSTANCES = (
    PLAIN,
    Circumstance("weight decay", {"weight_decay": 0.1}),
    Circumstance("a learning rate that starts at 0", {"warmup": 4.0}),
    Circumstance("two groups (unet, text_encoder)", groups=("unet", "text_encoder")),
    Circumstance("two groups (unet, text_encoder_2)", groups=("unet", "text_encoder_2")),
    Circumstance("a tensor that starts at zero", zero=True),
    Circumstance("a convolution", convolution=True),
    Circumstance("an embedding", names=("embedding.weight", "embedding.bias")),
    Circumstance("matrices only", matrices=True),
    Circumstance("bfloat16 weights", bfloat16=True),
)


def parameters(circumstance: Circumstance = PLAIN, device: str = "cpu") -> list[torch.nn.Parameter]:
    """Make the weight (SIDE, SIDE) and the bias (SIDE) of one linear layer, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    weight = 0.3 * torch.randn(SIDE, SIDE, generator=generator)
    bias = torch.zeros(SIDE) if circumstance.zero else 0.3 * torch.randn(SIDE, generator=generator)
    if circumstance.convolution:
        weight = weight[:, :, None, None]
    if circumstance.matrices:
        bias = bias[None]
    dtype = torch.bfloat16 if circumstance.bfloat16 else torch.float32
    return [torch.nn.Parameter(start.to(device, dtype)) for start in (weight, bias)]


def loss_at(step: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Compute the squared error on the random examples of one step; gradients change their size from step to step."""
    x, y = (batch.to(weight.device, weight.dtype) for batch in _examples(step))
    scale = 1.0 if step % 3 == 0 else 0.1
    return scale * ((x @ weight.view(SIDE, SIDE) + bias - y) ** 2).mean()


@cache
def _examples(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(EXAMPLES, SIDE, generator=generator), torch.randn(EXAMPLES, SIDE, generator=generator)


def walk(build: Build, circumstance: Circumstance = PLAIN, device: str = "cpu") -> Iterator[torch.Tensor]:
    """Train the small model without end, yielding all its weights as one vector after each step.

    Each step has its own seed, so that two walks in alternation do not disturb one another. The output of the back end is
    dropped; its errors are raised.
    """
    params = parameters(circumstance, device)
    groups: list[dict[str, Any]] = [{"params": params, "param_names": list(circumstance.names)}]
    if circumstance.groups:
        parts = zip(params, circumstance.names, circumstance.groups, strict=True)
        groups = [{"params": [param], "param_names": [name], "name": group} for param, name, group in parts]
    with _alone(0, device):
        optimizer, schedule = build(groups)
        if callable(train := getattr(optimizer, "train", None)):
            train()  # schedule-free optimizers raise in eval mode
    step = 0
    while True:
        with _alone(step, device):
            loss_at(step, *params).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            if schedule is not None:
                schedule.step()
            optimizer.zero_grad()
        yield torch.cat([param.detach().flatten() for param in params])
        step += 1


@contextlib.contextmanager
def _alone(seed: int, device: str) -> Iterator[None]:
    """Protect the process from a back end: its random numbers, output, warnings, logs, and `exit()`, which closes stdin."""
    stdin, disabled = sys.stdin, logging.root.manager.disable
    sys.stdin = io.StringIO()
    logging.disable()
    try:
        with (
            seeded(seed, torch.device(device)),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        sys.stdin = stdin


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two vectors are the same to the bit: NaN equals itself, and 0 differs from −0."""
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))
