"""Training loop as a generator: it yields one StepRecord per step and does not know who reads them."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.optimizers.factory import MissingBackend, build_optimizer, build_schedule
from diffopt_widgets.optimizers.modes import eval_mode
from diffopt_widgets.optimizers.random_draws import RandomDraws
from diffopt_widgets.rates.applied import RateMeter
from diffopt_widgets.records import StepRecord
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.tasks import Samples, get_task, own_task, task_key
from diffopt_widgets.tasks.problems import check_loss, check_samples, groups_of
from diffopt_widgets.tasks.seeds import mix, seeded
from diffopt_widgets.training.environment import warn_of_warmup
from diffopt_widgets.training.measures import exact
from diffopt_widgets.training.numbers_of import numbers
from diffopt_widgets.training.trainable import check_groups, check_step, explained

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.settings import Settings
    from diffopt_widgets.tasks import ParameterGroup, Task
    from diffopt_widgets.training.stack import Stack

_SKETCH = 6
"""Key of an optimizer's stream of random numbers, which separates it from those of a task."""
_BUILD, _LOSS, _EVALUATION, _SAMPLES = 7, 8, 9, 10
"""Keys of the streams of random numbers of a user's task."""
SMALL_MODEL = 2_000_000
"""Number of parameters below which one CPU thread is faster than several (4 to 9 times, on two contended cores)."""


