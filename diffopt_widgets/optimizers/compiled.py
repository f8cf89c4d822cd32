"""A step compiled by torch.compile: whether it can be here, and room for as many shapes as a model has."""

from __future__ import annotations

import importlib
import time
import types
import warnings
from functools import cache
from typing import Any

import torch

ROOM = 4096
"""How many compilations of one function are allowed; torch itself stops at 8."""


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


def give_room(optimizer: torch.optim.Optimizer) -> None:
    """Let torch compile the step of `optimizer` as often as its tensors have shapes.

    adv_optm compiles one function for all tensors and asks torch to raise rather than fall back. torch gives up after 8
    compilations of a function, those of earlier optimizers included, so that most models would fail in their first step.
    The limit is lifted for the time of each step only.
    """
    config: Any = importlib.import_module("torch._dynamo.config")  # slow to import; its names differ by version
    names = ("recompile_limit", "accumulated_recompile_limit")
    if not hasattr(config, names[0]):  # before torch 2.6
        names = ("cache_size_limit", "accumulated_cache_size_limit")
    step = type(optimizer).step

    def with_room(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        with config.patch(dict.fromkeys(names, ROOM)):
            return step(self, closure)

    optimizer.step = types.MethodType(with_room, optimizer)  # type: ignore[method-assign]
