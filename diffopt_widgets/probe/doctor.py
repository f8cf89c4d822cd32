"""Report on this machine: the installed packages, the GPUs, and the optimizers that can run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.optimizers.backends import installed_version, upgrade, version_trouble
from diffopt_widgets.settings import Settings, SettingsError

PACKAGES = (
    *dict.fromkeys(("torch", *(spec(key).package for key in list_optimizers()))),
    "opt_einsum",
    "numpy",
    "ipywidgets",
    "anywidget",
    "plotly",
    "jupyterlab",
    "notebook",
    "ipykernel",
)
"""Packages of the optimizers, and other packages that matter."""
MOST_STEPS = 8
"""Steps within which an optimizer must move a weight: in some optimizers the first steps only measure."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. `works` is None if it is not known."""

    name: str
    works: bool | None
    words: str
    fix: str = ""


def packages() -> Iterator[Finding]:
    """Report Python and the packages that matter, with their versions."""
    yield Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in PACKAGES:
        version = installed_version(name)
        if version is None:
            yield Finding(name, False, "not installed", upgrade(name))
        elif trouble := version_trouble(name, version):
            yield Finding(name, False, trouble.reason, trouble.fix)
        else:
            yield Finding(name, True, version)


def torch_trouble() -> Finding | None:
    """Find the reason why torch cannot be imported, and its fix; None when it can."""
    try:
        import torch  # noqa: F401  # this tries the import itself
    except Exception as error:  # noqa: BLE001  # a broken installation raises anything
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            return Finding("torch", False, "not installed", "pip install torch")
        words = " ".join(f"cannot be imported: {error}".split())
        fix = "pip install --force-reinstall torch, in the build for this machine (pytorch.org says which)"
        return Finding("torch", False, words, fix)
    return None


def devices() -> Iterator[Finding]:
    """Report the GPUs that torch can use, or the reason why there is none, and the CPU."""
    if trouble := torch_trouble():
        yield trouble
        return
    import torch

    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        words = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
        words += f", compute capability {properties.major}.{properties.minor}"
        words += f", CUDA {torch.version.cuda}" if torch.version.cuda else ""  # none in a build for AMD's ROCm
        yield Finding(f"cuda:{index}", True, words)
    if torch.backends.mps.is_available():
        yield Finding("mps", True, "Apple GPU; bitsandbytes' 8-bit optimizers may not run on it")
    if not torch.cuda.is_available():
        built = torch.version.cuda is not None
        why = "torch is built for CUDA, but there is no GPU or driver" if built else "torch is a CPU build"
        fix = "check nvidia-smi and the driver" if built else "on a machine with a GPU, install torch's CUDA build"
        yield Finding("cuda", False, why, fix)
    threads = torch.get_num_threads()
    words = f"{threads} thread{'s' * (threads != 1)}; every optimizer of the bench runs here too"
    yield Finding("cpu", True, words)


def accelerators() -> tuple[str, ...]:
    """Return the devices besides the CPU that can train a run: `"cuda"` (torch's current GPU) and `"mps"`."""
    if torch_trouble():
        return ()
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return tuple(name for name, is_available in available.items() if is_available)


def device_words(device: str) -> str:
    """Format the name of a device for the report: "CPU", "GPU (cuda)"."""
    return "CPU" if device == "cpu" else f"GPU ({device})"


def optimizers(device: str = "cpu", begins: Callable[[str], object] = str) -> Iterator[Finding]:
    """Try each optimizer on `device`: build it with its defaults and take a few steps on a small model.

    `begins` is called with each key before it is tried.
    """
    if torch_trouble():
        yield Finding("all", False, "they need torch, which cannot be imported", "fix torch first")
        return
    for key in list_optimizers():
        begins(key)
        yield try_optimizer(key, device)


def try_optimizer(key: str, device: str = "cpu") -> Finding:
    """Build one optimizer with its defaults and take a few steps on a small model."""
    import torch

    from diffopt_widgets.optimizers.factory import MissingBackend, build_optimizer

    entry = spec(key)
    fix = upgrade(entry.package)
    try:
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 64 * 128, device=device).reshape(64, 128))
        before = weight.detach().clone()
        optimizer = build_optimizer(Settings(key), [("weight", weight)])
        for step in range(MOST_STEPS):
            (weight**2).sum().backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            optimizer.zero_grad()
            moved = not torch.equal(before, weight.detach())
            if moved and step > 0:  # the first step alone need not use all of the state
                break
    except MissingBackend as error:
        return Finding(key, False, str(error), fix)
    except SettingsError as error:
        return Finding(key, False, str(error), "report it: the defaults should build")
    except Exception as error:  # noqa: BLE001  # the report must go on whatever a back end raises
        fix += "" if device == "cpu" else ", or train it with device cpu"
        return Finding(key, False, f"{type(error).__name__}: {error}", fix)
    if not moved:
        return Finding(key, False, f"{MOST_STEPS} steps moved nothing", "try a larger learning rate")
    version = metadata.version(entry.package)
    return Finding(key, True, f"{entry.package} {version}, {entry.state_bits}-bit state")
