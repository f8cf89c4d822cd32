"""From Settings to the real optimizer and its schedule."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from diffopt_widgets.catalogue.schedules import lr_scale, schedule_factor
from diffopt_widgets.settings import Fault, Settings, SettingsError
from diffopt_widgets.training.modes import train_mode

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

    from diffopt_widgets.catalogue.schema import OptimizerSpec
    from diffopt_widgets.catalogue.values import Value

_log = logging.getLogger(__name__)


class MissingBackend(ImportError):
    """The package or the device that an optimizer needs is not there; the message says how to get it."""

    def __init__(self, message: str, *, mend: Mapping[str, Value] | None = None) -> None:
        super().__init__(message)
        self.mend: Mapping[str, Value] = mend or {}
        """Values with which it is not needed, where there are such."""


def load_class(entry: OptimizerSpec) -> type[torch.optim.Optimizer]:
    """Import the class behind a catalogue entry.

    Raises:
        MissingBackend: its package is missing or too old.
    """
    module, _, name = entry.target.partition(":")
    try:
        with _quiet():
            found = importlib.import_module(module)
            return getattr(found, name)  # type: ignore[no-any-return]  # the catalogue names a class
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise MissingBackend(
            f"{entry.key} needs {entry.package}, which cannot be used here ({error}). "
            f"To mend it: pip install --upgrade {entry.package}"
        ) from error


def build_optimizer(
    settings: Settings,
    params: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
    *,
    batch_size: int = 1,
    accumulation: int = 1,
) -> torch.optim.Optimizer:
    """Build the optimizer that the settings describe, ready to step: one that has a train mode is in it.

    Args:
        settings: what to build.
        params: parameters, or parameter groups as torch takes them.
        batch_size: counted by the learning-rate scaler.
        accumulation: likewise.

    Raises:
        MissingBackend: its package, or the device that an option needs, is not there.
        SettingsError: the back end itself refuses the values.

    >>> parameter = torch.nn.Parameter(torch.ones(3))
    >>> type(build_optimizer(Settings("PRODIGY"), [parameter])).__name__
    'Prodigy'
    """
    entry = settings.spec
    refusals = (TypeError, ValueError, NotImplementedError, RuntimeError) if entry.catalogued else (Exception,)
    groups = list(params)
    _check_needs(settings, groups)
    lr = settings.lr * lr_scale(settings.lr_scaler, batch_size, accumulation)
    arguments = {name: _value(value) for name, value in entry.arguments(lr, settings.options).items()}
    cls = load_class(entry)
    try:
        with _quiet():
            optimizer = cls(groups, **arguments)  # type: ignore[arg-type]  # each back end has its own signature
    except refusals as error:
        raise SettingsError((_refusal(entry, error),)) from error
    train_mode(optimizer)
    return optimizer


def build_schedule(settings: Settings, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Build the schedule of the settings for a run of `steps` optimizer steps.

    Call its `step()` after each `optimizer.step()`. Past the end it stays at its last value; where that is 0, an optimizer
    that raises at a rate of 0 (DADAPT_SGD) cannot take another step.

    Raises:
        ValueError: `steps` is not at least 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; a schedule needs at least 1 step")

    def factor(step: int) -> float:
        return schedule_factor(
            settings.schedule,
            step,
            steps,
            warmup=settings.warmup,
            cycles=settings.cycles,
            min_factor=settings.min_factor,
        )

    return LambdaLR(optimizer, factor)


def _refusal(entry: OptimizerSpec, error: Exception) -> Fault:
    """What a back end's constructor raised; outside the catalogue it need not be about an option."""
    if entry.catalogued:
        return Fault(
            entry.key, None, f"{entry.package} refuses these settings: {error}", "", "Change the option named."
        )
    problem = f"it cannot be built with these settings and parameter groups: {type(error).__name__}: {error}"
    return Fault(entry.key, None, problem, "")


def _check_needs(settings: Settings, groups: list[Any]) -> None:  # Any: parameters or groups of them
    """Refuse an option whose device or process group is not there; the back ends would raise in the middle of a step."""
    flat = [p for g in groups for p in (g["params"] if isinstance(g, dict) else [g])]
    missing = {
        "cuda": "" if all(p.is_cuda for p in flat) else "an NVIDIA GPU, and these parameters are not on one",
        "distributed": "" if _in_process_group() else "a torch.distributed process group, and there is none",
    }
    for use in settings.spec.uses:
        if (why := missing.get(use.requires)) and settings.options[use.name] != use.default:
            raise MissingBackend(
                f"{settings.optimizer}'s {use.name} needs {why}. To mend it: set {use.name} back to its default",
                mend={use.name: use.default},
            )


def _in_process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _value(value: object) -> object:
    """A value as the back end takes it: `"torch.float32"` stands for the dtype."""
    return getattr(torch, value[6:]) if isinstance(value, str) and value.startswith("torch.") else value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a back end prints out of the user's cell; it goes to the log.

    bitsandbytes warns at import, on a CPU, that a kernel for 4-bit inference is missing; no optimizer uses it.
    """
    out = io.StringIO()
    backend = logging.getLogger("bitsandbytes")
    level = backend.level
    backend.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(out):
            yield
    finally:
        backend.setLevel(level)
    if text := out.getvalue().strip():
        _log.info("%s", text)