class Training:
    """Training of a plan: a fresh model, its optimizer and its schedule, on their device.

    Building it downloads nothing and does not use the global random state.

    Args:
        plan: the plan to train.

    Raises:
        UnknownTask: there is no such task.
        TypeError: what a user's task builds lacks something; the message says what.
        MissingBackend: the optimizer's package or the device is missing.
        SettingsError: the back end refuses the settings, or this loop cannot train such an optimizer.
    """

    sharded = False
    """True when the weights are divided among several processes."""

    def __init__(self, plan: RunPlan) -> None:
        task = get_task(plan.task)
        self.plan = plan
        self.device = find_device(plan.device)
        self.batch_size = plan.batch_size or task.batch_size
        self.own_task = own_task(plan.task) is not None
        """True for a task of the user's own."""
        dtype = getattr(torch, plan.dtype)
        with self._seeded_task(_BUILD, plan.seed):
            self.problem = task.build(plan.seed, self.device, self.batch_size, dtype)
        self.groups = self._placed(groups_of(task, self.problem, self.device, dtype, plan.accumulation))
        """The parts of the model, as the problem has them."""
        self._params = [p for group in self.groups for p in group.params]
        check_step(plan.settings.spec)
        self.optimizer = build_optimizer(
            plan.settings,
            [_with_names(group) for group in self.groups],
            batch_size=self.batch_size,
            accumulation=plan.accumulation,
        )
        check_groups(plan.settings.spec, self.optimizer)
        self.schedule = build_schedule(plan.settings, self.optimizer, plan.steps)
        self.group_names = tuple(str(group["name"]) for group in self.optimizer.param_groups)
        self.taken = 0
        """Number of steps taken."""
        self.stack: Stack | None = None
        """What computes its gradients together with those of other trainings; None where it does that alone."""
        self.stacked = False
        """True when it has taken a step with gradients that its stack computed together with those of others."""
        self.rounded = False
        """True when that was so though the stack had seen that they are rounded differently than alone."""
        self.torn = False
        """True when an exception has interrupted a step: the training cannot be resumed then."""
        self.seconds = 0.0
        """Training time so far. Code that waits for the device elsewhere adds its time here."""
        self.sampling_seconds = 0.0
        """Time that the last call of `samples` took."""
        self.evaluation_seconds = 0.0
        """Time that the last call of `evaluate` took."""
        self.meter = RateMeter(self.optimizer, fused=bool(plan.settings.options.get("fused_back_pass")))
        """Reader of the rates that the steps apply."""
        self._draws = RandomDraws(plan.settings, plan.dtype, self._params[0].device)
        self._norms: dict[torch.Tensor, torch.Tensor] = {}
        if plan.grad_norm and plan.settings.options.get("fused_back_pass"):
            self._note_norms()
        self.weights = sum(p.numel() for p in self._params)
        """Number of weights that it trains."""
        self._few_threads = self.device.type == "cpu" and self.weights < SMALL_MODEL

    def _placed(self, groups: tuple[ParameterGroup, ...]) -> tuple[ParameterGroup, ...]:
        """Return the parts of the model with the parameters as the optimizer gets them."""
        return groups

    def steps(self) -> Iterator[StepRecord]:
        """Take the remaining steps, and yield a record after each; losses and norms may still be on the device.

        When it is closed and called again, it continues after the last step.

        Raises:
            RuntimeError: a step was interrupted before.
        """
        while self.taken < self.plan.steps:
            if self.torn:
                raise RuntimeError(f"step {self.taken + 1} was interrupted in the middle; train again from the start")
            began = time.perf_counter()
            self.torn = True
            with self.compute():
                record = self._step(self.taken)
            self.taken, self.torn = self.taken + 1, False
            self.seconds += time.perf_counter() - began
            yield replace(record, seconds=self.seconds)

    def _step(self, step: int) -> StepRecord:
        meter = self.meter
        lr = tuple(float(group["lr"]) for group in self.optimizer.param_groups)
        meter.before()  # a fused back pass moves the weights inside backward
        explaining = self._explained(step)
        with self._draws.seeded(mix(_SKETCH, self.plan.seed, step)):
            loss = self.backward(step) if self.stack is None else self.stack.backward(self)
            grad_norm = self._grad_norm() if self.plan.grad_norm else None
            with explaining:
                self.optimizer.step()
        applied = meter.after()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepRecord(step + 1, 0.0, loss, lr, applied, meter.d, meter.d_hat(), grad_norm)

    def _explained(self, step: int) -> AbstractContextManager[None]:
        """Return a context for a step of the optimizer, in which an error of the first one says what to do."""
        return explained(self.plan.settings.spec) if step == 0 else contextlib.nullcontext()

    def backward(self, step: int) -> torch.Tensor:
        """Compute the gradients of a step, and return its loss."""
        parts = self.plan.accumulation
        total = self._loss(step)
        if parts > 1:
            total = total / parts
        total.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        total = total.detach()
        for micro in range(1, parts):
            part = self._loss(step, micro) / parts
            part.backward()  # type: ignore[no-untyped-call]
            total = total + part.detach()
        return total

    def _loss(self, step: int, micro: int = 0) -> torch.Tensor:
        with self._seeded_task(_LOSS, self.plan.seed, step, micro):
            loss = self.problem.loss(step, micro) if micro else self.problem.loss(step)
        if step == 0:
            check_loss(self.plan.task, loss)
        return loss

    def _seeded_task(self, *parts: int) -> AbstractContextManager[None]:
        """Give a user's task torch's global generators with a seed of its own: it draws the same in every run.

        The bench's tasks draw from none.
        """
        return seeded(mix(*parts), self.device) if self.own_task else contextlib.nullcontext()

    def _grad_norm(self) -> torch.Tensor:
        grads = [p.grad for p in self._params if p.grad is not None]
        freed = [self._norms.pop(p) for p in self._params if p in self._norms]
        norm: torch.Tensor = torch.linalg.vector_norm(
            torch.stack(freed or torch._foreach_norm(grads, 2, exact(grads[0])))
        )
        return norm

    def _note_norms(self) -> None:
        """Compute the norm of each gradient when it is ready, before a fused back pass frees it."""

        def note(p: torch.Tensor, gradient: torch.Tensor) -> None:
            self._norms[p] = torch.linalg.vector_norm(gradient, dtype=exact(gradient))

        for p in self._params:
            if p.requires_grad:
                p.register_hook(functools.partial(note, p))  # type: ignore[no-untyped-call]  # torch does not annotate it

    def evaluate(self) -> float:
        """Return the loss on the fixed evaluation set; this changes nothing, and waits for the device."""
        began = time.perf_counter()
        with self.compute(), eval_mode(self.optimizer), self._seeded_task(_EVALUATION):
            loss = float(self.problem.evaluate())
        self.evaluation_seconds = time.perf_counter() - began
        return loss

    @property
    def makes_samples(self) -> bool:
        """True where the model of this task makes samples."""
        return hasattr(self.problem, "samples")

    def samples(self) -> Samples | None:
        """Make samples with the present model, from the same noise each time; this changes nothing, and waits.

        Returns:
            None where the task makes none.
        """
        if not self.makes_samples:
            return None
        began = time.perf_counter()
        with self.compute(), eval_mode(self.optimizer), self._seeded_task(_SAMPLES):
            samples = check_samples(self.plan.task, "samples", self.problem)
        self.sampling_seconds = time.perf_counter() - began
        return samples

    def wanted(self) -> Samples | None:
        """Return real examples to compare the samples with; None where the task has none."""
        if not self.makes_samples or not hasattr(self.problem, "wanted"):
            return None
        with self._seeded_task(_SAMPLES):
            return check_samples(self.plan.task, "wanted", self.problem)

    @contextlib.contextmanager
    def compute(self) -> Iterator[None]:
        """Run a small model on one CPU thread; the user's own number of threads is restored afterwards."""
        if not self._few_threads:
            yield
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@lists_run_options
def stream(
    settings: Settings | str,
    task: str | Task = RunOptions.task,
    steps: int = RunOptions.steps,
    **options: Unpack[RunKeywords],
) -> Iterator[StepRecord]:
    """Train and yield a `StepRecord` after each step; its values are numbers, so reading waits for the device.

    Args:
        settings: the optimizer with its options, and the schedule; or the name of an optimizer for its defaults.
        options: those of the run by name, as `RunOptions` has them.

    Raises:
        SettingsError: an argument cannot be used.
        UnknownTask: there is no such task.

    >>> from diffopt_widgets import Settings
    >>> losses = [record.loss for record in stream(Settings("ADAMW", lr=1e-3), task="swiss_roll", steps=3)]
    >>> len(losses)
    3
    """
    plan = RunPlan.of(settings, task_key(task), steps, **options)
    warn_of_warmup([plan])
    return _streamed(plan)


