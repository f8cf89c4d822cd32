"""What a step does to gradients and weights, measured on the device: nothing here waits for it.

All tensors are gone over at once (torch's foreach operations), so that a measure is a handful of launches on a GPU. What a
step changed can only be seen beside a copy of the weights: that takes memory as large as they are, while the step lasts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

    from diffopt_widgets.optimizers.adapters import Adapter

MEASURES = {
    "grad_norm": "Euclidean norm of the whole gradient, as the step got it: unscaled and after clipping",
    "weight_norm": "Euclidean norm of all weights after the step",
    "update_rms": "root mean square of what the step added to the weights, per group",
    "update_ratio": "norm of what the step added over the norm of the weights before it, per group",
    "bf16_lost": "of the bfloat16 weights with a gradient, the share that the step left as they were, to the bit",
}
"""What can be measured, with what it is."""
_NEED_COPY = {"update_rms", "update_ratio", "bf16_lost"}

Measured: TypeAlias = "dict[str, torch.Tensor | tuple[torch.Tensor, ...]]"


def check_measures(wanted: str | Iterable[str]) -> tuple[str, ...]:
    """The measures asked for, each once, in their own order.

    Raises:
        ValueError: there is no such measure.

    >>> check_measures("grad_norm"), check_measures(["weight_norm", "grad_norm"])
    (('grad_norm',), ('grad_norm', 'weight_norm'))
    """
    asked = {wanted} if isinstance(wanted, str) else set(wanted)
    if unknown := asked - MEASURES.keys():
        raise ValueError(
            f"there is no measure {', '.join(sorted(map(repr, unknown)))}; there are {', '.join(MEASURES)}"
        )
    return tuple(name for name in MEASURES if name in asked)


class Measures:
    """Measures steps of one optimizer: `before()`, `gradients()` once they are there, and `after()`.

    Args:
        optimizer: its parameters that are trained at the time of a step; what a fused back pass frees, those trained now.
        wanted: names of `MEASURES`.
        adapter: of a fused back pass, which frees gradients before `step` is called.

    Raises:
        ValueError: a measure needs gradients that a fused back pass frees, or each process has only a part of the weights.
    """

    def __init__(self, optimizer: Optimizer, wanted: tuple[str, ...], adapter: Adapter | None = None) -> None:
        fused = adapter is not None and adapter.fused
        if fused and "bf16_lost" in wanted:
            raise ValueError(
                "bf16_lost needs the gradients after the step, and fused_back_pass frees them: leave it out"
            )
        self._optimizer = optimizer
        self._wanted = frozenset(wanted)
        self._groups = self._trained()
        """The parameters of the step in progress, by group and kind."""
        if any(hasattr(p, "full_tensor") for group in self._groups for part in group for p in part):
            raise ValueError(
                f"{', '.join(wanted)} would need all processes, each of which has only a part of these weights (DTensor): "
                "leave measure out"
            )
        self._before: list[list[list[torch.Tensor]]] = []
        """Copies of the weights, as the groups have them."""
        self._found: Measured = {}
        self._norms: dict[torch.Tensor, torch.Tensor] = {}
        """Norms of gradients that a fused back pass has freed since."""
        self._handles: list[RemovableHandle] = []
        if fused and "grad_norm" in self._wanted:
            self._handles = [
                p.register_hook(functools.partial(self._note, p))  # type: ignore[no-untyped-call]  # torch's omission
                for group in self._groups
                for part in group
                for p in part
            ]

    def close(self) -> None:
        """Leave nothing on the parameters."""
        for handle in self._handles:
            handle.remove()
        self._before, self._norms = [], {}

    def _note(self, p: torch.Tensor, gradient: torch.Tensor) -> None:
        self._norms[p] = torch.linalg.vector_norm(gradient.detach(), dtype=exact(gradient))

    @torch.no_grad()
    def before(self) -> None:
        """See what there is to measure, and keep a copy of the weights as far as that is needed."""
        self._found, self._groups = {}, self._trained()
        if self._wanted & _NEED_COPY:
            # A product with 1 changes no bit, and copies all tensors at once.
            self._before = [[list(torch._foreach_mul(part, 1.0)) for part in group] for group in self._groups]

    @torch.no_grad()
    def gradients(self) -> None:
        """Look at the gradients that the step got, the first time where it has them computed several times."""
        if "grad_norm" not in self._wanted or self._handles or "grad_norm" in self._found:
            return
        found = [[p.grad for p in part if p.grad is not None] for group in self._groups for part in group]
        if any(gradient.is_sparse for part in found for gradient in part):
            raise TypeError("grad_norm is not measured of sparse gradients")
        norm = _norm(found)
        if (scale := getattr(self._optimizer, "grad_scale", None)) is not None:
            norm = norm / scale  # GradScaler leaves it to a fused step to undo it
        self._found["grad_norm"] = norm

    @torch.no_grad()
    def after(self) -> Measured:
        """Look at what the step has done."""
        found, wanted = self._found, self._wanted
        before, self._before = self._before, []
        if self._handles:
            found["grad_norm"] = _whole(list(self._norms.values()))
            self._norms = {}
        if "weight_norm" in wanted:
            found["weight_norm"] = _norm([part for group in self._groups for part in group])
        if "bf16_lost" in wanted:
            found["bf16_lost"] = self._lost(before)
        weights = [_norm(copies) for copies in before] if "update_ratio" in wanted else []
        if not {"update_rms", "update_ratio"} & wanted:
            return found
        for group, copies in zip(self._groups, before, strict=True):
            for part, copy in zip(group, copies, strict=True):
                torch._foreach_sub_(copy, part)  # the copies are used up
        moved = [_norm(copies) for copies in before]
        if "update_rms" in wanted:
            counts = [max(1, sum(p.numel() for part in group for p in part)) for group in self._groups]
            found["update_rms"] = tuple(norm / n**0.5 for norm, n in zip(moved, counts, strict=True))
        if "update_ratio" in wanted:
            found["update_ratio"] = tuple(norm / weight for norm, weight in zip(moved, weights, strict=True))
        return found

    def _trained(self) -> list[list[list[torch.Tensor]]]:
        return [_alike(group["params"]) for group in self._optimizer.param_groups]

    def _lost(self, before: list[list[list[torch.Tensor]]]) -> torch.Tensor:
        lost, count = [], []
        for group, copies in zip(self._groups, before, strict=True):
            for part, copied in zip(group, copies, strict=True):
                if part[0].dtype is not torch.bfloat16:
                    continue
                for p, copy in zip(part, copied, strict=True):
                    if p.grad is not None:
                        meant = p.grad != 0
                        count.append(meant.sum())
                        lost.append((meant & (p == copy)).sum())
        return _gathered(lost).sum() / _gathered(count).sum() if lost else torch.tensor(math.nan)


def _alike(params: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Those to be trained, in parts of one device and precision: the quick foreach operations take one kind at a time."""
    parts: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
    for p in params:
        if p.requires_grad and not p.is_meta:  # what was put off to a disk has no values here
            parts.setdefault((p.device, p.dtype), []).append(p)
    return list(parts.values())


def exact(tensor: torch.Tensor) -> torch.dtype | None:
    """What to add up in: a sum of squares in half precision would be a rough one."""
    return torch.float32 if tensor.dtype in {torch.bfloat16, torch.float16} else None


def _norm(parts: list[list[torch.Tensor]]) -> torch.Tensor:
    """The Euclidean norm of all tensors together."""
    return _whole([norm for part in parts if part for norm in torch._foreach_norm(part, 2, exact(part[0]))])


def _whole(norms: list[torch.Tensor]) -> torch.Tensor:
    """The norm of a whole from those of its parts."""
    if not norms:
        return torch.tensor(math.nan)
    norm: torch.Tensor = torch.linalg.vector_norm(_gathered(norms))
    return norm


def _gathered(parts: list[torch.Tensor]) -> torch.Tensor:
    """Tensors of one element as a vector: in the first one's precision, and not on the host if one is elsewhere.

    A copy to the host that is not waited for may be read before it is there.
    """
    first = next((part for part in parts if not part.is_cpu), parts[0])
    return torch.stack([part.to(first.device, parts[0].dtype, non_blocking=True) for part in parts])
