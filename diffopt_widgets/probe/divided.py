"""Test of an option that means something only in several processes: two train the small model, whose weights FSDP2 divides."""

from __future__ import annotations

import contextlib
import os
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from diffopt_widgets.optimizers.factory import build_optimizer
from diffopt_widgets.probe.model import loss_at, parameters, same_bits
from diffopt_widgets.training.sharded import cuda_means_here, loopback, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffopt_widgets.settings import Settings

PROCESSES = 2


class _Model(torch.nn.Module):
    """The small model of the probe."""

    def __init__(self) -> None:
        super().__init__()
        self.block_weight, self.bias = parameters()

    def forward(self, step: int) -> torch.Tensor:
        """Return the loss at a step."""
        return loss_at(step, self.block_weight, self.bias)


def parting(default: Settings, changed: Settings, steps: int) -> int | None:
    """Return the first step after which the weights of two processes differ between the settings; None if they never do."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(_compare, (folder, default, changed, steps), nprocs=PROCESSES)  # type: ignore[no-untyped-call]
        text = (Path(folder) / "step").read_text("utf-8")
    return int(text) if text else None


def _compare(rank: int, folder: str, default: Settings, changed: Settings, steps: int) -> None:
    """Be one of the processes."""
    torch.set_num_threads(1)
    if name := loopback():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    from torch._C._distributed_c10d import FileStore

    store = FileStore(f"{folder}/store", PROCESSES)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=PROCESSES)
    before = list(islice(_walk(default), steps))
    pairs = zip(before, _walk(changed), strict=False)
    step = next((number for number, pair in enumerate(pairs, 1) if not same_bits(*pair)), None)
    if rank == 0:
        (Path(folder) / "step").write_bytes(b"" if step is None else str(step).encode())
    dist.destroy_process_group()


def _walk(settings: Settings) -> Iterator[torch.Tensor]:
    """Train without end, yielding all weights as one vector after each step."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = _Model()
    fully_shard(model, mesh=init_device_mesh("cpu", (PROCESSES,)))  # changes it in place
    optimizer = build_optimizer(settings, model)
    step = 0
    while True:
        model(step).backward()
        with cuda_means_here(torch.device("cpu")), contextlib.redirect_stdout(None):
            optimizer.step()
        optimizer.zero_grad()
        yield torch.cat([whole(p).detach().flatten() for p in model.parameters()])
        step += 1
