"""Counts how often the host waits for the GPU; on a CPU, how often a value is read, which would be a wait there."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

SAID = "synchronizing CUDA operation"
READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default, torch.ops.aten.nonzero.default}


class Count:
    """How many waits there were; known once the context is left."""

    total = 0


@contextlib.contextmanager
def counted(device: str) -> Iterator[Count]:
    """Count within a context.

    torch tells of its own waits as warnings. It does not tell of `torch.cuda.synchronize`, which bitsandbytes calls after
    each tensor, so that is counted where it is called. Neither sees a wait that a package's own compiled code makes.
    """
    count = Count()
    with _on_gpu(count) if device == "cuda" else _on_cpu(count):
        yield count


@contextlib.contextmanager
def _on_gpu(count: Count) -> Iterator[None]:
    synchronize = torch.cuda.synchronize

    def counting(device: object = None) -> None:
        count.total += 1
        synchronize(device)

    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.synchronize = counting
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode(before)
        count.total += sum(SAID in str(warning.message) for warning in told)
    finally:
        torch.cuda.synchronize = synchronize


@contextlib.contextmanager
def _on_cpu(count: Count) -> Iterator[None]:
    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            count.total += func in READS
            return func(*args, **kwargs or {})

    with mock.patch.object(torch.Tensor, "is_cpu", property(lambda _: False)), Counting():  # or nothing is put off
        yield
