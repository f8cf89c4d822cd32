"""Readers for optimizers that give each tensor a rate of its own: Adafactor, LAMB, LARS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from diffopt_widgets.rates.base import Averages, Group, Mean, Rate, RateReader, Rates, Values, number, on_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.optim import Optimizer

    from diffopt_widgets.rates.base import LastStep


class _PerTensor(RateReader):
    """Reader for a rate per tensor; the value is the mean over the group's weights."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._means: dict[int, Mean] = {}

    def _mean(self, per_tensor: Values, index: int, counts: list[int]) -> Rate:
        return self._means.setdefault(index, Mean())(per_tensor, counts)


class Adafactor(_PerTensor):
    """Reader of the group's rate or the relative step, times the RMS of each tensor with `scale_parameter`.

    This is the paper's step size alpha (Shazeer & Stern 2018, algorithm 4), which multiplies the clipped update; with
    beta1 these products are averaged, and so are the rates. In a group without weights nothing is scaled or averaged.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self.averages: Averages = Averages(self._memory, self._holds, lambda group: self._beta1(group) or 0.0)
        self._per_tensor: list[Rate] = []
        """Rates of the coming gradient by group: one for all tensors, or one each."""
        self._roots: dict[int, tuple[list[int], torch.Tensor]] = {}
        """Square roots of the tensors' sizes, with the sizes."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        if any(self._beta1(group) is not None for group in self.groups):
            self.averages.look(self.groups)
        self._per_tensor = [self._rate(index, group) for index, group in enumerate(self.groups)]
        self.rates = tuple(self._of_group(*indexed) for indexed in enumerate(self._per_tensor))
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        betas = [self._beta1(group) for group in self.groups]
        if all(beta1 is None for beta1 in betas):
            return self.rates
        rates = list(self.rates)
        for index, (group, beta1) in enumerate(zip(self.groups, betas, strict=True)):
            if beta1 is not None and any(self.counts(group)):
                self.averages.put(index, self._per_tensor[index], beta1, self.moved(group))
                rates[index] = self._mean(self.averages.of(index), index, self.counts(group))
        self.averages.mark(self.groups)
        return tuple(rates)

    def recall(self, records: Sequence[LastStep]) -> None:
        """Take the averages from the record whose step left this momentum."""
        self.averages.recall(records, lambda record: record.left(self.averages.size(self.groups)))

    def _of_group(self, index: int, rate: Rate) -> Rate:
        """Return a rate per tensor as the mean over the group's weights."""
        return self._mean(rate, index, self.counts(self.groups[index])) if isinstance(rate, torch.Tensor) else rate

    def _rate(self, index: int, group: Group) -> Rate:
        params, steps = group["params"], self._steps(group)
        if not any(self.counts(group)):
            return self._alpha(group, steps[0] if steps else 1)
        base: Rate
        if len(set(steps)) == 1:
            base = self._alpha(group, steps[0])
        else:
            base = on_device(np.array([self._alpha(group, step) for step in steps]), params[0].device)
        if not group["scale_parameter"]:
            return base
        rms = _norms(params) / self._root(index, params)
        return rms.clamp_min(self._least(group)) * base

    def _alpha(self, group: Group, step: int) -> float:
        """Return the rate of a step, before it is scaled for a tensor."""
        if group["relative_step"]:
            return min(1e-6 * step if group["warmup_init"] else 1e-2, 1.0 / math.sqrt(step))
        return number(group["lr"])

    def _root(self, index: int, params: list[torch.Tensor]) -> torch.Tensor:
        """Return the square roots of the tensors' sizes, which are kept: copying them to a device may wait for it."""
        sizes = [p.numel() for p in params]
        known = self._roots.get(index)
        if known is None or known[0] != sizes or known[1].device != params[0].device:
            known = self._roots[index] = (sizes, on_device(np.sqrt(np.maximum(sizes, 1)), params[0].device))
        return known[1]

    def _steps(self, group: Group) -> list[int]:
        """Return the number of the coming step, for each tensor or once for all."""
        return [int(group.get("step", 0)) + 1]

    def _memory(self, p: torch.Tensor, group: Group) -> tuple[torch.Tensor | None, int]:
        return self.optimizer.state.get(p, {}).get("exp_avg"), int(group.get("step", 0))

    def _holds(self, p: torch.Tensor, group: Group) -> bool:  # noqa: ARG002  # as Averages calls it
        return bool(self.optimizer.state[p]["exp_avg"].any())

    def _beta1(self, group: Group) -> float | None:
        beta1: float | None = group["betas"][0]
        return beta1

    def _least(self, group: Group) -> float:
        """Return the smallest RMS that is used for a tensor."""
        return float(group["eps2"])


class TransformersAdafactor(Adafactor):
    """Reader for transformers.optimization.Adafactor, which has the same step size under other names, and counts by tensor."""

    def _steps(self, group: Group) -> list[int]:
        return [self._step(p) + 1 for p in group["params"]]

    def _step(self, p: torch.Tensor) -> int:
        return int(self.optimizer.state.get(p, {}).get("step", 0))

    def _memory(self, p: torch.Tensor, group: Group) -> tuple[torch.Tensor | None, int]:  # noqa: ARG002  # as above
        return self.optimizer.state.get(p, {}).get("exp_avg"), self._step(p)

    def _beta1(self, group: Group) -> float | None:
        beta1: float | None = group["beta1"]
        return beta1

    def _least(self, group: Group) -> float:
        return float(group["eps"][1])


class Trust(_PerTensor):
    """Reader for bitsandbytes' LAMB and LARS, which scale the rate down where an update is large beside its tensor.

    Tensors with 8-bit states are never scaled, because the norm of their update stays at 0.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._most = float(optimizer.args.max_unorm)  # type: ignore[attr-defined]  # bitsandbytes keeps it there
        self._norms: list[torch.Tensor | None] = []
        """Norms of the tensors before the step, by group; None for a group without weights."""

    def before(self) -> Rates:
        """Read the largest rate that the coming step can apply; the limit depends on its update."""
        if self._most:
            self._norms = [_norms(group["params"]) if any(self.counts(group)) else None for group in self.groups]
        return super().before()

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        if not self._most:
            return self.rates
        return tuple(
            rate if norms is None else self._mean(self._scales(index, norms), index, self.counts(group)) * rate
            for index, (rate, norms, group) in enumerate(zip(self.rates, self._norms, self.groups, strict=True))
        )

    def _scales(self, index: int, norms: torch.Tensor) -> torch.Tensor:
        state, none = self.optimizer.state, norms.new_zeros(1)
        updates = torch.cat([state.get(p, {}).get("unorm_vec", none) for p in self.groups[index]["params"]])
        if updates.is_cuda:
            updates = updates.sqrt()  # the CUDA kernel keeps the square
        # A zero update is not limited: the quotient is infinite or NaN, and fmin then returns the other value.
        return torch.fmin(self._most * norms / updates, torch.ones_like(norms))


def _norms(params: list[torch.Tensor]) -> torch.Tensor:
    """Compute the norm of each tensor."""
    return torch.stack(torch._foreach_norm([p.detach() for p in params]))
