"""A run that goes on from its checkpoint: bit for bit on the device it was trained on, and refused on another."""

from dataclasses import replace

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.checkpoint import Checkpoint, CheckpointError
from diffopt_widgets.training.loop import Training

BEFORE, AFTER = 3, 3
RATES = {"SCHEDULE_FREE_SGD": 0.1, "SGD": 0.01, "SGD_8BIT": 0.01, "LARS": 0.01, "LARS_8BIT": 0.01, "DADAPT_SGD": 0.1}
"""Where the default is too much for this task, whose weights would be NaN."""
ON_GPU = (("ADAMW", {"fused": True}), ("ADAMW", {"capturable": True}), ("ADAM", {"fused": True, "capturable": True}))


def plan_of(key, options, device):
    rate = {"lr": RATES[key]} if key in RATES else {}
    return RunPlan(dw.Settings(key, schedule="COSINE", **rate, **options), "swiss_roll", BEFORE + AFTER, device=device)


def weights(training):
    return [p.detach().clone() for group in training.problem.groups for p in group.params]


def differences(plan):
    """Return in how many tensors a run that goes on from its checkpoint comes to other weights than without it."""
    training = Training(plan)
    steps = training.steps()
    for _ in range(BEFORE):
        next(steps)
    again = Checkpoint.of(training).restored(plan)
    ends = [list(part.steps()) and weights(part) for part in (training, again)]
    if not all(torch.isfinite(end).all() for end in ends[0]):
        raise ArithmeticError("its weights are not finite: nothing is shown by that")
    return sum(not torch.equal(one, other) for one, other in zip(*ends, strict=True))


def look(rows, name, plan):
    with rows.failing(name):
        apart = differences(plan)
        words = f"other weights than without the checkpoint, in {apart} tensors" if apart else "the same to the bit"
        rows.add(name, words, not apart, differ=apart)


def test_it_goes_on_to_the_bit(rows, device):
    for key in rows.each(list_optimizers()):
        look(rows, key, plan_of(key, {}, device))
    assert rows.missed() == []


def test_it_goes_on_to_the_bit_with_what_only_a_gpu_has(rows, cuda):
    for key, options in rows.each(ON_GPU):
        look(rows, f"{key}, {', '.join(options)}", plan_of(key, options, cuda))
    assert rows.missed() == []


@pytest.mark.parametrize(("here", "there"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_another_device_is_refused_in_words(here, there, rows, cuda):
    plan = plan_of("PRODIGY", {}, here)
    training = Training(plan)
    next(training.steps())
    said = ""
    try:
        Checkpoint.of(training).restored(replace(plan, device=there))
    except CheckpointError as error:
        said = str(error)
    rows.add(f"made on {here}, taken up on {there}", said or "taken up", f"trained on {here}" in said)
    assert [missed for missed in rows.missed() if missed.startswith("made on")] == []
