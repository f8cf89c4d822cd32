"""Sharded training: one training in several processes, each of which holds a part of every weight, gradient and state.

The weights are divided by torch's own FSDP2 (`torch.distributed.fsdp.fully_shard`). The first process decides what comes next
(a step, an evaluation, samples) and tells the others, so only it needs to know about records, interrupts and the clock.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.tasks import ParameterGroup
from diffopt_widgets.training.loop import Training

if TYPE_CHECKING:
    from torch.distributed.tensor import Shard

    from diffopt_widgets.records import StepRecord
    from diffopt_widgets.settings.plan import RunPlan
    from diffopt_widgets.tasks import Samples

WAIT = timedelta(minutes=10)
"""Longest time for which a process waits for the others."""

APART = 1e-5
"""Relative difference from which on the estimates of two processes have drifted apart: rounding makes less."""


class _Order(IntEnum):
    """Next thing for all processes to do."""

    END, STEP, EVALUATE, SAMPLES, COMPARE = range(5)


class ShardedTraining(Training):
    """Training of a plan together with the other processes of torch's default process group.

    Each batch is divided among the processes, and a record has the loss over the whole batch. The first process takes `steps`
    as of any training and calls `end` at last; the others call `follow`.

    Raises:
        TypeError: the task has no model that FSDP can divide.
        Exception: any error of building a `Training`.
    """

    sharded = True

    def __init__(self, plan: RunPlan) -> None:
        self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        self._line = dist.new_group(backend="gloo", timeout=WAIT)
        """Group for orders, which pass through the CPU and so do not wait for a GPU."""
        super().__init__(plan)

    def _placed(self, groups: tuple[ParameterGroup, ...]) -> tuple[ParameterGroup, ...]:
        """Divide the weights among the processes, and the batches of a problem that can give a part of them."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        model = getattr(self.problem, "model", None)
        if not isinstance(model, torch.nn.Module):
            raise _undivided(self.plan.task, "what it built has no `model`, a torch.nn.Module")
        names = {p: name for name, p in model.named_parameters()}
        if any(p not in names for group in groups for p in group.params):
            raise _undivided(self.plan.task, "some of its parameters are not in its `model`")
        self._model = model
        if not isinstance(model, FSDPModule):  # a task may divide its blocks itself
            mesh = init_device_mesh(self.device.type, (self.processes,))
            fully_shard(model, mesh=mesh, shard_placement_fn=self._divided_along)
        if callable(take_part := getattr(self.problem, "take_part", None)):
            take_part(self.rank, self.processes)
        parts = dict(model.named_parameters())
        return tuple(replace(group, params=tuple(parts[names[p]] for p in group.params)) for group in groups)

    def _divided_along(self, p: torch.nn.Parameter) -> Shard | None:
        """Return the dimension along which a weight is divided; None for the first one, as is usual.

        One of size 1 would go to the first process whole, and Prodigy and D-Adaptation could not flatten it.
        """
        from torch.distributed.tensor import Shard

        for dim, size in enumerate(p.shape):
            if size > 1:
                return Shard(dim) if dim and size % self.processes == 0 else None
        return None

    def _step(self, step: int) -> StepRecord:
        self._order(_Order.STEP)
        with cuda_means_here(self.device):
            record = super()._step(step)
        loss = torch.as_tensor(record.loss).clone()
        dist.all_reduce(loss)
        rates = {name: _all_whole(getattr(record, name)) for name in ("applied_lr", "d", "d_hat")}
        return replace(record, loss=loss / self.processes, **rates)

    @contextlib.contextmanager
    def _explained(self, step: int) -> Iterator[None]:
        try:
            with super()._explained(step):
                yield
        except Exception as error:
            if not _of_divided(error):
                raise
            text = " ".join(str(error).split()).partition(". ")[0].removesuffix(".")
            why = f"{type(error).__name__}: {text}" if text else type(error).__name__
            problem = f"its step cannot work on weights that are divided among processes ({why})"
            todo = "Train it with dw.train, or choose another, such as ADAMW."
            raise SettingsError((Fault(self.plan.settings.optimizer, None, problem, "", todo),)) from error

    def _grad_norm(self) -> torch.Tensor:
        return whole(super()._grad_norm())

    def evaluate(self) -> float:
        """Return the loss on the fixed evaluation set, which every process computes in full."""
        self._order(_Order.EVALUATE)
        with self._divided_again():
            return super().evaluate()

    def samples(self) -> Samples | None:
        """Make samples, as every process does at the same time."""
        self._order(_Order.SAMPLES)
        with self._divided_again():
            return super().samples()

    @contextlib.contextmanager
    def _divided_again(self) -> Iterator[None]:
        """Divide the weights at the end, which FSDP keeps whole after a forward pass, and would then use for the next one.

        By then they may be others: a schedule-free optimizer evaluates with other weights than it trains.
        """
        from torch.distributed.fsdp import FSDPModule

        try:
            yield
        finally:
            for module in self._model.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()

    def difference(self) -> str:
        """Say how far the processes' own estimates of the rate have drifted apart; empty where they agree, or there are none."""
        self._order(_Order.COMPARE)
        d = self.meter.d
        own = [] if d is None else [float(each) for each in (d if isinstance(d, tuple) else (d,))]
        all_of: list[list[float]] = [[] for _ in range(self.processes)]
        dist.all_gather_object(all_of, own, group=self._line)
        for values in zip(*all_of, strict=True):
            low, high = min(values), max(values)
            if high - low > APART * abs(high):
                return f"its processes drifted apart: d ended at {low:.3g} in one and at {high:.3g} in another"
        return ""

    def end(self) -> None:
        """Let the other processes end; in the first one."""
        self._order(_Order.END)

    def follow(self) -> None:
        """Do what the first process orders until it ends; in the others."""
        steps = self.steps()
        while (order := self._ordered()) is not _Order.END:
            if order is _Order.STEP:
                next(steps)
            elif order is _Order.EVALUATE:
                self.evaluate()
            elif order is _Order.SAMPLES:
                self.samples()
            else:
                self.difference()

    def _order(self, order: _Order) -> None:
        if self.rank == 0:
            dist.broadcast(torch.tensor(int(order)), 0, group=self._line)

    def _ordered(self) -> _Order:
        order = torch.tensor(0)
        dist.broadcast(order, 0, group=self._line)
        return _Order(int(order))


