"""GradScalers that may have scaled a gradient, for steps that are taken inside backward.

A GradScaler multiplies the loss, and undoes that in its own `step`, after backward. A step inside backward would move the weights by
gradients that are thousands of times too large. Nothing in a backward tells that its loss was scaled. So `scale` notes its
scaler, and so does each backward through what it returned, until the scaler's `update` ends its step.

For that, `scale` and `update` of `torch.amp.GradScaler` and its subclasses are wrapped when the first optimizer with a fused
back pass is built. Importing this package changes nothing of torch.
"""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

_lock = threading.RLock()
_numbers = count(1)
_noted: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
"""Scalers, with a number that grows at each use of a scaled loss; 0 after `update`."""
_watched: set[type] = set()
"""Classes whose methods note their scaler."""


class GradScalers:
    """GradScalers that may scale the gradients of one optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = weakref.ref(optimizer)
        with _lock:
            self._seen = next(_numbers)
            """Number of the time when the optimizer was built, or of its last step."""
            _watch()

    def may_scale(self) -> bool:
        """Return whether the gradients of the backward in progress may be scaled."""
        with _lock:
            _watch()
            return any(number > self._seen for number in _noted.values())

    def check(self) -> None:
        """Look at the scalers when the optimizer's own step is called, before a weight moves.

        Raises:
            RuntimeError: one of them calls it.
        """
        with _lock:
            scalers = list(_noted)
        for scaler in scalers:
            if id(self._optimizer()) in scaler._per_optimizer_states:  # noqa: SLF001  # torch has no public way to see it
                raise RuntimeError(
                    "fused_back_pass cannot train with a GradScaler: it steps inside backward, where the gradients are still "
                    "scaled and it is not known whether all are finite. No weight has moved. To fix it: turn fused_back_pass off, or "
                    "train without a GradScaler, in bfloat16"
                )
        with _lock:
            self._seen = next(_numbers)


def _note(scaler: Any, *_: object) -> None:
    with _lock:
        _noted[scaler] = next(_numbers)


def _watch() -> None:
    """Wrap the methods of classes that are new, and look at their scalers, which may have scaled a loss before."""
    new = [cls for cls in _classes(torch.amp.GradScaler) if cls not in _watched]
    for cls in new:
        _watched.add(cls)
        for name, wrapped in (("scale", _noting), ("update", _ending)):
            if name in vars(cls):
                setattr(cls, name, wrapped(vars(cls)[name]))
    scalers = gc.get_referrers(*new) if new else []  # searches the memory of the process, so only where a class is new
    for scaler in scalers:
        if type(scaler) not in new or not scaler.is_enabled():
            continue
        if scaler._scale is not None:  # noqa: SLF001  # torch has no public way to see it
            _note(scaler)
        if "scale" in vars(scaler):
            scaler.scale = _noting_by_itself(scaler.scale, weakref.ref(scaler))


def _classes(cls: type) -> Iterator[type]:
    yield cls
    derived: type
    for derived in cls.__subclasses__():
        yield from _classes(derived)


def _noting(scale: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `scale` that notes its scaler when it is called, and in each backward through what it returns."""

    @functools.wraps(scale)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        scaled = scale(self, *args, **kwargs)
        if self.is_enabled():
            _note_with_backward(self, scaled)
        return scaled

    return noted


def _noting_by_itself(scale: Callable[..., Any], scaler_of: Callable[[], Any]) -> Callable[..., Any]:
    """Do the same for a `scale` that belongs to one scaler."""

    @functools.wraps(scale)
    def noted(*args: Any, **kwargs: Any) -> Any:
        scaled = scale(*args, **kwargs)
        if (scaler := scaler_of()) is not None:
            _note_with_backward(scaler, scaled)
        return scaled

    return noted


def _note_with_backward(scaler: Any, scaled: Any) -> None:
    _note(scaler)
    parts = [scaled]
    while parts:
        part = parts.pop()
        if isinstance(part, torch.Tensor):
            if part.requires_grad:
                part.register_hook(partial(_note, scaler))  # type: ignore[no-untyped-call]  # torch's own omission
        elif isinstance(part, list | tuple):
            parts += part


def _ending(update: Callable[..., Any]) -> Callable[..., Any]:
    """Return an `update` after which the scaler's losses count as used up."""

    @functools.wraps(update)
    def ended(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = update(self, *args, **kwargs)
        if self.is_enabled():
            with _lock:
                _noted[self] = 0
        return result

    return ended