def _streamed(plan: RunPlan) -> Iterator[StepRecord]:
    for record in Training(plan).steps():
        yield from fetch([record])


def fetch(records: Sequence[StepRecord]) -> list[StepRecord]:
    """Replace every tensor in the records by its number, copied from the device all together."""
    waiting: list[torch.Tensor] = []

    def number(value: object) -> object:
        """Replace a tensor by its place in `waiting`; keep numbers."""
        if isinstance(value, torch.Tensor):
            waiting.append(value)
            return _Place(len(waiting) - 1)
        return value

    def with_places(value: object) -> object:
        if isinstance(value, Mapping):
            return {name: with_places(part) for name, part in value.items()}
        return tuple(number(part) for part in value) if isinstance(value, tuple) else number(value)

    names = [field.name for field in fields(StepRecord)]
    rows = [
        {name: with_places(value) for name in names if (value := getattr(record, name)) is not None}
        for record in records
    ]
    values: list[float] = numbers(waiting).tolist()

    def with_numbers(value: object) -> object:
        if isinstance(value, dict):
            return {name: with_numbers(part) for name, part in value.items()}
        if isinstance(value, tuple):
            return tuple(with_numbers(part) for part in value)
        return values[value] if isinstance(value, _Place) else value

    return [StepRecord(**{name: with_numbers(value) for name, value in row.items()}) for row in rows]  # type: ignore[arg-type]


def _with_names(group: ParameterGroup) -> dict[str, Any]:
    """Make a named parameter group of a part of a model; its parameters keep their names if they have any."""
    params = list(zip(group.names, group.params, strict=True)) if group.names else list(group.params)
    return {"params": params, "name": group.name}


class _Place(int):
    """Index of a value that is still to be fetched."""


def find_device(name: str) -> torch.device:
    """Return the device of this name; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        MissingBackend: the device is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    present = [kind for kind, is_available in available.items() if is_available]
    if name == "auto":
        return torch.device(present[0])
    if name not in present:
        kinds = ", ".join(present)
        raise MissingBackend(f"there is no device {name!r} here; there is {kinds}. To fix it: choose auto or {kinds}")
    return torch.device(name)
