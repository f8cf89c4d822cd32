"""Readers for classes of pytorch_optimizer that the catalogue does not have.

Source: pytorch_optimizer 4.1. Its Prodigy and D-Adaptation are those of the original packages, except that the first group's
rate stands for all groups, also for one at a rate of 0, and that steps are counted under another name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.rates.base import (
    Averages,
    Group,
    Mean,
    Rate,
    RateReader,
    Rates,
    Values,
    number,
    on_device,
    rate_of,
)
from diffopt_widgets.rates.estimating import Averaged, Estimating
from diffopt_widgets.rates.first_steps import Rectified, rectification
from diffopt_widgets.rates.torch_own import PerTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.optim import Optimizer

# ---------------------------------------------------------------------------------------------------- estimated rates


class Estimate(Estimating):
    """Reader of the estimate d times the first group's rate, for all groups; both are read before the step."""

    def _lr(self) -> float:
        return number(self.groups[0]["lr"])

    def _factor(self, first: Group) -> float:  # noqa: ARG002  # for others
        return 1.0


class Prodigy(Estimate):
    """Reader for Prodigy, which counts its first step as the second one for the bias correction."""

    def _factor(self, first: Group) -> float:
        return _adam_correction(first, first["step"]) if first["bias_correction"] else 1.0


class AveragedEstimate(Averaged):
    """Base of readers where the rate is part of the momentum: a step applies the average of the rates so far."""

    def _lr(self) -> float:
        return number(self.groups[0]["lr"])

    def _memory(self, p: torch.Tensor, group: Group) -> tuple[torch.Tensor | None, int]:
        return self.optimizer.state.get(p, {}).get("exp_avg"), int(group.get("step", 0))


class DAdaptAdam(AveragedEstimate):
    """Reader for DAdaptAdam, with or without bias correction."""

    def _factor(self, first: Group) -> float:
        return _adam_correction(first, first["step"] + 1) if first["bias_correction"] else 1.0


class DAdaptSGD(AveragedEstimate):
    """Reader for DAdaptSGD, which divides the rate by the norm of the first gradient, known only after the first step."""

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        if any(map(math.isnan, self.rates)):  # the norm is known now
            first = self.groups[0]
            self.rates = (number(self.d) * self._lr() * self._factor(first),) * len(self.groups)
        return super().after()

    def _factor(self, first: Group) -> float:
        norm = first.get("g0_norm")
        return 1.0 / float(norm) if norm else math.nan

    def _memory(self, p: torch.Tensor, group: Group) -> tuple[torch.Tensor | None, int]:
        return self.optimizer.state.get(p, {}).get("z"), int(group.get("step", 0))

    def _holds(self, p: torch.Tensor, group: Group) -> bool:  # noqa: ARG002  # the weights nearly always lag behind their point
        return True

    def _beta(self) -> float:
        return number(self.groups[0]["momentum"])


def _adam_correction(group: Group, step: int) -> float:
    beta1, beta2 = group["betas"][:2]
    return math.sqrt(1.0 - beta2**step) / float(1.0 - beta1**step)


# ---------------------------------------------------------------------------------------------------- first steps, own schedules


class RAdam(Rectified):
    """Reader for RAdam, which rectifies always: below the threshold the step is that of SGD, or there is none."""

    def _share(self, group: Group) -> float:
        return super()._share({**group, "rectify": True})


class Ranger(RAdam):
    """Reader for Ranger: RAdam's rate, and NaN for each step that also pulls the weights towards the slow ones.

    Without `degenerated_to_sgd`, the default, its first steps go against the direction of SGD, so their rate is negative.
    """

    def _share(self, group: Group) -> float:
        if (group.get("step", 0) + 1) % group["k"] == 0:
            return math.nan
        return super()._share(group) or -1.0


class Ranger21(RateReader):
    """Reader for Ranger21, which warms the rate up and down on its own; NaN for steps that pull towards the slow weights."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        own: Any = self.optimizer  # pytorch_optimizer keeps the schedule there
        pulls = own.lookahead_step + 1 >= own.lookahead_merge_time
        self.rates = tuple(math.nan if pulls else self._scheduled(own, group) for group in self.groups)
        return self.rates

    @staticmethod
    def _scheduled(own: Any, group: Group) -> float:
        rate, step = number(group["lr"]), group.get("step", 0) + 1
        if own.disable_lr_scheduler:
            return rate
        if step <= own.num_warm_up_iterations:
            rate *= min(1.0, step / own.num_warm_up_iterations)
        if step < own.start_warm_down:
            return rate
        share = min(max(step + 1 - own.start_warm_down, 1) / (own.num_warm_down_iterations + 1), 1.0)
        return float(max(own.starting_lr - own.warm_down_lr_delta * share, own.min_lr))


class ScheduleFree(RateReader):
    """Reader of the group's rate times the warm-up of the package, at which the point z moves."""

    def before(self) -> Rates:
        """Read the rate of z in the coming step."""
        self.rates = tuple(number(group["lr"]) * self._share(group) for group in self.groups)
        return self.rates

    def _share(self, group: Group) -> float:
        step = group.get("step", 0) + 1
        return step / group["warmup_steps"] if step < group["warmup_steps"] else 1.0


class ScheduleFreeRAdam(RateReader):
    """Reader of the group's rate times RAdam's rectification; before it, z stands still or moves at a rate of 1."""

    def before(self) -> Rates:
        """Read the rate of z in the coming step."""
        self.rates = tuple(self._rate(group) for group in self.groups)
        return self.rates

    @staticmethod
    def _rate(group: Group) -> float:
        length, factor = rectification(group["betas"][1], group.get("step", 0) + 1)
        return number(group["lr"]) * factor if length > 4.0 else float(not group["silent_sgd_phase"])


