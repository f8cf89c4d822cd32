"""Factory that builds the optimizer and its schedule from Settings."""

from __future__ import annotations

import contextlib
import importlib
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import LambdaLR

from diffopt_widgets.catalogue.schedules import lr_scale, schedule_factor
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.optimizers.adapters import adapt
from diffopt_widgets.optimizers.backends import trouble, upgrade
from diffopt_widgets.optimizers.compiled import compiler_trouble
from diffopt_widgets.optimizers.group_values import refuse_ignored, with_group_values
from diffopt_widgets.optimizers.groups import Group, OptimizerParams, muon_groups, read_groups, without_names
from diffopt_widgets.optimizers.modes import train_mode
from diffopt_widgets.optimizers.printing import keep_printing_of, kept_printing
from diffopt_widgets.optimizers.quirks import quirks_of
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings import Fault, Settings, SettingsError, as_settings, kind_of, whole_number
from diffopt_widgets.settings.plan import accumulation_fault

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

    from diffopt_widgets.catalogue.schema import OptimizerSpec
    from diffopt_widgets.catalogue.values import Value

_log = logging.getLogger(__name__)


@printed_readably
class MissingBackend(ImportError):
    """Error for an optimizer whose package, device or precision is missing; the message names the fix."""

    def __init__(self, message: str, *, fix: Mapping[str, Value] | None = None) -> None:
        super().__init__(message)
        self.fix: Mapping[str, Value] = fix or {}
        """Values that avoid the need; empty if there are none."""


def load_class(entry: OptimizerSpec) -> type[torch.optim.Optimizer]:
    """Import the class behind a catalogue entry.

    Raises:
        MissingBackend: its package is missing or too old.
    """
    module, _, name = entry.target.partition(":")
    try:
        with _quiet():
            cls: type[torch.optim.Optimizer] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        raise missing_package(entry, error) from error
    if entry.catalogued:  # any other class is the user's own, and prints where the user's code does
        keep_printing_of(cls)
    return cls


def missing_package(entry: OptimizerSpec, error: Exception) -> MissingBackend:
    """Make the error for an optimizer whose package is missing, or whose version of it caused an error."""
    known = trouble(entry)
    reason, fix = (known.reason, known.fix) if known else (error, upgrade(entry.package))
    return MissingBackend(f"{entry.key} needs {entry.package}, which cannot be used here ({reason}). To fix it: {fix}")


def build_optimizer(
    settings: Settings | str,
    params: OptimizerParams | torch.nn.Module,
    *,
    batch_size: int = 1,
    accumulation: int = 1,
) -> torch.optim.Optimizer:
    """Build the optimizer that the settings describe, ready to step; one with modes is in train mode.

    Args:
        settings: of the optimizer, or the name of one for its defaults.
        params: a model, or parameters, `(name, parameter)` pairs as from `model.named_parameters()`, or parameter groups with either,
            as torch takes them. Muon's family finds the hidden layers by these names, and without names by shape alone. It
            splits each group in two, one for Muon and one for the auxiliary Adam, and names them so in `name`. A group
            may bring options of its own, such as `lr` or `beta2`.
        batch_size: used by the learning-rate scaler.
        accumulation: likewise.

    Raises:
        MissingBackend: its package, or the device or precision that an option needs, is missing.
        SettingsError: the back end itself refuses the values, or they do not fit these parameters or accumulation; or
            `params` holds no parameters, or one of them twice.

    >>> parameter = torch.nn.Parameter(torch.ones(3))
    >>> type(build_optimizer(Settings("PRODIGY"), [parameter])).__name__
    'Prodigy'
    """
    settings = as_settings(settings)
    batch_size = whole_number("batch_size", batch_size, 1)
    accumulation = whole_number("accumulation", accumulation, 1)
    entry = settings.spec
    refusals = (TypeError, ValueError, NotImplementedError, RuntimeError) if entry.catalogued else (Exception,)
    groups, grouped = read_groups(params)
    if fault := accumulation_fault(settings.options, accumulation):
        raise SettingsError((fault,))
    options = {**settings.options, **_idle(settings, groups)}
    groups = with_group_values(entry, options, groups)
    scale = lr_scale(settings.lr_scaler, batch_size, accumulation)
    lr = settings.lr * scale
    if entry.rates != "each":
        _check_rates(entry, [float(group.own.get("lr", lr)) for group in groups])
    back_end_params = (
        muon_groups(settings, groups, scale) if entry.auxiliary else without_names(groups, grouped=grouped)
    )
    arguments = entry.arguments(lr, options)
    if entry.catalogued:  # for other classes a text is passed unchanged
        arguments = {name: argument_value(value) for name, value in arguments.items()}
    cls = load_class(entry)
    try:
        with _quiet():
            optimizer = cls(back_end_params, **arguments)  # type: ignore[arg-type]  # each back end has its own signature
    except IndexError as error:
        if all(group.params for group in groups):
            raise
        raise SettingsError((_empty_group(entry),)) from error
    except refusals as error:
        if trouble(entry):
            raise missing_package(entry, error) from error  # another version may have other arguments
        raise SettingsError((_refusal(entry, error),)) from error
    refuse_ignored(entry, optimizer, groups)
    train_mode(optimizer)
    quirks_of(entry.package).prepare(optimizer, settings)
    adapt(optimizer, **entry.adapter_options(settings.options))  # type: ignore[arg-type]  # each was checked by its option
    return optimizer


