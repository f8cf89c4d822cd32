"""Stack: losses and gradients of several trainings in one pass over their stacked weights; each steps with its own optimizer."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from diffopt_widgets.tasks import Problem

if TYPE_CHECKING:
    from diffopt_widgets.training.loop import Training

TRIAL_ROUNDS = 10
"""Number of steps that are computed in both ways before the faster way is chosen."""

EQUAL_ROUNDS = 3
"""Number of steps that are computed in both ways where only their numbers are compared."""

Gradients: TypeAlias = "list[Tensor | None]"


@runtime_checkable
class _InTwoParts(Problem, Protocol):
    """Problem whose loss is a function of its model and a batch: `loss(step, micro)` is `error(*batch(step, micro))`.

    The function is the same for all problems of a task, and neither it nor the model draws random numbers or keeps any.
    """

    model: nn.Module

    def batch(self, step: int, micro: int = 0) -> tuple[Tensor, ...]: ...

    def error(self, *batch: Tensor) -> Tensor: ...


def why_alone(training: Training) -> str:
    """Say why the gradients of a training cannot be computed together with those of others; empty if they can."""
    if training.own_task:
        return f"{training.plan.task} is a task of your own, whose loss may need more than its weights and a batch"
    if not isinstance(training.problem, _InTwoParts):
        return f"the loss of {training.plan.task} is not a function of its weights and a batch"
    if training.plan.settings.options.get("fused_back_pass"):
        return "fused_back_pass takes its steps inside a backward pass of its own"
    if any(_hooked(p) for p in training.problem.model.parameters()):
        return "its optimizer hooks into the backward pass"
    return ""


def _hooked(p: Tensor) -> bool:
    return bool(p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None))  # noqa: SLF001  # torch has no public way to see them


def kind_of(training: Training) -> tuple[object, ...]:
    """Return what trainings of one stack have in common."""
    plan = training.plan
    return plan.task, training.batch_size, plan.accumulation, plan.dtype, training.device


@dataclass
class _Trial:
    """Comparison of the two ways to compute."""

    rounds: int
    stacked: list[float] = field(default_factory=list)
    """Seconds for each training, by round."""
    alone: list[float] = field(default_factory=list)
    """Seconds for each training."""
    equal: bool = True


@dataclass(frozen=True)
class _Ready:
    """Loss and gradients of one training for its next step."""

    loss: Tensor
    gradients: Gradients
    trial: _Trial | None
    """The trial that compares them with those computed alone, which are then used."""


class Stack:
    """Trainings of one kind whose losses and gradients are computed together, each on its own batch.

    When one of them asks, the computation is for all that have none yet; so they should take their steps in turn. They may
    be at different steps. The first steps are a trial: they are computed in both ways and compared, and the gradients computed
    alone are used. When trainings join or leave there is another trial, since other shapes may be summed in another order.

    Args:
        only_equal: whether to give up if the trial shows other numbers, in any bit, or takes longer.
    """

    def __init__(self, *, only_equal: bool) -> None:
        self._only_equal = only_equal
        self._members: dict[Training, list[nn.Parameter]] = {}
        """Trainings with the parameters of their models."""
        self._ready: dict[Training, _Ready] = {}
        self._trial: _Trial | None = None
        self.equal = True
        """False when a trial showed other numbers than those of a training alone."""
        self.ratio: float | None = None
        """How many times as fast as alone it was in the last complete trial."""
        self.given_up = ""
        """Why trainings are computed alone from then on; empty while they are not."""

    def join(self, training: Training) -> None:
        """Add a training of the same kind."""
        training.stack, training.stacked, training.rounded = self, False, False
        self._members[training] = list(_model(training).parameters())
        self._begin_trial()

    def leave(self, training: Training) -> None:
        """Remove a training; it goes on alone."""
        training.stack = None
        del self._members[training]
        self._ready.pop(training, None)
        self._begin_trial()

    def _begin_trial(self) -> None:
        known = not self.equal and not self._only_equal
        self._trial = None if known else _Trial(TRIAL_ROUNDS if self._only_equal else EQUAL_ROUNDS)

    def backward(self, training: Training) -> Tensor:
        """Give a training the gradients of its next step, and return the loss."""
        if training not in self._ready and not self.given_up:
            self._compute(training)
        ready = self._ready.pop(training, None)
        if ready is None or self.given_up:
            return training.backward(training.taken)
        if ready.trial is not None:
            return self._alone(training, ready, ready.trial)
        for p, gradient in zip(self._members[training], ready.gradients, strict=True):
            p.grad = gradient
        training.stacked = True
        training.rounded |= not self.equal
        return ready.loss

    def _compute(self, asking: Training) -> None:
        """Compute losses and gradients for all that have none."""
        trial = self._trial
        if trial is not None and trial.stacked and (len(trial.stacked) == trial.rounds or not trial.equal):
            self._judge(trial)
        waiting = [one for one in self._members if one not in self._ready and one.taken < one.plan.steps]
        if len(waiting) < 2 or self.given_up:
            return
        trial = self._trial
        if trial is not None:
            _wait(asking.device)  # work from before is not part of what is compared
        began = time.perf_counter()
        try:
            computed = losses_and_gradients(waiting)
        except Exception as error:  # noqa: BLE001  # such as one of memory, of which each training alone needs less
            self.given_up = (
                f"computed together they fail ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            )
            return
        if trial is not None:
            _wait(asking.device)
        seconds = time.perf_counter() - began
        asking.seconds -= seconds  # the step of the one that asks is timed
        if trial is not None:
            trial.stacked.append(seconds / len(waiting))
        for training, (loss, gradients) in zip(waiting, computed, strict=True):
            self._ready[training] = _Ready(loss, gradients, trial)
            if trial is None:
                training.seconds += seconds / len(waiting)

    def _alone(self, training: Training, ready: _Ready, trial: _Trial) -> Tensor:
        """Compute gradients alone too, and compare."""
        _wait(training.device)
        began = time.perf_counter()
        loss = training.backward(training.taken)
        _wait(training.device)
        trial.alone.append(time.perf_counter() - began)
        alone = [loss, *(p.grad for p in self._members[training])]
        trial.equal &= all(map(_same_bits, alone, [ready.loss, *ready.gradients]))
        return loss

    def _judge(self, trial: _Trial) -> None:
        """Draw the conclusion of a trial."""
        self._trial = None
        self.equal &= trial.equal
        self.ratio = median(trial.alone) / median(trial.stacked)
        if self._only_equal and not self.equal:
            self.given_up = "computed together their gradients are rounded differently"
        elif self._only_equal and self.ratio <= 1:
            self.given_up = f"computed together they take {1 / self.ratio:.2f} times as long"


def losses_and_gradients(trainings: Sequence[Training]) -> list[tuple[Tensor, Gradients]]:
    """Compute loss and gradients of each training for its next step, in one pass over their stacked weights.

    The gradients are in the order of the model's parameters, each a tensor of its own; None for one that gets none.
    """
    problems: list[Any] = [training.problem for training in trainings]  # Any: `_InTwoParts`, as `why_alone` checks
    parts = trainings[0].plan.accumulation
    error = _Error(problems[0])
    models = [list(_model(training).parameters()) for training in trainings]
    names = [name for name, _ in error.named_parameters()]
    with torch.no_grad():
        weights = {name: torch.stack(same) for name, same in zip(names, zip(*models, strict=True), strict=True)}
    for name, p in error.named_parameters():
        weights[name].requires_grad_(p.requires_grad)

    def loss_of(own: dict[str, Tensor], batch: tuple[Tensor, ...]) -> Tensor:
        loss: Tensor = functional_call(error, own, batch)
        return loss

    seen = [(training.plan.seed, training.taken) for training in trainings]

    def backward(micro: int) -> Tensor:
        drawn = dict(zip(seen, problems, strict=True))  # with the same seed they see the same
        batch_of = {(seed, step): problem.batch(step, micro) for (seed, step), problem in drawn.items()}
        batches = tuple(map(torch.stack, zip(*map(batch_of.__getitem__, seen), strict=True)))
        losses: Tensor = vmap(loss_of)(weights, batches)
        if parts > 1:
            losses = losses / parts
        losses.backward(torch.ones_like(losses))  # type: ignore[no-untyped-call]  # torch does not annotate it
        return losses.detach()

    losses = functools.reduce(torch.add, map(backward, range(parts)))
    gradients = [w.grad for w in weights.values()]
    return [(losses[place], _own(gradients, place)) for place in range(len(trainings))]


def _own(gradients: Gradients, place: int) -> Gradients:
    """Copy the gradients of one training: a part of a stack may begin at any byte, for which some kernels sum in another order."""
    parts = [gradient[place] for gradient in gradients if gradient is not None]
    copies = iter(torch._foreach_mul(parts, 1.0))  # which changes no bit, and copies all tensors at once
    return [None if gradient is None else next(copies) for gradient in gradients]


class _Error(nn.Module):
    """Error of a problem as a module, whose weights can be replaced."""

    def __init__(self, problem: _InTwoParts) -> None:
        super().__init__()
        self.model = problem.model
        self._problem_error = problem.error

    def forward(self, *batch: Tensor) -> Tensor:
        return self._problem_error(*batch)


def _model(training: Training) -> nn.Module:
    model: nn.Module = training.problem.model  # type: ignore[attr-defined]  # as `why_alone` checks
    return model


def _same_bits(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    nothing = one.isnan()
    if not torch.equal(nothing, other.isnan()):
        return False
    numbers = [values.masked_fill(nothing, 0).flatten().view(torch.uint8) for values in (one, other)]
    return torch.equal(*numbers)


def _wait(device: torch.device) -> None:
    """Wait until a device has done all that it was told."""
    torch.zeros((), device=device).item()
