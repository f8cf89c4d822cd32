"""How to read the applied rate of each kind of optimizer, from its groups and its state.

Sources: the installed back ends (prodigyopt 1.1, dadaptation 3.2, bitsandbytes 0.50, pytorch_optimizer 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from diffopt_widgets.records import Scalar

Group: TypeAlias = Mapping[str, Any]  # Any: torch's own type of a parameter group
Rates: TypeAlias = "tuple[Scalar, ...]"


class Reader:
    """The rate of the parameter group as it stands."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.d: float | None = None
        """The estimate that the step is made with."""
        self.rates: Rates = ()

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""
        return self.optimizer.param_groups

    def before(self) -> Rates:
        """Read what the coming step will apply."""
        self.rates = tuple(_number(group["lr"]) for group in self.groups)
        return self.rates

    def after(self) -> Rates:
        """Tell what the step just taken applied."""
        return self.rates

    def d_hat(self) -> Scalar | None:
        """Tell the raw estimate that the step came to."""
        return None


class _Estimating(Reader):
    """One rate for all groups: the estimate `d` times the largest group rate, read before the step."""

    def before(self) -> Rates:
        first = self.groups[0]
        self.d = _number(first["d"])
        self.rates = (self.d * self._lr() * _bias_correction(first),) * len(self.groups)
        return self.rates

    def _lr(self) -> float:
        return max(_number(group["lr"]) for group in self.groups)


class _Prodigy(_Estimating):
    def d_hat(self) -> Scalar | None:
        return _optional(self.groups[0].get("d_hat"))


class _Averaged(_Estimating):
    """The rate is folded into the first moment, so a step applies the beta1-average of the rates so far."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._sum = 0.0
        self._weight = 0.0

    def after(self) -> Rates:
        beta1 = float(self.groups[0]["betas"][0])
        entering = float(self.rates[0])
        self._sum = beta1 * self._sum + (1.0 - beta1) * entering
        self._weight = beta1 * self._weight + (1.0 - beta1)
        return (self._sum / self._weight,) * len(self.groups)


class _DAdaptAdam(_Averaged):
    def d_hat(self) -> Scalar | None:
        return _d_hat_from_l1(self.optimizer)


class _DAdaptAdan(_Averaged):
    def _lr(self) -> float:
        return _number(self.groups[0]["lr"])

    def d_hat(self) -> Scalar | None:
        first = self.groups[0]
        states = _states(self.optimizer, "exp_avg_sq")
        if not states:
            return None
        beta3, eps = first["betas"][2], first["eps"]
        s = [state["s"] for state in states]
        scale = torch._foreach_sqrt([state["exp_avg_sq"] for state in states])
        torch._foreach_add_(scale, eps)
        weighted = _total([part.sum() for part in torch._foreach_div(torch._foreach_mul(s, s), scale)])
        d_hat: torch.Tensor = weighted / (1.0 - beta3) - float(first["gsq_weighted"])
        return d_hat / _total(torch._foreach_norm(s, 1))


class _DAdaptLion(_Estimating):
    def d_hat(self) -> Scalar | None:
        return _d_hat_from_l1(self.optimizer)


class _DAdaptSGD(_Estimating):
    """The rate is divided by the norm of the very first gradient, which is known after the first step."""

    def before(self) -> Rates:
        super().before()
        return self._over_first_norm()

    def after(self) -> Rates:
        return self._over_first_norm()

    def _over_first_norm(self) -> Rates:
        norm = self.groups[0].get("g0_norm")
        return tuple(math.nan if norm is None else float(rate) / float(norm) for rate in self.rates)

    def d_hat(self) -> Scalar | None:
        states = _states(self.optimizer, "s")
        if not states:
            return None
        squares = [norm * norm for norm in torch._foreach_norm([state["s"] for state in states])]
        return 2.0 * float(self.groups[0]["numerator_weighted"]) / _total(squares).sqrt()


class _DAdaptAdaGrad(_Estimating):
    """Dual averaging has no rate of a single step; d times the learning rate is shown."""

    def _lr(self) -> float:
        return _number(self.groups[0]["lr"])

    def d_hat(self) -> Scalar | None:
        first = self.groups[0]
        if not first["skl1"]:
            return None
        return float((first["sksq_weighted"] - first["gsq_weighted"]) / first["skl1"])


class _PerTensor(Reader):
    """A rate for each tensor; what is told is their mean over a group's weights."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        # Made once: a copy from the host at each step would wait for the device.
        self._sizes = [_sizes(group["params"]) for group in self.groups]

    def _mean(self, per_tensor: torch.Tensor, group: int) -> torch.Tensor:
        sizes = self._sizes[group]
        return (per_tensor * sizes).sum() / sizes.sum()


