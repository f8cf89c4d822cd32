"""GradScalers that may have scaled a gradient, for steps that are taken inside backward.

A GradScaler multiplies the loss, and undoes that in its own `step`, after backward. A step inside backward would move the weights by
gradients that are thousands of times too large. Nothing in a backward tells that its loss was scaled. So the GradScalers of
the process are looked up, and a backward is not trusted before one step has shown whether they belong to its optimizer.
"""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

SHARE = 100
"""A search is repeated after this many times as long as it took: a GradScaler may have been made meanwhile."""


class GradScalers:
    """GradScalers that may scale the gradients of one optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = weakref.ref(optimizer)
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._others: weakref.WeakSet[Any] = weakref.WeakSet()
        """Those that have been in use while the optimizer stepped without them."""
        self._due = 0.0

    def may_scale(self) -> bool:
        """Return whether the gradients of the backward in progress may be scaled."""
        began = time.monotonic()
        if began >= self._due:
            self._known.update(_alive())
            self._due = time.monotonic() + SHARE * (time.monotonic() - began)
        return any(scaler not in self._others for scaler in self._in_use())

    def check(self) -> None:
        """Look at the scalers when the optimizer's own step is called, before a weight moves.

        Raises:
            RuntimeError: one of them calls it.
        """
        for scaler in self._in_use():
            if id(self._optimizer()) in scaler._per_optimizer_states:  # noqa: SLF001  # torch has no public way to see it
                raise RuntimeError(
                    "fused_back_pass cannot train with a GradScaler: it steps inside backward, where the gradients are still "
                    "scaled and it is not known whether all are finite. No weight has moved. To fix it: turn fused_back_pass off, or "
                    "train without a GradScaler, in bfloat16"
                )
            self._others.add(scaler)

    def _in_use(self) -> list[Any]:
        return [scaler for scaler in self._known if scaler.is_enabled() and scaler._scale is not None]  # noqa: SLF001  # as above


def _alive() -> Iterator[Any]:
    """Yield all GradScalers of the process."""
    classes = list(_subclasses(torch.amp.GradScaler))
    for referrer in gc.get_referrers(*classes):
        if type(referrer) in classes:
            yield referrer


def _subclasses(cls: type) -> Iterator[type]:
    yield cls
    derived: type
    for derived in cls.__subclasses__():
        yield from _subclasses(derived)
