"""Learning rate that a step really applies, read at the right moment and without waiting for the device.

Most optimizers apply the rate of their parameter group. Those that estimate it (Prodigy, D-Adaptation) multiply it by an
estimate `d`. `step()` changes this estimate, so it is read before the step. Others (LAMB, LARS, Adafactor) scale the rate
for each tensor; the value here is then the mean over the group's weights. Some make the rate part of their momentum. A step
then applies the average of the rates so far, with the weights that the momentum gives to the gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffopt_widgets.rates.base import RateReader
from diffopt_widgets.rates.choice import reader_of
from diffopt_widgets.rates.unknown import NotKnown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffopt_widgets.rates.base import Rate, Rates
    from diffopt_widgets.records import Grouped


def applied_lr(optimizer: object) -> list[float]:
    """Return the learning rate that the next step of `optimizer` will apply, one per parameter group.

    If a step scales each tensor separately (Adafactor with `scale_parameter`), the value is the mean over the group's
    weights, and it multiplies the clipped update. If the rate also depends on the coming update (LAMB, LARS), the value is
    the largest that can be applied. Some optimizers average the rates of past steps along with the gradients (DAdaptAdam,
    DAdaptAdan, DAdaptSGD with momentum, Adafactor with beta1): the value is then the rate of the coming gradient, and only
    a `RateMeter` that has been in use since the first step gives the average.
    If the rate cannot be known yet (DAdaptSGD before its first step), the value is NaN. Reading it may wait for the device.
    A wrapper (of accelerate or lightning) is looked through. A subclass is read like its base, unless it has a `step` of its
    own that does not call its base's. If it is not known what a class applies, the value is NaN; `docs/applied-rates.md` lists
    the classes that are known. `optimizer.param_groups` has the groups' own rates.

    Raises:
        TypeError: the object is no optimizer and holds none, or it holds several.

    >>> import torch
    >>> parameter = torch.nn.Parameter(torch.ones(3))
    >>> applied_lr(torch.optim.SGD([parameter], lr=0.1))
    [0.1]
    """
    return [float(rate) for rate in RateMeter(optimizer).before()]


class RateMeter:
    """Meter of one optimizer's applied rate. Call `before()`, then `optimizer.step()`, then `after()`.

    With a fused back pass the weights move in backward, so call `before()` before that.
    The values are numbers, or tensors of one element that are still on the device.
    """

    def __init__(self, optimizer: object) -> None:
        self._optimizer = optimizer
        self._reader = reader_of(optimizer)
        self.plain = type(self._reader) is RateReader
        """True when the applied rates are simply those of the parameter groups, as this class is known to apply them."""
        self.known = not isinstance(self._reader, NotKnown)
        """False when it is not known what this class applies: its rates are NaN then."""

    def regroup(self) -> None:
        """Read the parameter groups of the optimizer again, after some were added or removed."""
        old, self._reader = self._reader, reader_of(self._optimizer)
        self._reader.take_over(old)

    def before(self) -> Rates:
        """Read the rate of the coming step's gradient, one value per parameter group."""
        return self._reader.before()

    def after(self) -> Rates:
        """Return the rate that the step just taken applied, one value per parameter group."""
        return self._reader.after()

    @property
    def d(self) -> float | tuple[float, ...] | None:
        """Estimate that the step used; None for optimizers that do not estimate their rate.

        There is one per parameter group where each has its own.
        """
        return self._reader.d

    def d_hat(self) -> Grouped | None:
        """Return the raw estimate of the step, before its limits."""
        return self._reader.d_hat()

    def averages(self) -> list[tuple[Rate, float]]:
        """Return the averages over the rates of past steps, for a checkpoint."""
        return [(average.sum, average.weight) for average in self._reader.averages()]

    def take_averages(self, saved: Sequence[tuple[Rate, float]]) -> None:
        """Restore what `averages` returned.

        Raises:
            ValueError: it comes from another kind of optimizer.
        """
        for average, (total, weight) in zip(self._reader.averages(), saved, strict=True):
            average.sum, average.weight = total, weight