class _Adafactor(_PerTensor):
    """The group's rate or the relative step, times the RMS of each tensor with `scale_parameter`.

    This is the paper's step size alpha (Shazeer & Stern 2018, algorithm 4), which multiplies the clipped update.
    """

    def before(self) -> Rates:
        self.rates = tuple(self._rate(index, group) for index, group in enumerate(self.groups))
        return self.rates

    def _rate(self, index: int, group: Group) -> Scalar:
        rate = _number(group["lr"])
        if group["relative_step"]:
            step = group.get("step", 0) + 1
            rate = min(1e-6 * step if group["warmup_init"] else 1e-2, 1.0 / math.sqrt(step))
        if not group["scale_parameter"]:
            return rate
        norms = torch.stack(torch._foreach_norm([p.detach() for p in group["params"]]))
        return self._mean((norms / self._sizes[index].sqrt()).clamp_min(group["eps2"]), index) * rate


class _Trust(_PerTensor):
    """bitsandbytes' LAMB and LARS: the rate is scaled down where an update is large beside its tensor.

    Tensors with 8-bit states are never scaled.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._nothing = [sizes.new_zeros(1) for sizes in self._sizes]
        self._norms: list[torch.Tensor] = []

    def before(self) -> Rates:
        self._norms = [torch.stack(torch._foreach_norm([p.detach() for p in group["params"]])) for group in self.groups]
        return super().before()

    def after(self) -> Rates:
        return tuple(
            self._mean(self._scales(index, group), index) * _number(group["lr"])
            for index, group in enumerate(self.groups)
        )

    def _scales(self, index: int, group: Group) -> torch.Tensor:
        most = float(self.optimizer.args.max_unorm)  # type: ignore[attr-defined]  # bitsandbytes keeps it there
        updates = torch.cat([self._update(p, self._nothing[index]) for p in group["params"]])
        if updates.is_cuda:
            updates = updates.sqrt()  # the CUDA kernel keeps the square
        # An update that is not limited counts as nothing: the quotient is infinite, or not a number, and the scale 1.
        return (most * self._norms[index] / updates).nan_to_num(nan=1.0).clamp(max=1.0)

    def _update(self, p: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
        state = self.optimizer.state.get(p, {})
        limited = "unorm_vec" in state and state["state1"].dtype != torch.uint8
        return state["unorm_vec"] if limited else nothing


READERS: Mapping[str, Callable[[Any], Reader]] = {
    "group": Reader,
    "prodigy": _Prodigy,
    "dadapt_adam": _DAdaptAdam,
    "dadapt_adan": _DAdaptAdan,
    "dadapt_lion": _DAdaptLion,
    "dadapt_sgd": _DAdaptSGD,
    "dadapt_adagrad": _DAdaptAdaGrad,
    "adafactor": _Adafactor,
    "trust": _Trust,
}
"""The readers by the name that the catalogue gives."""


def _number(value: Any) -> float:  # Any: torch takes floats and tensors as a learning rate
    return float(value)


def _optional(value: Any) -> float | None:  # Any: as above
    return None if value is None else float(value)


def _bias_correction(group: Group) -> float:
    if not group.get("use_bias_correction"):
        return 1.0
    beta1, beta2 = group["betas"][:2]
    step = group["k"] + 1
    return float(math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step))


def _states(optimizer: Optimizer, key: str) -> list[dict[str, torch.Tensor]]:
    return [
        state
        for group in optimizer.param_groups
        for p in group["params"]
        if key in (state := optimizer.state.get(p, {}))
    ]


def _total(parts: Any) -> torch.Tensor:  # Any: a list or tuple of scalar tensors
    return torch.stack(list(parts)).sum()


def _d_hat_from_l1(optimizer: Optimizer) -> Scalar | None:
    """DAdaptAdam's and DAdaptLion's estimate: the weighted numerator over the l1 norm of s."""
    first = optimizer.param_groups[0]
    states = _states(optimizer, "s")
    if not states:
        return None
    root = math.sqrt(first["betas"][1])
    l1 = _total(torch._foreach_norm([state["s"] for state in states], 1))
    return float(first["numerator_weighted"]) / ((1.0 - root) * l1)


def _sizes(params: list[torch.Tensor]) -> torch.Tensor:
    """How many elements each tensor has, on the tensors' device."""
    return torch.tensor([float(p.numel()) for p in params], device=params[0].device)
