"""Check that torch.compile can compile a step on this machine."""

from __future__ import annotations

import time
import warnings
from functools import cache

import torch


@cache  # of successes only: after an exception the next call tries again, so a compiler installed later is found
def try_compiler(device: torch.device) -> None:
    """Compile a small function that was never compiled before, and run it.

    Raises:
        Exception: any error of torch when it cannot compile, such as InvalidCxxCompiler.
    """
    new = time.time_ns() / 3.0  # a new constant, so that the cache on disk has no such function

    def function(x: torch.Tensor) -> torch.Tensor:
        return (x + new).sqrt()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own modules warn about each other as they are imported
        torch.compile(function, fullgraph=True)(torch.ones(8, device=device))


def compiler_trouble(devices: set[torch.device]) -> str:
    """Describe what torch lacks to compile for these devices; empty if it can."""
    try:
        for device in devices:
            try_compiler(device)
    except Exception as error:  # noqa: BLE001  # a missing compiler, header, triton or driver, each raises its own
        return f"a compiler that torch can use, and there is none ({_cause(error)})"
    return ""


def _cause(error: BaseException) -> str:
    """Describe the root cause of an error of torch in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = next(iter(str(error).strip().splitlines()), "").strip(" .:")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
