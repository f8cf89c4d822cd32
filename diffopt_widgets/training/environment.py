"""What is known, before a run, of the machine and device that it would be on; torch is imported where it is asked for."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from diffopt_widgets.settings import Fault, SettingsError

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import Values
    from diffopt_widgets.settings.plan import RunPlan


def environment(device: str, dtype: str) -> Values:
    """What the rules of the catalogue ask of a run: its `device` and `dtype`, and whether a `compiler` is there.

    Args:
        device: as a plan names it. `"auto"` imports torch, which takes a second or two the first time.
        dtype: the precision of the weights.

    Returns:
        Only the dtype where `device` is `"auto"` and there is no torch to tell which it is.

    >>> environment("cuda", "bfloat16")["device"]
    'cuda'
    """
    kind = device
    if device == "auto":
        try:
            from diffopt_widgets.training.loop import find_device

            kind = find_device(device).type
        except (ImportError, OSError, RuntimeError):  # `training.backends` tells of a torch that is not there
            return {"dtype": dtype}
    return {"device": kind, "dtype": dtype, "compiler": _compiler(kind)}


def device_problem(device: str) -> str:
    """Why a run cannot be on a device, as a sentence without its full stop; empty where it can."""
    if device in {"auto", "cpu"}:
        return ""
    try:
        from diffopt_widgets.training.loop import find_device

        find_device(device)
    except (ImportError, OSError, RuntimeError) as error:
        return str(error)
    return ""


def check_runs(plans: Iterable[RunPlan]) -> None:
    """Refuse, before any is trained, runs that would be refused here in their turn.

    Raises:
        SettingsError: with one `Fault` for each reason.
    """
    faults: dict[str, Fault] = {}
    for plan in plans:
        if problem := device_problem(plan.device):
            faults["device"] = Fault("device", plan.device, problem, "")
        asked = plan.settings.warnings(environment(plan.device, plan.dtype))
        values = plan.settings.values()
        faults.update({rule.id: Fault.broken(rule, values) for rule in asked if rule.severity == "refused"})
    if faults:
        raise SettingsError(tuple(faults.values()))


def _compiler(kind: str) -> bool:
    """Whether torch would find what compiles for a device; False only where it is certain that it would not."""
    if kind == "cuda":
        return importlib.util.find_spec("triton") is not None
    if kind != "cpu" or os.environ.get("TORCH_INDUCTOR_INSTALL_GXX"):  # torch then gets one itself
        return True
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual)) is not None
