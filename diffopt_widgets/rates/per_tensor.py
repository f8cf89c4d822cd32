"""Readers for optimizers that give each tensor a rate of its own: Adafactor, LAMB, LARS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.base import Average, Group, Rate, RateReader, Rates, number

if TYPE_CHECKING:
    from torch.optim import Optimizer


class _PerTensor(RateReader):
    """Reader for a rate per tensor; the value is the mean over the group's weights."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        # Made once: a copy from the host at each step would wait for the device.
        self._sizes = [_sizes(group["params"]) for group in self.groups]
        self._shares = [sizes / sizes.sum() for sizes in self._sizes]

    def _mean(self, per_tensor: torch.Tensor, group: int) -> torch.Tensor:
        return (per_tensor * self._shares[group]).sum()


class Adafactor(_PerTensor):
    """Reader of the group's rate or the relative step, times the RMS of each tensor with `scale_parameter`.

    This is the paper's step size alpha (Shazeer & Stern 2018, algorithm 4), which multiplies the clipped update; with
    beta1 these products are averaged, and so are the rates.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._averages = [Average() for _ in self.groups]

    def take_over(self, old: Any) -> None:  # Any: a reader of the same class
        """Take over the averages of the groups that existed before."""
        averages = old._averages[: len(self._averages)]  # noqa: SLF001  # as above
        self._averages[: len(averages)] = averages

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple(self._rate(index, group) for index, group in enumerate(self.groups))
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        betas = [self._beta1(group) for group in self.groups]
        return tuple(
            rate if beta1 is None else average.put(rate, beta1)
            for rate, beta1, average in zip(self.rates, betas, self._averages, strict=True)
        )

    def _rate(self, index: int, group: Group) -> Rate:
        if group["relative_step"]:
            step = self._steps(group) + 1
            rate = min(1e-6 * step if group["warmup_init"] else 1e-2, 1.0 / math.sqrt(step))
        else:
            rate = number(group["lr"])
        if not group["scale_parameter"] or not group["params"]:
            return rate
        rms = _norms(group["params"]) / self._sizes[index].sqrt()
        return self._mean(rms.clamp_min(self._least(group)), index) * rate

    def _steps(self, group: Group) -> int:
        """Return the number of steps so far."""
        return int(group.get("step", 0))

    def _beta1(self, group: Group) -> float | None:
        beta1: float | None = group["betas"][0]
        return beta1

    def _least(self, group: Group) -> float:
        """Return the smallest RMS that is used for a tensor."""
        return float(group["eps2"])


class TransformersAdafactor(Adafactor):
    """Reader for transformers.optimization.Adafactor, which has the same step size under other names."""

    def _steps(self, group: Group) -> int:
        return int(self.optimizer.state.get(group["params"][0], {}).get("step", 0)) if group["params"] else 0

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
        self._zeros = [sizes.new_zeros(1) for sizes in self._sizes]
        self._full = [torch.ones_like(sizes) for sizes in self._sizes]
        self._norms: list[torch.Tensor] = []

    def before(self) -> Rates:
        """Read the largest rate that the coming step can apply; the limit depends on its update."""
        if self._most:
            self._norms = [_norms(group["params"]) for group in self.groups]
        return super().before()

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        if not self._most:
            return self.rates
        return tuple(self._mean(self._scales(index), index) * rate for index, rate in enumerate(self.rates))

    def _scales(self, index: int) -> torch.Tensor:
        state, zeros = self.optimizer.state, self._zeros[index]
        updates = torch.cat([state.get(p, {}).get("unorm_vec", zeros) for p in self.groups[index]["params"]])
        if updates.is_cuda:
            updates = updates.sqrt()  # the CUDA kernel keeps the square
        # A zero update is not limited: the quotient is infinite or NaN, and fmin then returns the other value.
        return torch.fmin(self._most * self._norms[index] / updates, self._full[index])


def _norms(params: list[torch.Tensor]) -> torch.Tensor:
    """Compute the norm of each tensor."""
    return torch.stack(torch._foreach_norm([p.detach() for p in params]))


def _sizes(params: list[torch.Tensor]) -> torch.Tensor:
    """Return the number of elements of each tensor, on the tensors' device."""
    return torch.tensor([float(p.numel()) for p in params], device=params[0].device if params else None)
