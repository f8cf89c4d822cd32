"""Base of the readers of applied rates, called before and after each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from diffopt_widgets.records import Grouped

Rate: TypeAlias = "float | torch.Tensor"
Rates: TypeAlias = "tuple[Rate, ...]"
Group: TypeAlias = Mapping[str, Any]  # Any: torch's own type of a parameter group


class LastStep(NamedTuple):
    """What is recorded of a step, after which a training may have been resumed."""

    applied: tuple[float, ...]
    """Rate that it applied, by group."""
    d: float | None = None
    """Estimate that it used."""
    d_hat: float | None = None
    """Raw estimate that it made."""


class RateReader:
    """Reader of the parameter groups' own rates.

    The groups and their tensors may change between steps: a reader looks at them again in each step.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.d: float | tuple[float, ...] | None = None
        """Estimate that the step uses; one per parameter group where each has its own."""
        self.rates: Rates = ()
        self.fused = False
        """True when gradients are freed inside backward, so that none tells which tensors a step moves."""
        self.averages: Averages | None = None
        """Averages over the rates of past steps, where the rate is part of the momentum."""

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimizer."""
        return self.optimizer.param_groups

    def before(self) -> Rates:
        """Read the rate of the coming gradient."""
        self.rates = tuple([rate_of(group) for group in self.groups])
        return self.rates

    def after(self) -> Rates:
        """Return the rates that the step just taken applied."""
        return self.rates

    def d_hat(self) -> Grouped | None:
        """Return the raw estimate of the step, before its limits; None if there is none."""
        return None

    def recall(self, records: Sequence[LastStep]) -> None:
        """Take the average up to now from one of these records, if it fits, for a momentum that holds steps which were not seen."""

    def moved(self, group: Group) -> list[bool]:
        """Return which tensors of a group a step moves."""
        return [p.requires_grad if self.fused else p.grad is not None for p in group["params"]]

    def counts(self, group: Group) -> list[int]:
        """Return the weight of each tensor in the mean over its group: its elements, or 0 if it gets no gradient.

        If no tensor of the group has a gradient yet, those count that are trained, and if there are none, all.
        """
        params: list[torch.Tensor] = group["params"]
        if not self.fused and any(counts := [0 if p.grad is None else p.numel() for p in params]):
            return counts
        if any(counts := [p.numel() if p.requires_grad else 0 for p in params]):
            return counts
        return [p.numel() for p in params]


class Averages:
    """Running averages of the rates so far, one for each tensor, with weights that sum to 1.

    When the rate is part of the momentum, past gradients keep moving the weights at the rates of their own steps. A step
    then applies this average. If a tensor's momentum holds steps that were not seen here (a resumed training, a loaded
    state), its average is not known until their share has fallen to `LEAST`.

    Args:
        memory: returns the tensor of a weight's state that holds its momentum, and the number of its steps; None for one that
            does not exist yet.
        holds: returns whether that momentum holds any rate; one of zeros holds none, however many steps were taken.
        beta: returns by what a group's momentum decays per step.
    """

    LEAST = 1e-4
    """Share of unseen steps in an average below which it counts as known."""

    def __init__(
        self,
        memory: Callable[[torch.Tensor, Group], tuple[torch.Tensor | None, int]],
        holds: Callable[[torch.Tensor, Group], bool],
        beta: Callable[[Group], float],
    ) -> None:
        self._memory = memory
        self._holds = holds
        self._beta = beta
        self._tensors: list[list[int]] = []
        """Identities of the tensors, by group."""
        self._sums: list[torch.Tensor] = []
        """Weighted sums of the rates by group and tensor, where the rates are."""
        self._weights: list[torch.Tensor] = []
        """Sums of the weights, on the CPU as the next one."""
        self._unseen: list[torch.Tensor] = []
        """Shares of unseen steps."""
        self._marks: dict[int, _Mark] = {}
        """Identity of each tensor's momentum, and the number of its steps, as the last step left them."""
        self._recorded: tuple[float, ...] = ()
        """Average of each group that a record has."""

    def look(self, groups: Sequence[Group]) -> None:
        """Look at the groups before a step: at new tensors, and at momenta that are not those of the last step."""
        tensors = [[id(p) for p in group["params"]] for group in groups]
        if tensors != self._tensors:
            self._arrange(tensors)
        for index, group in enumerate(groups):
            for place, p in enumerate(group["params"]):
                momentum, steps = self._memory(p, group)
                if self._marks.get(id(p), _NO_STEPS) == (mark := _mark(momentum, steps)):
                    continue
                self._marks[id(p)] = mark
                unseen = mark != _NO_STEPS and self._holds(p, group)
                self._set(index, place, 0.0, 0.0, float(unseen))
                if unseen and len(self._recorded) == len(groups) and math.isfinite(average := self._recorded[index]):
                    weight = 1.0 - self._beta(group) ** steps
                    self._set(index, place, average * weight, weight, 0.0)
        self._recorded = ()

    def mark(self, groups: Sequence[Group]) -> None:
        """Note the momenta after a step, so that others are noticed before the next one."""
        self._marks = {id(p): _mark(*self._memory(p, group)) for group in groups for p in group["params"]}

    def put(self, index: int, rates: Rate, beta: float, moved: list[bool]) -> None:
        """Add the rates of one step of a group, one for all its tensors or one each, which then decay by `beta` per step.

        Only the tensors that the step moved take part.
        """
        sums, weights, unseen = self._sums[index], self._weights[index], self._unseen[index]
        if isinstance(rates, torch.Tensor) and rates.device != sums.device:
            sums = sums.to(rates.device, rates.dtype, non_blocking=True)
        new = (beta * sums + (1.0 - beta) * rates, beta * weights + (1.0 - beta), beta * unseen)
        if not all(moved):
            moves = torch.tensor(moved)
            there = moves.to(sums.device, non_blocking=True)
            new = (
                torch.where(there, new[0], sums),
                torch.where(moves, new[1], weights),
                torch.where(moves, new[2], unseen),
            )
        self._sums[index], self._weights[index], self._unseen[index] = new

    def of(self, index: int) -> torch.Tensor:
        """Return the averages of a group's tensors: 0 for one without steps, NaN for one that is not known yet."""
        sums, weights, unseen = self._sums[index], self._weights[index], self._unseen[index]
        divisors = torch.where(unseen > self.LEAST, math.nan, torch.where(weights > 0, weights, 1.0))
        return sums / divisors.to(sums.device, sums.dtype, non_blocking=True)

    def recall(self, records: Sequence[tuple[float, ...]]) -> None:
        """Use these averages, by group, where the next look finds unseen steps, unless the records differ."""
        first = records[0] if records else ()
        same = all(len(record) == len(first) and np.allclose(record, first, rtol=1e-6) for record in records)
        self._recorded = first if same else ()

    def saved(self) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Return all that is kept, for a checkpoint."""
        return [
            (sums.clone(), weights.clone(), unseen.clone())
            for sums, weights, unseen in zip(self._sums, self._weights, self._unseen, strict=True)
        ]

    def restore(self, saved: Sequence[Sequence[torch.Tensor]], groups: Sequence[Group]) -> None:
        """Restore what `saved` returned, for momenta that have been restored before.

        Raises:
            ValueError: it belongs to other groups.
        """
        if not saved:
            return
        if [len(parts[0]) for parts in saved] != [len(group["params"]) for group in groups]:
            raise ValueError("the averages of past rates belong to other parameter groups")
        self._tensors = [[id(p) for p in group["params"]] for group in groups]
        self._sums, self._weights, self._unseen = (
            [part.clone() for part in parts] for parts in zip(*saved, strict=True)
        )
        self.mark(groups)

    def _arrange(self, tensors: list[list[int]]) -> None:
        """Make room for these tensors, and keep what is known of those that were there before."""
        places = {key: (index, place) for index, keys in enumerate(self._tensors) for place, key in enumerate(keys)}
        old = (self._sums, self._weights, self._unseen)
        self._tensors = tensors
        self._sums, self._weights, self._unseen = ([_zeros(len(keys)) for keys in tensors] for _ in range(3))
        for index, keys in enumerate(tensors):
            known = [(place, *places[key]) for place, key in enumerate(keys) if key in places]
            if not known:
                continue
            sums = old[0][known[0][1]]
            self._sums[index] = self._sums[index].to(sums.device, sums.dtype)
            for place, was_in, was_at in known:
                for new, before in zip((self._sums, self._weights, self._unseen), old, strict=True):
                    new[index][place] = before[was_in][was_at]

    def _set(self, index: int, place: int, total: float, weight: float, unseen: float) -> None:
        self._sums[index][place], self._weights[index][place], self._unseen[index][place] = total, weight, unseen


class Mean:
    """Mean over the weights of a group. It keeps the tensors' shares, since a copy to a device at each step costs time.

    >>> mean = Mean()
    >>> mean(torch.tensor([0.1, 0.4, math.nan]), [3, 1, 0]).item()
    0.17499999701976776
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._shares = torch.empty(0)

    def __call__(self, per_tensor: torch.Tensor, counts: list[int]) -> torch.Tensor:
        """Return the mean of the tensors' values; a tensor whose count is 0 does not take part."""
        key = (counts, per_tensor.device, per_tensor.dtype)
        if key != self._key:
            self._key = (list(counts), *key[1:])
            shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
            self._shares = shares.to(per_tensor.device, per_tensor.dtype, non_blocking=True)
        return torch.where(self._shares > 0, self._shares * per_tensor, 0.0).sum()


_Mark: TypeAlias = tuple[int, int]
_NO_STEPS: _Mark = (0, 0)


def _mark(momentum: torch.Tensor | None, steps: int) -> _Mark:
    """Return what tells one momentum from another: its identity and the number of its steps."""
    return (id(momentum), steps) if momentum is not None and steps else _NO_STEPS


def _zeros(size: int) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.float64)


def rate_of(group: dict[str, Any]) -> Rate:
    """Return a group's rate without waiting for the device; NaN if it has none."""
    rate = group.get("lr")
    if rate.__class__ is float:
        return rate
    if isinstance(rate, torch.Tensor) and not rate.is_cpu:
        return rate.detach().clone()  # a schedule changes it in place
    return math.nan if rate is None else float(rate)


def number(value: Any) -> float:  # Any: torch takes floats and tensors as a learning rate
    """Return a learning rate or an estimate as a float."""
    return float(value)
