"""`is_paged`: states in memory that the driver moves between GPU and host, as bitsandbytes allocates it."""

import gc

import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.state_size.measured import state_bytes, tensors_in
from diffopt_widgets.training.checkpoint import Checkpoint
from diffopt_widgets.training.loop import Training

SHAPE = (512, 512)
"""Large enough: bitsandbytes pages states from 100,000 elements."""
STEPS = 10
KEYS = [key for key in list_optimizers() if "is_paged" in dw.Settings(key).options]


def trained(key, device, *, paged):
    """Return weights and optimizer after some steps, and what torch's allocator gave for the state."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(SHAPE, generator=generator).to(device))
    gradients = [torch.randn(SHAPE, generator=generator).to(device) for _ in range(STEPS)]
    optimizer = dw.build_optimizer(dw.Settings(key, is_paged=paged), [weight])
    gc.collect()
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    gc.collect()
    return weight.detach(), optimizer, (torch.cuda.memory_allocated() if device == "cuda" else 0) - before


def test_options_that_page(rows):
    assert len(KEYS) == 5, KEYS


def test_the_same_weights_from_paged_states(rows, cuda):
    for key in rows.each(KEYS):
        with rows.failing(key):
            plain, _, given = trained(key, cuda, paged=False)
            paged, optimizer, less = trained(key, cuda, paged=True)
            pages = sum(t.nbytes for t in tensors_in(dict(optimizer.state)) if getattr(t, "is_paged", False))
            same = torch.equal(plain, paged)
            words = f"{'the same to the bit' if same else 'other weights'}; {pages:,} bytes of {state_bytes(optimizer):,} paged"
            words += f"; torch's own memory {given:,} without and {less:,} with it"
            rows.add(key, words, same and pages > 0 and less < given, pages=pages, without=given, allocated=less)
    assert rows.missed() == []


def test_a_paged_run_goes_on_from_its_checkpoint(rows, cuda):
    """Last, since a state that comes back elsewhere could cost this process its GPU."""
    training = Training(RunPlan(dw.Settings("ADAMW_8BIT", is_paged=True), "digits", steps=4, device=cuda))
    steps = training.steps()
    next(steps)
    pages = [t for t in tensors_in(dict(training.optimizer.state)) if getattr(t, "is_paged", False)]
    again = Checkpoint.of(training).restored(training.plan)
    losses = [[float(record.loss) for record in part.steps()] for part in (training, again)]
    same = losses[0] == losses[1]
    words = "the same losses" if same else f"losses {losses[1]} instead of {losses[0]}"
    rows.add("from a checkpoint, digits", f"{words}, with {len(pages)} paged tensors", same, pages=len(pages))
    assert [missed for missed in rows.missed() if missed.startswith("from a checkpoint")] == []