# ---------------------------------------------------------------------------------------------------- a rate per tensor


class WithoutRank(RateReader):
    """Reader of the group's rate for classes that step as Adam does, unless a group has a rank: then it is not known."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple(rate_of(group) if group.get("rank") is None else math.nan for group in self.groups)
        return self.rates


class Mars(PerTensor):
    """Reader for MARS, which gives vectors a rate of their own, in a fixed proportion to the group's."""

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return the group's rate, times the factor of vectors."""
        return rate_of(group) * (1.0 if group["optimize_1d"] or p.ndim >= 2 else group["lr_1d_factor"])


class Lars(RateReader):
    """Reader for LARS: the group's rate times the trust ratio of each matrix, averaged by the momentum.

    The ratio is that of a tensor's norm to its gradient's, so it is known when there is a gradient. A step makes a new one of
    the gradient, so both norms are read before it.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self.averages: Averages = Averages(self._memory, self._holds, lambda group: float(group["momentum"]))
        self._means: dict[int, Mean] = {}
        self._trusts: list[torch.Tensor] = []
        """Trust ratios of the tensors, by group."""

    def before(self) -> Rates:
        """Read the rate of the coming gradient, NaN if there is none yet."""
        self.averages.look(self.groups)
        self._trusts = [_trusts(group) for group in self.groups]
        self.rates = self._rates(self._trusts)
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        for index, (trusts, group) in enumerate(zip(self._trusts, self.groups, strict=True)):
            if group["params"]:
                self.averages.put(index, trusts, float(group["momentum"]), self.moved(group))
        self.averages.mark(self.groups)
        return self._rates([self._applied(index, group) for index, group in enumerate(self.groups)])

    def _applied(self, index: int, group: Group) -> Values:
        """Return the ratios that a step applied: the averages, or with Nesterov's momentum also those of the step itself."""
        averages, beta = self.averages.of(index), float(group["momentum"])
        if not (group["nesterov"] and beta):
            return averages
        trusts = self._trusts[index]
        past = beta * (1.0 - float(group["dampening"])) * self.averages.weights(index) / (1.0 - beta)
        share = on_device(past / (1.0 + past), trusts.device, trusts.dtype)
        return trusts + share * (on_device(averages, trusts.device, trusts.dtype) - trusts)

    def _rates(self, factors: Sequence[Values]) -> Rates:
        """Return each group's rate times the mean of its tensors' factors; NaN for a group without weights."""
        pairs = enumerate(zip(factors, self.groups, strict=True))
        return tuple(
            self._means.setdefault(index, Mean())(of_tensors, counts) * rate_of(group)
            if any(counts := self.counts(group))
            else math.nan
            for index, (of_tensors, group) in pairs
        )

    def _memory(self, p: torch.Tensor, group: Group) -> tuple[torch.Tensor | None, int]:
        return self.optimizer.state.get(p, {}).get("momentum_buffer"), int(group.get("step", 0))

    def _holds(self, p: torch.Tensor, group: Group) -> bool:  # noqa: ARG002  # as Averages calls it
        # The ratio of a vector is 1 in every step.
        return p.ndim > 1 and bool(self.optimizer.state[p]["momentum_buffer"].any())


class Lamb(PerTensor):
    """Reader for LAMB: the group's rate times the trust ratio of each tensor, which is known after the step."""

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return the group's rate where tensors are not scaled, else NaN."""
        return rate_of(group) if group["adam"] and not group["rectify"] else math.nan

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        return tuple([self.mean(group, self._scaled) for group in self.groups])

    @staticmethod
    def _scaled(p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG004  # as for the others
        if group["rectify"] or "trust_ratio" not in state:  # it then measures against the weights, not the update
            return math.nan
        ratio: Rate = 1.0 if group["adam"] else state["trust_ratio"]
        return ratio * rate_of(group)


class AdaMod(PerTensor):
    """Reader for AdaMod, which bounds the step size of each weight by the average of those so far.

    The value is the group's rate times the mean share that the bound leaves, known after the step.
    """

    def rate(self, p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG002  # as for the others
        """Return NaN: the coming gradient is part of the bound."""
        return math.nan

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        return tuple([self.mean(group, self._bounded) for group in self.groups])

    @staticmethod
    def _bounded(p: torch.Tensor, state: dict[str, Any], group: Group) -> Rate:  # noqa: ARG004  # as for the others
        if "exp_avg_lr" not in state:
            return math.nan
        correction = _adam_correction(group, group["step"])
        if group.get("adam_debias"):
            correction *= 1.0 - group["betas"][0] ** group["step"]
        wanted = rate_of(group) * correction / (state["exp_avg_sq"].sqrt() + group["eps"])
        share: Rate = (state["exp_avg_lr"] / wanted).clamp_max(1.0).mean()
        return share * rate_of(group)


def _trusts(group: Group) -> torch.Tensor:
    """Compute the trust ratios of a group's tensors for LARS."""
    params: list[torch.Tensor] = group["params"]
    if not params:
        return torch.empty(0)
    single = torch.promote_types(params[0].dtype, torch.float32)
    return torch.stack([_trust(p, group).to(params[0].device, single) for p in params])


def _trust(p: torch.Tensor, group: Group) -> torch.Tensor:
    """Compute the trust ratio of LARS: 1 for a vector, NaN without a gradient."""
    if p.ndim <= 1:
        return p.new_ones(())
    if p.grad is None:
        return p.new_full((), math.nan)
    size = p.detach().norm()
    divisor = p.grad.detach().norm() + group["weight_decay"] * size
    ratio: torch.Tensor = group["trust_coefficient"] * size / divisor
    unscaled = (size == 0) | (divisor == 0)
    return ratio.where(~unscaled, ratio.new_ones(()))
