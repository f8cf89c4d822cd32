"""A step compiled by torch.compile: whether it can be here."""

from __future__ import annotations

import time
import warnings
from functools import cache

import torch


@cache  # of successes: an exception is not remembered, so what is installed meanwhile is found
def try_compiler(device: torch.device) -> None:
    """Compile a small function that nobody has compiled before, and run it.

    Raises:
        Exception: whatever torch raises where it cannot, such as InvalidCxxCompiler.
    """
    new = time.time_ns() / 3.0  # a constant of its own, so that no compiled function is found on disk

    def function(x: torch.Tensor) -> torch.Tensor:
        return (x + new).sqrt()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own modules warn about each other as they are imported
        torch.compile(function, fullgraph=True)(torch.ones(8, device=device))


def compiler_trouble(devices: set[torch.device]) -> str:
    """Why torch cannot compile for these devices, in words; empty where it can."""
    try:
        for device in devices:
            try_compiler(device)
    except Exception as error:  # noqa: BLE001  # a missing compiler, header, triton or driver, each raises its own
        return f"a compiler that torch can use, and there is none ({_cause(error)})"
    return ""


def _cause(error: BaseException) -> str:
    """What lies behind an error of torch's, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = next(iter(str(error).strip().splitlines()), "").strip(" .:")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