def _of_divided(error: Exception) -> bool:
    """Return whether an error comes from an operation on divided tensors (DTensor)."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return "DTensor" in str(error) or any("/distributed/tensor/" in Path(frame.filename).as_posix() for frame in frames)


def missing() -> str:
    """Describe what torch lacks for training in several processes; empty if it has all."""
    if not (dist.is_available() and dist.is_gloo_available()):
        return "this build of torch has no gloo, by which processes talk to each other"
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: F401  # whether it is there
    except ImportError:
        return f"torch {torch.__version__} has no fully_shard (FSDP2), which came with version 2.6"
    return ""


def loopback() -> str:
    """Return the name of the interface that reaches this machine only; empty where it has none that gloo knows by name."""
    import psutil

    interfaces = {} if os.name == "nt" else psutil.net_if_addrs()
    names = (name for name, uses in interfaces.items() if any(use.address == "127.0.0.1" for use in uses))
    return next(names, "")


def whole(value: torch.Tensor) -> torch.Tensor:
    """Return the whole of a tensor that is divided among processes, and any other as it is; in all processes at once."""
    full: torch.Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full


def _all_whole(value: object) -> Any:  # Any: of the same kind
    if isinstance(value, tuple):
        return tuple(map(_all_whole, value))
    return whole(value) if isinstance(value, torch.Tensor) else value


def _undivided(task: str, why: str) -> TypeError:
    return TypeError(f"the task {task!r} cannot be divided among processes: {why}")


@contextlib.contextmanager
def cuda_means_here(device: torch.device) -> Iterator[None]:
    """Have `.cuda()` leave a tensor on the CPU during a step there.

    Prodigy and D-Adaptation call it on the tensor whose values they add up over the processes, also where those train on CPUs.
    """
    if device.type != "cpu":
        yield
        return
    cuda = torch.Tensor.cuda
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor  # type: ignore[method-assign]  # in this process only
    try:
        yield
    finally:
        torch.Tensor.cuda = cuda  # type: ignore[method-assign]