def build_schedule(settings: Settings | str, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """Build the schedule of the settings for a run of `steps` optimizer steps.

    Call its `step()` after each `optimizer.step()`. After the end it stays at its last value. If that is 0, an optimizer
    that raises at a rate of 0 (DADAPT_SGD) cannot take another step. A group that is added to the optimizer later has its own
    rate up to the schedule's next `step()`, and from then on the schedule's share of it.

    Raises:
        SettingsError: an argument is not what it should be, or `steps` is not at least 1.
    """
    settings = as_settings(settings)
    steps = whole_number("steps", steps, 1)
    _check_optimizer(optimizer)

    def factor(step: int) -> float:
        return schedule_factor(
            settings.schedule,
            step,
            steps,
            warmup=settings.warmup,
            cycles=settings.cycles,
            min_factor=settings.min_factor,
        )

    return _RunSchedule(optimizer, factor)


class _RunSchedule(LambdaLR):
    """Schedule that goes on when groups are added or removed, where torch's own one raises."""

    def get_lr(self) -> list[float | torch.Tensor]:
        groups, known = self.optimizer.param_groups, self.base_lrs
        if len(groups) != len(known):
            # torch notes the rate that a group began with in the group itself; an added one begins with its present one.
            present = [*known, *(_copy(group["lr"]) for group in groups[len(known) :])]
            self.base_lrs = [group.setdefault("initial_lr", rate) for group, rate in zip(groups, present, strict=False)]
        self.lr_lambdas = self.lr_lambdas[:1] * len(groups)
        return super().get_lr()


def _copy(rate: float | torch.Tensor) -> float | torch.Tensor:
    """Return a rate that the schedule does not change: it changes a tensor in place."""
    return rate.clone() if isinstance(rate, torch.Tensor) else rate


def _empty_group(entry: OptimizerSpec) -> Fault:
    """Make the fault for a back end that looks at the first tensor of a group that has none."""
    problem = "a parameter group has no parameters, and this optimizer needs some in it from the beginning"
    return Fault(entry.key, None, problem, "", "Leave the empty group out; was everything in it frozen?")


def _check_optimizer(optimizer: object) -> None:
    if not isinstance(getattr(optimizer, "param_groups", None), list):
        problem = f"an optimizer is wanted, and this is {kind_of(optimizer)}"
        raise SettingsError((Fault("optimizer", None, problem, "", "Write dw.build_optimizer(settings, model)."),))


def _refusal(entry: OptimizerSpec, error: Exception) -> Fault:
    """Make a fault from an error of a back end's constructor; outside the catalogue it may not concern an option."""
    if entry.catalogued:
        return Fault(
            entry.key,
            None,
            f"{entry.package} refuses these settings: {error}",
            "",
            "Change the option that the message names.",
        )
    problem = f"it cannot be built with these settings and parameter groups: {type(error).__name__}: {error}"
    return Fault(entry.key, None, problem, "")


def _idle(settings: Settings, groups: list[Group]) -> dict[str, Value]:
    """Return defaults for the options that do nothing here, after the log has told them.

    Raises:
        MissingBackend: an option lacks what it requires, and the back end would raise in the middle of a step.
    """
    flat: list[torch.Tensor] = [p for group in groups for p in group.params]
    idle: dict[str, Value] = {}
    for use in settings.spec.asking(settings.options):
        if why := _missing(use.requires, flat):
            if use.idle:
                idle[use.name] = use.default
                if use.argument:  # `adapt` tells of the others
                    _log.warning("%s's %s does nothing: it needs %s", settings.optimizer, use.name, why)
                continue
            raise MissingBackend(
                f"{settings.optimizer}'s {use.name} needs {why}. To fix it: set {use.name} back to its default",
                fix={use.name: use.default},
            )
    return idle


def _check_rates(entry: OptimizerSpec, rates: list[float]) -> None:
    """Refuse rates by group that raise in the first step, or that the back end ignores."""
    different = {rate for rate in rates if rate != 0 or entry.rates == "first"}
    if len(different) < 2:
        return
    text = " and ".join(format_value(rate) for rate in dict.fromkeys(rates))
    consequence = "would raise" if entry.rates == "one" else "would use the first group's for all"
    raise SettingsError(
        (
            Fault(
                "lr",
                None,
                f"{entry.key} needs one learning rate for all parameter groups, and these have {text}: it {consequence}",
                "",
                "Leave lr out of the groups; or choose PRODIGY_ADV, where each may have its own, or give each part an "
                "optimizer of its own.",
            ),
        )
    )


def _missing(need: str, params: list[torch.Tensor]) -> str:
    """Describe a missing requirement; empty if it is met."""
    match need:
        case "cuda":
            return "" if all(p.is_cuda for p in params) else "an NVIDIA GPU, and these parameters are not on one"
        case "compiler":
            return compiler_trouble({p.device for p in params})
        case "bfloat16":
            is_met = any(p.dtype is torch.bfloat16 for p in params)
            lacking = 'weights in bfloat16, and these are not; a run of the bench has them with dtype="bfloat16"'
            return "" if is_met else lacking
        case _:
            return "" if _in_process_group() else "a torch.distributed process group, and there is none"


def _in_process_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def argument_value(value: object) -> object:
    """Return a value in the back end's form: `"torch.float32"` stands for the dtype."""
    return getattr(torch, value[6:]) if isinstance(value, str) and value.startswith("torch.") else value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send the printed output of a back end to the log, and not to the user's cell.

    bitsandbytes warns at import, on a CPU, that a kernel for 4-bit inference is missing; no optimizer uses it.
    """
    with _errors_only, kept_printing() as out:
        yield
    if text := out.getvalue().strip():
        _log.info("%s", text)


class _ErrorsOnly:
    """Level of a logger that lets only errors through while any thread is inside; the last one out restores it."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._lock = threading.Lock()
        self._inside = 0
        self._before = logging.NOTSET

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._logger.level
                self._logger.setLevel(logging.ERROR)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._logger.setLevel(self._before)


_errors_only = _ErrorsOnly("bitsandbytes")
