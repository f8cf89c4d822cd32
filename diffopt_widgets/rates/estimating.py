"""Readers for optimizers that estimate their rate: Prodigy and D-Adaptation.

Sources: prodigyopt 1.1, dadaptation 3.2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.base import Averages, Group, Mean, RateReader, Rates, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.optim import Optimizer

    from diffopt_widgets.rates.base import LastStep
    from diffopt_widgets.records import Scalar


class Estimating(RateReader):
    """Reader of one rate for all groups: the estimate `d` times the largest group rate, read before the step."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = (self._shared(),) * len(self.groups)
        return self.rates

    def _shared(self) -> float:
        """Read the estimate, and return the rate that goes with it."""
        first = self.groups[0]
        self.d = d = number(first["d"])
        return d * self._lr() * self._factor(first)

    def _factor(self, first: Group) -> float:
        return _bias_correction(first)

    def _lr(self) -> float:
        return max(number(group["lr"]) for group in self.groups)


class Prodigy(Estimating):
    """Reader for Prodigy, which keeps its raw estimate in the group.

    The rate of a group at a learning rate of 0 is 0, unless the step moves it all the same, and then at the rate of the others:
    by a momentum from before, by decoupled weight decay, or along the gradient where beta1 is 0.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        rate = self._shared()
        self.rates = tuple(rate if number(group["lr"]) or self._moves_at_0(group) else 0.0 for group in self.groups)
        return self.rates

    def _moves_at_0(self, group: Group) -> bool:
        return not self.groups[0]["betas"][0] or _decays(group, self.groups[0]) or _any_momentum(self.optimizer, group)

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        return _optional(self.groups[0].get("d_hat"))


class Averaged(Estimating):
    """Reader for optimizers whose rate is part of the momentum: a step applies the average of the rates so far."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self.averages: Averages = Averages(self._memory, self._holds, lambda _: self._beta())
        self._means: dict[int, Mean] = {}

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        groups, beta = self.groups, self._beta()
        for index, (rate, group) in enumerate(zip(self._entering(), groups, strict=True)):
            if rate is not None:
                self.averages.put(index, rate, beta, self.moved(group))
        self.averages.mark(groups)
        return tuple(self._average(index, group) for index, group in enumerate(groups))

    def recall(self, records: Sequence[LastStep]) -> None:
        """Take the averages from the record that the estimates continue."""
        self.averages.recall(records, self._continues)

    def _shared(self) -> float:
        self.averages.look(self.groups)
        return super()._shared()

    def _continues(self, record: LastStep) -> bool:
        """Return whether the estimate is the one that the recorded step led to, which at a rate of 0 is its own.

        Many trainings begin with the same estimate, so the raw one must be that of the record too, or the momentum.
        """
        first, d = self.groups[0], record.d
        if d is None:
            return False
        grown = max(d, min(record.d_hat or d, d * first.get("growth_rate", math.inf)))
        if not any(math.isclose(number(first["d"]), led_to, rel_tol=1e-6) for led_to in (d, grown)):
            return False
        return self._made(record.d_hat) or record.left(self.averages.size(self.groups))

    def _made(self, recorded: float | None) -> bool:
        """Return whether the state has made this raw estimate, which is 0 for all at first."""
        d_hat = self.d_hat() if recorded else None
        if recorded is None or d_hat is None or isinstance(d_hat, tuple):
            return False
        return math.isclose(float(d_hat), recorded, rel_tol=1e-5)

    def _average(self, index: int, group: Group) -> float:
        counts = self.counts(group)
        if not any(counts):
            return number(self.rates[index])
        return float(self._means.setdefault(index, Mean())(self.averages.of(index), counts))

    def _entering(self) -> Sequence[float | None]:
        """Return the rate that the gradient of each group entered its momentum with; None if it did not enter."""
        return [number(rate) for rate in self.rates]

    def _memory(self, p: torch.Tensor, group: Group) -> tuple[torch.Tensor | None, int]:  # noqa: ARG002  # for others
        state = self.optimizer.state.get(p, {})
        return state.get("exp_avg"), int(state.get("step", 0))

    def _holds(self, p: torch.Tensor, group: Group) -> bool:  # noqa: ARG002  # as above
        return bool(self.optimizer.state[p]["exp_avg"].any())

    def _beta(self) -> float:
        return number(self.groups[0]["betas"][0])


