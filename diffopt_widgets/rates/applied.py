"""Learning rate that a step really applies, read at the right moment and without waiting for the device.

Most optimizers apply the rate of their parameter group. Those that estimate it (Prodigy, D-Adaptation) multiply it by an
estimate `d`. `step()` changes this estimate, so it is read before the step. Others (LAMB, LARS, Adafactor) scale the rate
for each tensor; the value here is then the mean over the group's weights. Some make the rate part of their momentum. A step
then applies the average of the rates so far, with the weights that the momentum gives to the gradients.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from diffopt_widgets.rates.base import RateReader
from diffopt_widgets.rates.choice import reader_of
from diffopt_widgets.rates.overrides import overridden_groups
from diffopt_widgets.rates.unknown import NotKnown
from diffopt_widgets.rates.unwrap import path_to_optimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffopt_widgets.rates.base import LastStep, Rates
    from diffopt_widgets.records import Grouped


_log = logging.getLogger(__name__)


def applied_lr(optimizer: object) -> list[float]:
    """Return the learning rate that the next step of `optimizer` will apply, one per parameter group.

    If a step scales each tensor separately (Adafactor with `scale_parameter`), the value is the mean over the group's
    weights, and it multiplies the clipped update. If the rate also depends on the coming update, it is not known before the
    step; only for bitsandbytes' LAMB and LARS the value is the largest that can be applied. Some optimizers average the rates of
    past steps along with the gradients (DAdaptAdam, DAdaptAdan, DAdaptSGD with momentum, Adafactor with beta1): the value is
    then the rate of the coming gradient, and only a `RateMeter` that has been in use since the first step gives the average.
    If the rate cannot be known (DAdaptSGD before its first step, a class whose groups cannot be read), the value is NaN. Reading
    it may wait for the device.
    A wrapper (of accelerate or lightning) is looked through. A subclass is read like its base, and any other wrapper like the
    optimizer inside. If one has a `step` of its own, this is so only where that is seen to call the other's `step` once and to
    change nothing else: no gradients, weights or rates, and no other method of its own. If it is not known what is applied, the
    value is NaN; `docs/applied-rates.md` lists the classes that are known. `optimizer.param_groups` has the groups' own rates.

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

    With a fused back pass the weights move in backward, so call `before()` before that. `fused` says that there is one: then
    no gradient tells which tensors a step moves.
    The values are numbers, or tensors of one element that are still on the device.
    """

    def __init__(self, optimizer: object, *, fused: bool = False) -> None:
        self._reader = RateReader(path_to_optimizer(optimizer)[-1])
        self.trouble: str | None = None
        """Text of the error of the last reading: the rates are NaN then. A reader never raises into the loop that it reads.

        The error itself is not kept: its traceback holds the frames of the loop, with all their tensors.
        """
        self._readable = True
        try:
            self._reader = reader_of(optimizer)
        except Exception as error:  # noqa: BLE001  # whatever a back end holds
            self.trouble, self._readable = _text_of(error), False
        self._reader.fused = fused
        self._stepping = self._reader
        while isinstance(inside := getattr(self._stepping, "inner", None), RateReader):
            self._stepping = inside
        self.known = not isinstance(self._reader, NotKnown)
        """False when it is not known what this class applies: its rates are NaN then."""

    @property
    def plain(self) -> bool:
        """True when the applied rates are simply those of the parameter groups, as this class is known to apply them."""
        return self._readable and type(self._reader) is RateReader and not overridden_groups(self._reader.optimizer)

    def before(self) -> Rates:
        """Read the rate of the coming step's gradient, one value per parameter group."""
        if self._readable:
            self.trouble = None
        return self._read(self._reader.before)

    def after(self) -> Rates:
        """Return the rate that the step just taken applied, one value per parameter group."""
        return self._read(self._reader.after)

    def _read(self, reading: Callable[[], Rates]) -> Rates:
        """Return the rates, or NaN for each group if they cannot be read, which holds for the rest of the step."""
        if self.trouble is None:
            try:
                return self._without_overridden(reading())
            except Exception as error:  # noqa: BLE001  # as above
                self.trouble = _text_of(error)
        return (math.nan,) * len(self._reader.groups)

    def _without_overridden(self, rates: Rates) -> Rates:
        overridden = overridden_groups(self._stepping.optimizer)
        if not overridden:
            return rates
        return tuple([math.nan if index in overridden else rate for index, rate in enumerate(rates)])

    @property
    def d(self) -> float | tuple[float, ...] | None:
        """Estimate that the step used; None for optimizers that do not estimate their rate.

        There is one per parameter group where each has its own.
        """
        return self._reader.d if self.trouble is None else None

    def d_hat(self) -> Grouped | None:
        """Return the raw estimate of the step, before its limits."""
        if self.trouble is not None:
            return None
        try:
            return self._reader.d_hat()
        except Exception as error:  # noqa: BLE001  # as above
            self.trouble = _text_of(error)
            return None

    @property
    def averages(self) -> bool:
        """True when a step applies an average over the rates of past steps."""
        return self._reader.averages is not None

    def recall(self, records: Sequence[LastStep]) -> None:
        """Continue the average up to the step before, whose record is one of these, in a training that is resumed.

        It is looked at in the next step, when the state has been loaded. If none fits, or several that differ, the average is not
        known at first.
        """
        self._reader.recall(records)

    @property
    def momentum(self) -> float | None:
        """Size of the momentum that holds the rates of past steps, which tells one training from another; None if there is none.

        Reading it waits for the device.
        """
        averages = self._reader.averages
        return None if averages is None else averages.size(self._reader.groups)

    def saved(self) -> list[Any]:
        """Return the averages over the rates of past steps, for a checkpoint."""
        return [] if self._reader.averages is None else self._reader.averages.saved()

    def restore(self, saved: Sequence[Any]) -> None:
        """Restore what `saved` returned.

        Raises:
            ValueError: it comes from another kind of optimizer.
        """
        if self._reader.averages is not None:
            self._reader.averages.restore(saved, self._reader.groups)
        elif saved:
            raise ValueError("it has averages of past rates, and this optimizer has none")


def _text_of(error: Exception) -> str:
    """Log an error with its traceback, and return its text."""
    _log.debug("an optimizer cannot be read", exc_info=error)
    return f"{type(error).__name__}: {error}"
