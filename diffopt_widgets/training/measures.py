"""Measures of gradients, weights and updates, computed on the device without waiting for it.

Each measure handles all tensors at once (torch's foreach operations), so it is a handful of launches on a GPU. The change
by a step needs a copy of the weights: that takes as much memory as they do, while the step lasts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import torch

from diffopt_widgets.catalogue.values import safe_repr

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

from diffopt_widgets.optimizers.adapters import Adapter

MEASURES = {
    "grad_norm": "Euclidean norm of the whole gradient, as the step got it: unscaled and after clipping",
    "weight_norm": "Euclidean norm of all weights after the step",
    "update_rms": "root mean square of what the step added to the weights, per group",
    "update_ratio": "norm of what the step added over the norm of the weights before it, per group",
    "bf16_lost": "of the bfloat16 weights with a gradient, the share that the step left as they were, to the bit, per group",
}
"""Measures by name, each with its description."""
_NEED_COPY = {"update_rms", "update_ratio", "bf16_lost"}

Measured: TypeAlias = "dict[str, torch.Tensor | tuple[torch.Tensor, ...]]"


def check_measures(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return these measures, each once, in the order of `MEASURES`.

    Raises:
        ValueError: there is no such measure.

    >>> check_measures("grad_norm"), check_measures(["weight_norm", "grad_norm"])
    (('grad_norm',), ('grad_norm', 'weight_norm'))
    """
    listed = [names] if isinstance(names, str | type) or not isinstance(names, Iterable) else [*names]
    if unknown := [name for name in listed if not isinstance(name, str) or name not in MEASURES]:
        shown = ", ".join(sorted(map(safe_repr, unknown)))[:200]
        raise ValueError(f"there is no measure {shown}; there are {', '.join(MEASURES)}")
    return tuple(name for name in MEASURES if name in listed)


