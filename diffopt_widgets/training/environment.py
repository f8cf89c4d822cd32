"""Environment of a run that is known before it: machine and device. torch is imported only when it is needed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.schedules import WARMUP_RULE
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.settings import Fault, SettingsError

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.catalogue.schema import OptimizerSpec, Rule, Values
    from diffopt_widgets.settings.plan import RunPlan


def environment(device: str, dtype: str) -> Values:
    """Return the facts that the catalogue's rules check: `device`, `dtype`, and `compiler` (True if there is one).

    Args:
        device: as a plan names it. `"auto"` imports torch, which takes a second or two the first time.
        dtype: the precision of the weights.

    Returns:
        Only the dtype if `device` is `"auto"` and torch cannot be imported to find the device.

    >>> environment("cuda", "bfloat16")["device"]
    'cuda'
    """
    kind = device
    if device == "auto":
        try:
            from diffopt_widgets.training.loop import find_device

            kind = find_device(device).type
        except (ImportError, OSError, RuntimeError):  # `optimizers.backends` reports a missing torch
            return {"dtype": dtype}
    return {"device": kind, "dtype": dtype, "compiler": _compiler(kind)}


def device_problem(device: str) -> str:
    """Describe why a run cannot use a device, as a sentence without its full stop; empty if it can."""
    if device in {"auto", "cpu"}:
        return ""
    try:
        from diffopt_widgets.training.loop import find_device

        find_device(device)
    except (ImportError, OSError, RuntimeError) as error:
        return str(error)
    return ""


def broken_rules(plan: RunPlan, *, processes: int | None = None) -> tuple[Rule, ...]:
    """Return the rules that a run breaks here: values that are refused, and those that are probably not meant.

    Args:
        plan: of the run.
        processes: number of processes among which its weights are divided; None when they are not.
    """
    facts = {} if processes is None else {"processes": processes}
    return plan.settings.warnings({"steps": plan.steps, **environment(plan.device, plan.dtype), **facts})


class WarmupNotOver(UserWarning):
    """Warning of a warm-up that is not over when its run ends."""


def warn_of_warmup(plans: Iterable[RunPlan], *, stacklevel: int = 3) -> None:
    """Warn of a warm-up that is not over when its run ends; by default in the name of the caller's caller."""
    for warmup, steps in dict.fromkeys((plan.settings.warmup, plan.steps) for plan in plans):
        if WARMUP_RULE.broken({"warmup": warmup, "steps": steps}):
            text = f"warmup = {format_value(warmup)}, steps = {steps}: {WARMUP_RULE.message}"
            warnings.warn(text, WarmupNotOver, stacklevel=stacklevel)


def check_runs(plans: Iterable[RunPlan], *, processes: int | None = None) -> None:
    """Check all runs before the first one is trained; `processes` is as in `broken_rules`.

    Raises:
        SettingsError: a run would be refused; there is one `Fault` for each reason.
    """
    faults: dict[str, Fault] = {}
    for plan in plans:
        if problem := device_problem(plan.device):
            faults["device"] = Fault("device", plan.device, problem, "")
        broken = broken_rules(plan, processes=processes)
        values = plan.settings.values()
        faults.update({rule.id: Fault.broken(rule, values) for rule in broken if rule.severity == "refused"})
    if faults:
        raise SettingsError(tuple(faults.values()))


def trained_with(entry: OptimizerSpec, device: torch.device) -> dict[str, str]:
    """Return the versions of the packages that a run depends on, and the machine, for a report that others may repeat.

    >>> import torch
    >>> from diffopt_widgets import spec
    >>> sorted(trained_with(spec("ADAMW"), torch.device("cpu")))
    ['diffopt-widgets', 'machine', 'python', 'torch']
    """
    from diffopt_widgets import __version__
    from diffopt_widgets.optimizers.backends import installed_version

    packages = dict.fromkeys(["torch", *([entry.package] if entry.catalogued else [])])
    versions = {package: installed_version(package) or "not known" for package in packages}
    return {
        "diffopt-widgets": __version__,
        "python": platform.python_version(),
        **versions,
        "machine": _machine(device),
    }


def _machine(device: torch.device) -> str:
    """Describe the hardware that a run trains on, as far as the system names it."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    name = platform.machine()  # platform.processor would start a program
    with contextlib.suppress(OSError):  # only Linux has this file
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
        name = " ".join(named[1].split()) if named else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' * (cores > 1)}" if cores else name


def _compiler(kind: str) -> bool:
    """Return whether torch would find a compiler for a device; False only when it certainly would not."""
    if kind == "cuda":
        return importlib.util.find_spec("triton") is not None
    if kind != "cpu" or os.environ.get("TORCH_INDUCTOR_INSTALL_GXX"):  # torch then gets one itself
        return True
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual)) is not None
