"""Checks of what a task builds, before it is trained: an error says what is missing and what is allowed."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from diffopt_widgets.tasks.task import ParameterGroup, Samples

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.tasks.task import Problem, Task

_NEEDED = (
    "loss(step, micro=0), evaluate(), and its parameters as model or groups; samples() and wanted() if it makes samples"
)


def groups_of(
    task: Task, problem: Problem, device: torch.device, dtype: torch.dtype, accumulation: int = 1
) -> tuple[ParameterGroup, ...]:
    """Return the parameters that a problem trains, by part.

    Args:
        task: what built it.
        problem: what was built.
        device: where its parameters must be.
        dtype: precision that some of them must be in.
        accumulation: batches per step; with several, `loss` must take the part of a batch.

    Raises:
        TypeError: something is missing, or is of another kind than the loop needs.
    """
    missing = [f"{name}()" for name in ("loss", "evaluate") if not callable(getattr(problem, name, None))]
    if not hasattr(problem, "groups") and not hasattr(problem, "model"):
        missing.append("model or groups")
    if missing:
        raise _wrong(
            task.key,
            f"build must return an object with {_NEEDED}. It returned a {type(problem).__name__} without "
            f"{' and without '.join(missing)}",
        )
    if accumulation > 1 and not _takes(problem, 0, 1):
        raise _wrong(
            task.key,
            f"its loss takes no second argument, so batches cannot be accumulated over {accumulation} parts: define "
            "loss(self, step, micro=0), or set accumulation to 1",
        )
    groups = _stated(task.key, problem) if hasattr(problem, "groups") else _whole(task.key, problem)
    params = [p for group in groups for p in group.params]
    if not any(p.requires_grad for p in params):
        raise _wrong(task.key, "what it built has no parameter that trains (with requires_grad)")
    if not any(p.dtype is dtype for p in params):
        raise _wrong(task.key, f"none of its parameters is in {dtype}, which the run asks for: model.to(device, dtype)")
    if elsewhere := {p.device.type for p in params} - {device.type}:
        there = " and ".join(sorted(elsewhere))
        raise _wrong(
            task.key, f"it has parameters on {there}, and the run is on {device.type}: model.to(device, dtype)"
        )
    return groups


def check_loss(key: str, loss: object) -> None:
    """Refuse what cannot be propagated back.

    Raises:
        TypeError: it is no tensor with one number and a graph.
    """
    import torch

    if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.requires_grad:
        return
    if not isinstance(loss, torch.Tensor):
        what = f"a {type(loss).__name__}"
    elif loss.numel() != 1:
        what = f"a tensor of shape {tuple(loss.shape)}; take its mean"
    else:
        what = "a tensor without a graph; leave detach(), item() and no_grad() out"
    raise _wrong(
        key,
        f"loss must return a tensor with one number, from which backward() reaches the parameters. It returned {what}",
    )


def check_samples(key: str, name: str, problem: Problem) -> Samples:
    """Ask a problem for its `samples` or its `wanted`.

    Raises:
        TypeError: they are no `Samples`.
    """
    made = getattr(problem, name)()
    if not isinstance(made, Samples):
        raise _wrong(key, f"{name} must return diffopt_widgets.tasks.Samples. It returned a {type(made).__name__}")
    return made


def _takes(problem: Problem, *arguments: int) -> bool:
    try:
        inspect.signature(problem.loss).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # a callable without a signature that can be read
        return True
    return True


def _stated(key: str, problem: Problem) -> tuple[ParameterGroup, ...]:
    groups = tuple(getattr(problem, "groups"))  # noqa: B009  # not of every problem
    if not groups or not all(isinstance(group, ParameterGroup) for group in groups):
        raise _wrong(
            key,
            "groups must be a tuple of diffopt_widgets.tasks.ParameterGroup(name, params, names); or leave it out and have the "
            "model in model",
        )
    return groups


def _whole(key: str, problem: Problem) -> tuple[ParameterGroup, ...]:
    import torch

    model = getattr(problem, "model")  # noqa: B009  # as above
    if not isinstance(model, torch.nn.Module):
        raise _wrong(key, f"model must be a torch.nn.Module, and it is a {type(model).__name__}; or give groups")
    named = dict(model.named_parameters())
    return (ParameterGroup("model", tuple(named.values()), tuple(named)),)


def _wrong(key: str, problem: str) -> TypeError:
    return TypeError(f"the task {key!r} cannot be trained: {problem}")