class DAdaptAdam(Averaged):
    """Reader for DAdaptAdam, with or without bias correction.

    The momentum of a group at a learning rate of 0 stays as it is, and moves the weights all the same: by nothing if the rate
    was 0 from the beginning.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient, and where it does not enter, that of the momentum."""
        shared = self._shared()
        rates: list[float] = []
        for index, group in enumerate(self.groups):
            if number(group["lr"]) or not shared:
                rates.append(shared * group.get("layer_scale", 1.0))
            else:
                average = self._average(index, group) if any(self.counts(group)) else 0.0
                rates.append(average or (shared if _decays(group, self.groups[0]) else 0.0))
        self.rates = tuple(rates)
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        # At a rate of 0 the back end returns before it averages anything or moves a weight.
        if not self._lr():
            self.averages.mark(self.groups)
            return self.rates
        after = super().after()
        pairs = zip(self.groups, self.rates, after, strict=True)
        return tuple(rate if number(group["lr"]) else before for group, before, rate in pairs)

    def _entering(self) -> Sequence[float | None]:
        pairs = zip(self.groups, self.rates, strict=True)
        return [number(rate) if number(group["lr"]) else None for group, rate in pairs]

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        return _d_hat_from_l1(self.optimizer)


class DAdaptAdan(Averaged):
    """Reader for DAdaptAdan, which uses the first group's rate for all."""

    def _lr(self) -> float:
        return number(self.groups[0]["lr"])

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
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


class DAdaptLion(Estimating):
    """Reader for DAdaptLion, where the sign is multiplied by the rate of the step itself."""

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        return _d_hat_from_l1(self.optimizer)


class DAdaptSGD(Averaged):
    """Reader for DAdaptSGD, which divides the rate by the norm of the first gradient, known only after the first step.

    The weights follow a point that moves at this rate, with a delay that the momentum sets. So a step applies the
    momentum-average of the rates so far. The gradient of a group at a learning rate of 0 enters with a rate of 0.
    """

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        super().before()
        self.rates = self._over_first_norm()
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        if any(map(math.isnan, self.rates)):  # the norm is known now
            self.rates = self._over_first_norm()
        return super().after()

    def _over_first_norm(self) -> Rates:
        norm, shared = self.groups[0].get("g0_norm"), number(self.d) * self._lr()
        return tuple(
            0.0 if not number(group["lr"]) else math.nan if not norm else shared / float(norm) for group in self.groups
        )

    def _memory(self, p: torch.Tensor, group: Group) -> tuple[torch.Tensor | None, int]:
        return self.optimizer.state.get(p, {}).get("z"), int(group.get("k", 0))

    def _holds(self, p: torch.Tensor, group: Group) -> bool:
        # Weights that never had a rate stay at their point, but for rounding.
        return bool(number(group["lr"])) or not torch.allclose(self.optimizer.state[p]["z"], p.detach(), rtol=1e-5)

    def _beta(self) -> float:
        return number(self.groups[0]["momentum"])

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        states = _states(self.optimizer, "s")
        if not states:
            return None
        squares = [norm * norm for norm in torch._foreach_norm([state["s"] for state in states])]
        return 2.0 * float(self.groups[0]["numerator_weighted"]) / _total(squares).sqrt()


class DAdaptAdaGrad(Estimating):
    """Reader for DAdaptAdaGrad: dual averaging has no rate of a single step, so d times the learning rate is shown."""

    def _lr(self) -> float:
        return number(self.groups[0]["lr"])

    def d_hat(self) -> Scalar | None:
        """Return the raw estimate of the step."""
        first = self.groups[0]
        if not first["skl1"]:
            return None
        return float((first["sksq_weighted"] - first["gsq_weighted"]) / first["skl1"])


def _optional(value: Any) -> float | None:  # Any: as above
    return None if value is None else float(value)


def _decays(group: Group, first: Group) -> bool:
    """Return whether decoupled weight decay moves a group; the first group says whether it is decoupled."""
    return bool(first.get("decouple") and group.get("weight_decay"))


def _any_momentum(optimizer: Optimizer, group: Group) -> bool:
    """Return whether a momentum of the group is not zero. The step waits for the device too, for each tensor."""
    states = (optimizer.state.get(p, {}) for p in group["params"] if p.grad is not None or p.requires_grad)
    momenta = [state["exp_avg"] for state in states if "exp_avg" in state]
    return bool(momenta) and any(bool(momentum.any()) for momentum in momenta)


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
    """Compute the estimate of DAdaptAdam and DAdaptLion: the weighted numerator over the l1 norm of s."""
    first = optimizer.param_groups[0]
    states = _states(optimizer, "s")
    if not states:
        return None
    root = math.sqrt(first["betas"][1])
    l1 = _total(torch._foreach_norm([state["s"] for state in states], 1))
    return float(first["numerator_weighted"]) / ((1.0 - root) * l1)
