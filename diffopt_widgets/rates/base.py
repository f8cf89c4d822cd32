"""Base of the readers of applied rates, called before and after each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.optim import Optimizer

    from diffopt_widgets.records import Grouped

Rate: TypeAlias = "float | torch.Tensor"
Rates: TypeAlias = "tuple[Rate, ...]"
Numbers: TypeAlias = "NDArray[np.float64]"
Values: TypeAlias = "Numbers | torch.Tensor"
"""Values of a group's tensors: numbers, or a vector on a device."""
Group: TypeAlias = Mapping[str, Any]  # Any: torch's own type of a parameter group


class LastStep(NamedTuple):
    """Record of a step, after which a training may have been resumed."""

    applied: tuple[float, ...]
    """Rate that it applied, by group."""
    d: float | None = None
    """Estimate that it used."""
    d_hat: float | None = None
    """Raw estimate that it made."""
    momentum: float | None = None
    """Size of the momentum that it left (`Averages.size`)."""

    def left(self, size: float) -> bool:
        """Return whether a momentum of this size is the one that the step left."""
        return self.momentum is not None and math.isclose(self.momentum, size, rel_tol=1e-9)


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
        """Take the average up to now from the record that the state continues, for a momentum with steps which were not seen.

        Records of another training must not be taken: what tells them apart is in the state.
        """

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
        self._sums: list[Values] = []
        """Weighted sums of the rates by group and tensor: numbers, or tensors on the device where the rates are."""
        self._weights: list[Numbers] = []
        """Sums of the weights."""
        self._unseen: list[Numbers] = []
        """Shares of unseen steps."""
        self._marks: dict[int, _Mark] = {}
        """Identity of each tensor's momentum, and the number of its steps, as the last step left them."""
        self._records: Sequence[LastStep] = ()
        self._continues: Callable[[LastStep], bool] = lambda _: False

    def look(self, groups: Sequence[Group]) -> None:
        """Look at the groups before a step: at new tensors, and at momenta that are not those of the last step."""
        tensors = [[id(p) for p in group["params"]] for group in groups]
        if tensors != self._tensors:
            self._arrange(tensors)
        recorded = self._recorded() if self._records else ()
        for index, group in enumerate(groups):
            for place, p in enumerate(group["params"]):
                momentum, steps = self._memory(p, group)
                if self._marks.get(id(p), _NO_STEPS) == (mark := _mark(momentum, steps)):
                    continue
                self._marks[id(p)] = mark
                unseen = mark != _NO_STEPS and self._holds(p, group)
                self._set(index, place, 0.0, 0.0, float(unseen))
                if unseen and len(recorded) == len(groups) and math.isfinite(average := recorded[index]):
                    weight = 1.0 - self._beta(group) ** steps
                    self._set(index, place, average * weight, weight, 0.0)

    def mark(self, groups: Sequence[Group]) -> None:
        """Note the momenta after a step, so that others are noticed before the next one."""
        self._marks = {id(p): _mark(*self._memory(p, group)) for group in groups for p in group["params"]}

    def put(self, index: int, rates: Rate, beta: float, moved: list[bool]) -> None:
        """Add the rates of one step of a group, one for all its tensors or one each, which then decay by `beta` per step.

        Only the tensors that the step moved take part.
        """
        sums, weights, unseen = self._sums[index], self._weights[index], self._unseen[index]
        if isinstance(rates, torch.Tensor):
            sums = _on(rates, sums)
        elif isinstance(sums, torch.Tensor):
            rates = torch.full_like(sums, rates)
        # The weights of all past steps decay, and with them what is not known of them.
        new = beta * sums + (1.0 - beta) * rates
        if all(moved):
            self._sums[index], self._weights[index] = new, beta * weights + (1.0 - beta)
            self._unseen[index] = beta * unseen
            return
        moves = np.array(moved, dtype=bool)
        if isinstance(new, torch.Tensor):
            new = torch.where(_on(new, moves.astype(float)) > 0, new, _on(new, sums))
        else:
            new = np.where(moves, new, sums)
        self._sums[index], self._weights[index] = new, np.where(moves, beta * weights + (1.0 - beta), weights)
        self._unseen[index] = np.where(moves, beta * unseen, unseen)

    def of(self, index: int) -> Values:
        """Return the averages of a group's tensors: 0 for one without steps, NaN for one that is not known yet."""
        sums, weights, unseen = self._sums[index], self._weights[index], self._unseen[index]
        divisors = np.where(unseen > self.LEAST, math.nan, np.where(weights > 0, weights, 1.0))
        if not isinstance(sums, torch.Tensor):
            return sums / divisors
        # Tensors of one history, as nearly all have, need no copy to the device.
        alike = len(divisors) and (divisors == divisors[0]).all()
        return sums / (float(divisors[0]) if alike else _on(sums, divisors))

    def weights(self, index: int) -> Numbers:
        """Return the sum of the weights of each tensor's steps in its momentum, which comes to 1 with many steps."""
        return self._weights[index]

    def recall(self, records: Sequence[LastStep], continues: Callable[[LastStep], bool]) -> None:
        """Use the averages of the record that the state continues where the next look finds unseen steps, unless several differ."""
        self._records, self._continues = records, continues

    def _recorded(self) -> tuple[float, ...]:
        """Return the average of each group that the records have; nothing if none fits, or several that differ."""
        fitting = [record.applied for record in self._records if self._continues(record)]
        self._records = ()
        first = fitting[0] if fitting else ()
        same = all(len(applied) == len(first) and np.allclose(applied, first, rtol=1e-6) for applied in fitting)
        return first if same else ()

    def size(self, groups: Sequence[Group]) -> float:
        """Return the sum of all magnitudes in the momenta, which tells one training from another; it waits for the device."""
        momenta = [self._memory(p, group)[0] for group in groups for p in group["params"]]
        sizes = [torch.linalg.vector_norm(m.detach(), 1, dtype=torch.float64) for m in momenta if m is not None]
        return math.fsum(float(size) for size in sizes)

    def saved(self) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Return all that is kept, for a checkpoint."""
        return [
            (torch.as_tensor(sums).clone(), torch.tensor(weights), torch.tensor(unseen))
            for sums, weights, unseen in zip(self._sums, self._weights, self._unseen, strict=True)
        ]

    def restore(self, saved: Sequence[Sequence[torch.Tensor]], groups: Sequence[Group]) -> None:
        """Restore what `saved` returned, for momenta that have been restored before.

        Raises:
            ValueError: it belongs to other groups.
        """
        if not saved:
            return
        if [len(sums) for sums, *_ in saved] != [len(group["params"]) for group in groups]:
            raise ValueError("the averages of past rates belong to other parameter groups")
        self._tensors = [[id(p) for p in group["params"]] for group in groups]
        # Numbers have 64 bits, and rates on a device the 32 that weights have there.
        self._sums = [sums.numpy() if sums.dtype is torch.float64 and sums.is_cpu else sums for sums, *_ in saved]
        self._weights, self._unseen = ([parts[at].cpu().numpy() for parts in saved] for at in (1, 2))
        self.mark(groups)

    def _arrange(self, tensors: list[list[int]]) -> None:
        """Make room for these tensors, and keep what is known of those that were there before."""
        places = {key: (index, place) for index, keys in enumerate(self._tensors) for place, key in enumerate(keys)}
        old = (self._sums, self._weights, self._unseen)
        self._tensors = tensors
        self._sums = [np.zeros(len(keys)) for keys in tensors]
        self._weights, self._unseen = ([np.zeros(len(keys)) for keys in tensors] for _ in range(2))
        for index, keys in enumerate(tensors):
            known = [(place, *places[key]) for place, key in enumerate(keys) if key in places]
            if known and isinstance(like := old[0][known[0][1]], torch.Tensor):
                self._sums[index] = _on(like, self._sums[index])
            for place, was_in, was_at in known:
                self._sums[index][place] = old[0][was_in][was_at]
                self._weights[index][place] = old[1][was_in][was_at]
                self._unseen[index][place] = old[2][was_in][was_at]

    def _set(self, index: int, place: int, total: float, weight: float, unseen: float) -> None:
        self._sums[index][place], self._weights[index][place], self._unseen[index][place] = total, weight, unseen


class Mean:
    """Mean over the weights of a group. It keeps the tensors' shares, since a copy to a device at each step costs time.

    >>> Mean()(np.array([0.25, 0.5, math.nan]), [3, 1, 0])
    0.3125
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._shares = torch.empty(0)

    def __call__(self, per_tensor: Values, counts: list[int]) -> Rate:
        """Return the mean of the tensors' values; a tensor whose count is 0 does not take part."""
        if isinstance(per_tensor, np.ndarray):
            return float(np.average(per_tensor[(weights := np.array(counts)) > 0], weights=weights[weights > 0]))
        key = (counts, per_tensor.device, per_tensor.dtype)
        if key != self._key:
            self._key = (list(counts), *key[1:])
            self._shares = _on(per_tensor, np.array(counts) / sum(counts))
        return torch.where(self._shares > 0, self._shares * per_tensor, 0.0).sum()


_Mark: TypeAlias = tuple[int, int]
_NO_STEPS: _Mark = (0, 0)


def _mark(momentum: torch.Tensor | None, steps: int) -> _Mark:
    """Return what tells one momentum from another: its identity and the number of its steps."""
    return (id(momentum), steps) if momentum is not None and steps else _NO_STEPS


def on_device(values: Values, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return values as a tensor on this device. Copying them may hold the host up, so it must be rare."""
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(values)
    if (tensor.device, tensor.dtype) == (device, dtype):
        return tensor
    return torch.empty(tensor.shape, dtype=dtype, device=device).copy_(tensor, non_blocking=True)


def _on(like: torch.Tensor, values: Values) -> torch.Tensor:
    return on_device(values, like.device, like.dtype)


def rate_of(group: Group) -> Rate:
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
