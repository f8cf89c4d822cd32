"""Checks that the bench's plain loop can train an optimizer, with the reason if it cannot."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING

from diffopt_widgets.optimizers.backends import trouble
from diffopt_widgets.optimizers.factory import load_class, missing_package
from diffopt_widgets.settings import Fault, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.optim import Optimizer

    from diffopt_widgets.catalogue.schema import OptimizerSpec

_SECOND_ORDER = (
    "its step differentiates the gradients once more, for which the loss must be propagated with "
    "backward(create_graph=True); the loop of the bench does not do that"
)


def check_step(entry: OptimizerSpec) -> None:
    """Check that an optimizer can step without an argument.

    Raises:
        SettingsError: its step needs one, such as the closure of LBFGS.
        MissingBackend: its class cannot be imported any more.

    >>> from diffopt_widgets import spec
    >>> check_step(spec("torch.optim:LBFGS"))
    Traceback (most recent call last):
    ...
    diffopt_widgets.settings.faults.SettingsError: torch.optim:LBFGS: it cannot be trained here: its step needs closure, ...
    """
    if entry.catalogued:
        return
    _, *arguments = inspect.signature(load_class(entry).step).parameters.values()
    needed = [a.name for a in arguments if a.default is a.empty and a.kind not in {a.VAR_POSITIONAL, a.VAR_KEYWORD}]
    if needed:
        raise _untrainable(
            entry,
            f"its step needs {' and '.join(needed)}, which the loop of the bench does not give: its steps have one loss "
            "each, computed before the step",
        )


def check_groups(entry: OptimizerSpec, optimizer: Optimizer) -> None:
    """Check that a schedule can set the optimizer's learning rate.

    Raises:
        SettingsError: its groups have none.
    """
    if any("lr" not in group for group in optimizer.param_groups):
        raise _untrainable(entry, "its parameter groups hold no learning rate (lr), which is what a schedule sets")


@contextlib.contextmanager
def explained(entry: OptimizerSpec) -> Iterator[None]:
    """Replace an error of the first step by one that says what to do, if the optimizer or its package is the cause.

    Raises:
        MissingBackend: the step raised, and the installed version of the package does not fit.
        SettingsError: the step of an optimizer outside the catalogue raised; the message has its text, and its meaning if
            that is known.
    """
    try:
        yield
    except Exception as error:
        if entry.catalogued:
            if trouble(entry):
                raise missing_package(entry, error) from error
            raise
        text = " ".join(str(error).split()) or "no message"
        known = _SECOND_ORDER if "does not have a grad_fn" in text else ""
        raise _untrainable(entry, known or f"its first step raises {type(error).__name__}: {text}") from error


def _untrainable(entry: OptimizerSpec, reason: str) -> SettingsError:
    return SettingsError((Fault(entry.key, None, f"it cannot be trained here: {reason}", ""),))
