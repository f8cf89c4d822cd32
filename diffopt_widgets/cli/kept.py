"""Kept answers: results that took seconds to compute, on disk for as long as nothing changes that they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterable
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs

from diffopt_widgets.whole_file import written_whole

FOLDER_VARIABLE = "DIFFOPT_CACHE_DIR"
"""The environment variable that names another folder than the user's own."""
FRESH_HELP = "Compute everything again, also what is kept from an earlier call."
FORMAT = 1
MOST_BYTES = 1_000_000
"""Size of a file above which it is none of ours."""
MOST_FILES = 2_000
"""Number of answers above which the older half is deleted."""
ALWAYS = ("torch", "numpy", "opt_einsum", "triton")
"""Packages on which every answer depends, besides the optimizer's own."""
SWITCHES = (
    "ATEN_",
    "BNB_",
    "CUBLAS_",
    "CUDA_",
    "DNNL_",
    "HIP_",
    "KMP_",
    "MKL_",
    "NVIDIA_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PYTORCH_",
    "ROCM_",
    "TORCH_",
)
"""Beginnings of environment variables that can change what torch computes, or on which device."""


class Kept:
    """Answers of one call of a command: those that are kept from earlier calls, and those that this call adds.

    Each is a JSON file in the user's cache folder, written beside it and then moved there whole. It is used only if it is
    undamaged and everything that it depends on is the same: Python, machine, torch, the optimizer's package, this package,
    environment variables and device. Without a folder that can be written, everything is computed each time; no method
    raises for a file or a disk.

    Args:
        fresh: leave out what is kept; what is computed is kept all the same.
        device: `"cpu"` or `"cuda"`.
    """

    def __init__(self, *, fresh: bool = False, device: str = "cpu") -> None:
        self._fresh = fresh
        self._device = device
        self._folder = _user_folder()
        self._made: list[datetime] = []
        self._asked = 0

    def recall(self, question: Collection[str], packages: Iterable[str]) -> Any:  # Any: what JSON can hold
        """Return the kept answer to a question; None when there is none that still holds.

        Args:
            question: the command and all that was asked of it, as texts.
            packages: distributions on which the answer depends, besides `ALWAYS`.
        """
        self._asked += 1
        if self._folder is None or self._fresh:
            return None
        try:
            with self._path(question).open("rb") as file:
                content = json.loads(file.read(MOST_BYTES))
            if content.pop("digest") != _digest(content) or content["format"] != FORMAT:
                return None
            if content["question"] != list(question) or content["depends"] != self._depends(packages):
                return None
            made = datetime.fromisoformat(content["made"]).astimezone()
        except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
            return None  # missing, damaged, or not ours: it is computed and written again
        self._made.append(made)
        return content["answer"]

    def keep(self, question: Collection[str], packages: Iterable[str], answer: object) -> None:
        """Keep an answer for later calls."""
        if self._folder is None:
            return
        content = {
            "format": FORMAT,
            "question": list(question),
            "depends": self._depends(packages),
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "answer": answer,
        }
        text = json.dumps({**content, "digest": _digest(content)}, indent=1)
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with written_whole(self._path(question)) as part:
                part.write_text(text, encoding="utf-8", newline="\n")
            self._thin_out()

    def words(self) -> str:
        """Say how many of the answers were kept ones, and of when; empty if none was."""
        if not self._made:
            return ""
        first, last = (f"{made:%Y-%m-%d %H:%M}" for made in (min(self._made), max(self._made)))
        when = f"on {first}" if first == last else f"between {first} and {last}"
        some = "This was" if len(self._made) == self._asked else f"{len(self._made)} of these {self._asked} were"
        return f"{some} computed {when}; nothing that it depends on has changed since. --fresh computes it again."

    def _path(self, question: Collection[str]) -> Path:
        assert self._folder is not None  # noqa: S101  # both callers have looked
        return self._folder / f"{_digest([*question, self._device])[:32]}.json"

    def _depends(self, packages: Iterable[str]) -> dict[str, str]:
        """Return all that an answer depends on, each as a text."""
        return {
            "diffopt_widgets": _own_files(),
            "device": _device_words(self._device),
            "machine": f"{platform.node()} {platform.platform()} {platform.machine()} {os.cpu_count()}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "switches": " ".join(
                f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(SWITCHES)
            ),
            **{name: _installed(name) for name in dict.fromkeys((*ALWAYS, *packages))},
        }

    def _thin_out(self) -> None:
        assert self._folder is not None  # noqa: S101  # the caller has looked
        files = list(self._folder.glob("*.json"))
        if len(files) > MOST_FILES:
            files.sort(key=lambda path: path.stat().st_mtime)
            for path in files[: len(files) // 2]:
                path.unlink(missing_ok=True)


def _user_folder() -> Path | None:
    """Return the folder of the answers; None when its path is not absolute, as without a home."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else platformdirs.user_cache_path("diffopt_widgets", appauthor=False)
    return folder / "answers" if folder.is_absolute() else None


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@cache
def _own_files() -> str:
    """Return a digest of this package's code and tables, which may change without a new version."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for pattern in ("*.py", "*.json") for path in package.rglob(pattern)):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _installed(name: str) -> str:
    """Return the version of a distribution with a digest of its list of files, which tells two builds of it apart."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return "not installed"
    files = distribution.read_text("RECORD") or ""
    return f"{distribution.version} {hashlib.sha256(files.encode()).hexdigest()[:16]}"


@cache
def _device_words(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    driver = Path("/proc/driver/nvidia/version")
    with contextlib.suppress(OSError, RuntimeError, AssertionError):
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        version = driver.read_text("utf-8") if driver.exists() else ""
        return f"{device} {properties.name} {properties.major}.{properties.minor} {version}"
    return device
