"""The learning rate that a step really applies, read at the right moment and without waiting for the device.

Most optimizers apply the rate of their parameter group. Those that estimate it (Prodigy, D-Adaptation) multiply it by an
estimate `d` that has already moved on once `step()` returns, so it is read before. Others (LAMB, LARS, Adafactor) scale it
tensor by tensor; the value here is then the mean over the group's weights. And some fold the rate into their momentum, so
that a step applies the average of the rates so far, weighted as the momentum weighs the gradients.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.rates.base import RateReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.optim import Optimizer

    from diffopt_widgets.rates.base import Rate, Rates
    from diffopt_widgets.records import Grouped


def applied_lr(optimizer: Optimizer) -> list[float]:
    """What the next step of `optimizer` will apply: one learning rate per parameter group.

    Where a step scales each tensor by itself (Adafactor with `scale_parameter`) it is the mean over the group's weights,
    and acts on the update after clipping; where it also depends on the update that is still to come (LAMB, LARS) it is
    the most that can be applied. Some average the rates of past steps along with the gradients (DAdaptAdam, DAdaptAdan,
    DAdaptSGD with momentum, Adafactor with beta1): this is the rate that the coming gradient enters with, while
    `RateMeter`, kept from the first step on, gives the average.
    Where nothing can be known yet (DAdaptSGD before its first step) it is NaN. Reading it may wait for the device.

    >>> import torch
    >>> parameter = torch.nn.Parameter(torch.ones(3))
    >>> applied_lr(torch.optim.SGD([parameter], lr=0.1))
    [0.1]
    """
    return [float(rate) for rate in RateMeter(optimizer).before()]


class RateMeter:
    """Reads one optimizer's applied rate around its steps: `before()`, then `optimizer.step()`, then `after()`.

    With a fused back pass the weights move in backward, so `before()` comes before that.
    The values are numbers, or tensors of one element that are still on the device.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._reader = _reader_of(optimizer)
        self.plain = type(self._reader) is RateReader
        """Whether what it reads are the rates of the parameter groups as they stand, and nothing else."""

    def regroup(self) -> None:
        """Read the groups anew that the optimizer has now."""
        old, self._reader = self._reader, _reader_of(self._optimizer)
        self._reader.take_over(old)

    def before(self) -> Rates:
        """Read the rate that the coming step's gradient enters with, one value per parameter group."""
        return self._reader.before()

    def after(self) -> Rates:
        """The rate that the step just taken applied, one value per parameter group."""
        return self._reader.after()

    @property
    def d(self) -> float | tuple[float, ...] | None:
        """The estimate that the step was made with; None for optimizers that estimate nothing.

        One per parameter group where each has its own.
        """
        return self._reader.d

    def d_hat(self) -> Grouped | None:
        """The raw estimate that the step came to, before it was bounded."""
        return self._reader.d_hat()

    def averages(self) -> list[tuple[Rate, float]]:
        """What is remembered of the rates of past steps, to be kept in a checkpoint."""
        return [(average.sum, average.weight) for average in self._reader.averages()]

    def take_averages(self, kept: Sequence[tuple[Rate, float]]) -> None:
        """Go on from what `averages` gave.

        Raises:
            ValueError: it is of another kind of optimizer.
        """
        for average, (total, weight) in zip(self._reader.averages(), kept, strict=True):
            average.sum, average.weight = total, weight


GROUP = "base:RateReader"
"""The reader of a class that nobody knows."""
UNCATALOGUED = {("transformers", "Adafactor"): "per_tensor:TransformersAdafactor"}
"""Readers of optimizers that the catalogue has from another package, by package and class."""


def load_reader(name: str) -> type[RateReader]:
    """The class that `OptimizerSpec.rate` names: a module of `rates/` and a class in it, `"first_steps:Rectified"`.

    >>> load_reader("base:RateReader").__name__
    'RateReader'
    """
    module, _, cls = name.partition(":")
    reader: type[RateReader] = getattr(importlib.import_module(f"{__package__}.{module}"), cls)
    return reader


def rate_kind(optimizer: Optimizer) -> str:
    """The name of the reader that knows this optimizer: the catalogue's by its class, or the plain one for other classes."""
    cls = type(optimizer)
    for key in list_optimizers():
        module, _, name = spec(key).target.partition(":")
        if name == cls.__name__ and module.split(".")[0] == cls.__module__.split(".")[0]:
            return spec(key).rate
    return UNCATALOGUED.get((cls.__module__.split(".")[0], cls.__name__), GROUP)


def _reader_of(optimizer: Optimizer) -> RateReader:
    return load_reader(rate_kind(optimizer))(optimizer)