class Measures:
    """Measures of an optimizer's steps: call `before()`, `gradients()` once they are computed, and `after()`.

    Args:
        optimizer: the optimizer, whose parameters may change between steps, except with a fused back pass.
        names: names of `MEASURES`.
        adapter: the adapter of a fused back pass, which frees gradients before `step` is called.

    Raises:
        ValueError: a measure needs gradients that a fused back pass frees, or each process has only a part of the weights.
    """

    def __init__(self, optimizer: Optimizer, names: tuple[str, ...], adapter: Adapter | None = None) -> None:
        fused = adapter is not None and adapter.fused
        if fused and "bf16_lost" in names:
            raise ValueError(
                "bf16_lost needs the gradients after the step, and fused_back_pass frees them: leave it out"
            )
        self._optimizer = optimizer
        self._names = frozenset(names)
        self._groups = self._trained()
        """Parameters of the step in progress, by group and kind."""
        if any(hasattr(p, "full_tensor") for group in self._groups for part in group for p in part):
            raise ValueError(
                f"{', '.join(names)} would need all processes, each of which has only a part of these weights (DTensor): "
                "leave measure out"
            )
        self._before: list[list[list[torch.Tensor]]] = []
        """Copies of the weights, arranged like the groups."""
        self._measured: Measured = {}
        self._norms: dict[torch.Tensor, torch.Tensor] = {}
        """Norms of gradients that a fused back pass has freed."""
        self._handles: list[RemovableHandle] = []
        if fused and "grad_norm" in self._names:
            self._handles = [
                p.register_hook(functools.partial(self._note, p))  # type: ignore[no-untyped-call]  # torch's omission
                for group in self._groups
                for part in group
                for p in part
            ]

    def close(self) -> None:
        """Remove all hooks from the parameters."""
        for handle in self._handles:
            handle.remove()
        self._before, self._norms = [], {}

    def _note(self, p: torch.Tensor, gradient: torch.Tensor) -> None:
        self._norms[p] = torch.linalg.vector_norm(gradient.detach(), dtype=exact(gradient))

    @torch.no_grad()
    def before(self) -> None:
        """Prepare for a step: list the trained parameters, and copy the weights if a measure needs that."""
        self._measured, self._groups = {}, self._trained()
        if self._names & _NEED_COPY:
            # Multiplication by 1 changes no bit, and copies all tensors at once.
            self._before = [[list(torch._foreach_mul(part, 1.0)) for part in group] for group in self._groups]

    @torch.no_grad()
    def gradients(self) -> None:
        """Measure the gradients of the step; if it computes them several times, the first ones."""
        if "grad_norm" not in self._names or self._handles or "grad_norm" in self._measured:
            return
        gradients = [[p.grad for p in part if p.grad is not None] for group in self._groups for part in group]
        if any(gradient.is_sparse for part in gradients for gradient in part):
            raise TypeError("grad_norm is not measured of sparse gradients")
        norm = _norm(gradients)
        if (scale := getattr(self._optimizer, "grad_scale", None)) is not None:
            norm = norm / scale  # GradScaler lets a fused step undo the scaling
        self._measured["grad_norm"] = norm

    @torch.no_grad()
    def after(self) -> Measured:
        """Measure the effect of the step."""
        measured, names = self._measured, self._names
        before, self._before = self._before, []
        if self._handles:
            measured["grad_norm"] = _total_norm(list(self._norms.values()))
            self._norms = {}
        if "weight_norm" in names:
            measured["weight_norm"] = _norm([part for group in self._groups for part in group])
        if "bf16_lost" in names and (lost := self._lost(before)) is not None:
            measured["bf16_lost"] = lost
        weights = [_norm(copies) for copies in before] if "update_ratio" in names else []
        if not {"update_rms", "update_ratio"} & names:
            return measured
        for group, copies in zip(self._groups, before, strict=True):
            for part, copy in zip(group, copies, strict=True):
                torch._foreach_sub_(copy, part)  # each copy becomes the update, with the other sign
        updates = [_norm(copies) for copies in before]
        if "update_rms" in names:
            counts = [max(1, sum(p.numel() for part in group for p in part)) for group in self._groups]
            measured["update_rms"] = tuple(norm / n**0.5 for norm, n in zip(updates, counts, strict=True))
        if "update_ratio" in names:
            measured["update_ratio"] = tuple(norm / weight for norm, weight in zip(updates, weights, strict=True))
        return measured

    def _trained(self) -> list[list[list[torch.Tensor]]]:
        return [_by_kind(group["params"]) for group in self._optimizer.param_groups]

    def _lost(self, before: list[list[list[torch.Tensor]]]) -> tuple[torch.Tensor, ...] | None:
        """Return the share by group, NaN for a group without such weights; None if no group has any."""
        of_groups, has_any = [], False
        for group, copies in zip(self._groups, before, strict=True):
            lost, count = [], []
            for part, copied in zip(group, copies, strict=True):
                if part[0].dtype is not torch.bfloat16:
                    continue
                has_any = True
                for p, copy in zip(part, copied, strict=True):
                    if p.grad is not None:
                        meant = p.grad != 0
                        count.append(meant.sum())
                        lost.append((meant & (p == copy)).sum())
            of_groups.append(_gather(lost).sum() / _gather(count).sum() if lost else torch.tensor(math.nan))
        return tuple(of_groups) if has_any else None


def _by_kind(params: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Group the trained parameters by device and precision: fast foreach operations take one kind at a time."""
    parts: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
    for p in params:
        if p.requires_grad and not p.is_meta:  # a parameter offloaded to a disk has no values here
            parts.setdefault((p.device, p.dtype), []).append(p)
    return list(parts.values())


def exact(tensor: torch.Tensor) -> torch.dtype | None:
    """Return the precision for sums: a sum of squares in half precision would be inexact."""
    return torch.float32 if tensor.dtype in {torch.bfloat16, torch.float16} else None


def _norm(parts: list[list[torch.Tensor]]) -> torch.Tensor:
    """Return the Euclidean norm of all tensors together."""
    return _total_norm([norm for part in parts if part for norm in torch._foreach_norm(part, 2, exact(part[0]))])


def _total_norm(norms: list[torch.Tensor]) -> torch.Tensor:
    """Return the norm of a whole, given those of its parts."""
    if not norms:
        return torch.tensor(math.nan)
    norm: torch.Tensor = torch.linalg.vector_norm(_gather(norms))
    return norm


def _gather(parts: list[torch.Tensor]) -> torch.Tensor:
    """Stack tensors of one element in the first one's precision, and not on the CPU if one is elsewhere.

    An asynchronous copy to the CPU could be read before it is complete.
    """
    first = next((part for part in parts if not part.is_cpu), parts[0])
    return torch.stack([part.to(first.device, parts[0].dtype, non_blocking=True) for part in parts])
