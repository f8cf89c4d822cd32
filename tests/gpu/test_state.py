"""The state told before a run, what the optimizer then keeps, and what torch's allocator gave for it."""

import gc

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.state_size.measured import state_bytes, tensors_in

SHAPES = [(1024, 1024), (1024, 1024), (256, 128, 3, 3), (1024,), (64,)]
BLOCK = 512
"""torch's allocator gives memory in blocks of so many bytes."""
SLACK = 64 * 1024
"""Bytes beside the state that a package may keep for itself, such as bitsandbytes' tables for 8 bits."""


@pytest.fixture
def unfrozen():
    """Give the collector back what it was spared."""
    yield
    gc.unfreeze()


def stepped(key, device):
    """Return an optimizer after one step, and the bytes that the allocator gave meanwhile and did not get back."""
    params = [torch.nn.Parameter(torch.full(shape, 0.1, device=device)) for shape in SHAPES]
    for p in params:
        p.grad = torch.full_like(p, 0.01)
    gc.collect()
    before = allocated(device)
    optimizer = dw.build_optimizer(dw.Settings(key), params)
    optimizer.step()
    gc.collect()
    return optimizer, allocated(device) - before


def allocated(device):
    if device != "cuda":
        return 0
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


def in_blocks(optimizer, device):
    """Return the state on the device as the allocator rounds it up, and the bytes of the state that is elsewhere."""
    storages = {s.data_ptr(): s for s in (t.untyped_storage() for t in tensors_in(dict(optimizer.state)))}
    there = [s.nbytes() for s in storages.values() if s.device.type == device]
    elsewhere = sum(s.nbytes() for s in storages.values()) - sum(there)
    return sum(-(-size // BLOCK) * BLOCK for size in there), elsewhere


def test_what_is_told_is_what_is_kept(rows, device, unfrozen):
    for key in rows.each(list_optimizers()):
        with rows.failing(key):
            told = dw.memory(dw.Settings(key), SHAPES)
            stepped(key, device)  # what a package makes once is there after this
            gc.collect()
            gc.freeze()  # looking through all of torch again would take longer than the rest
            optimizer, given = stepped(key, device)
            kept, (blocks, elsewhere) = state_bytes(optimizer), in_blocks(optimizer, device)
            words, ok = f"told {told:,}, kept {kept:,}", told == kept
            if device == "cuda":
                beside = given - blocks
                words += f", allocated {given:,} of which {beside:,} beside the state"
                words += f" ({elsewhere:,} of the state on the CPU)" if elsewhere else ""
                ok = ok and abs(beside) <= SLACK
            rows.add(
                key, f"{words} bytes", ok, told=told, kept=kept, allocated=given, blocks=blocks, elsewhere=elsewhere
            )
            del optimizer
    assert rows.missed() == []
