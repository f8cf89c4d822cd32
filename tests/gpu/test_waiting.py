"""How often a step waits for the GPU: bare, as the bench records it, and under `dw.watch`."""

import itertools
from dataclasses import replace

import torch
from gpu.loops import bare, long_plan, watched
from gpu.waits import counted

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.training.loop import Training
from diffopt_widgets.training.measures import MEASURES

WARM, STEPS = 4, 10
MORE = (
    ("ADAMW", {}, {"grad_norm": True}, {"measure": list(MEASURES)}),
    ("ADAMW", {"fused_back_pass": True}, {}, {}),
    ("ADAFACTOR", {"relative_step": False, "lr": 1e-3}, {}, {}),
    ("ADAMW", {"stochastic_rounding": True}, {"dtype": "bfloat16"}, {"measure": list(MEASURES)}),
    ("CAME", {"percentile_clipping": 50}, {}, {}),
)
ON_GPU = (
    ("ADAMW", {"fused": True}, {}, {}),
    ("ADAMW", {"capturable": True}, {}, {}),
    ("ADAMW_8BIT", {"is_paged": True}, {}, {}),
)


def waits(steps, device):
    """Return the waits of ten steps, once they are warm."""
    next(itertools.islice(steps, WARM - 1, None))
    with counted(device) as count:
        next(itertools.islice(steps, STEPS - 1, None))
    return count.total


def look(rows, device, key, options, planned, measured):
    with_these = [f"{name} {value}" for name, value in {**options, **planned}.items()]
    name = ", ".join([key, *with_these, *(["all measures"] if measured else [])])
    with rows.failing(name):
        plan = long_plan(dw.Settings(key, **options), device, "swiss_roll", **planned)
        alone = waits(task_alone(Training(replace(plan, settings=dw.Settings("SGD")))), device)
        plain = waits(bare(Training(plan)), device)
        bench = waits(Training(plan).steps(), device)
        under = waits(watched(Training(plan), publishing=False, **measured), device)
        words = f"{bench - plain:+d} bench, {under - plain:+d} watch in {STEPS} steps"
        rows.add(
            name,
            f"{words}; of its own {(plain - alone) / STEPS:g} a step"
            + (f", of the task {alone / STEPS:g}" if alone else ""),
            bench <= plain and under <= plain,
            task=alone,
            bare=plain,
            bench=bench,
            watch=under,
            steps=STEPS,
        )


def task_alone(training):
    """The loss and its gradients, without a step."""
    for step in itertools.count():
        training.problem.loss(step).backward()
        training.optimizer.zero_grad(set_to_none=True)
        yield


def test_the_counter_sees_a_wait(rows, device):
    value = torch.ones((), device=device)
    with counted(device) as count:
        value + 1
    assert count.total == 0
    with counted(device) as count:
        for _ in range(3):
            (value + 1).item()
    rows.add("three values read", f"{count.total} counted", count.total == 3)
    if device == "cuda":
        with counted(device) as count:
            torch.cuda.synchronize()
        rows.add("one call of torch.cuda.synchronize", f"{count.total} counted", count.total == 1)
    assert rows.missed() == []


def test_recording_adds_no_wait(rows, device):
    for case in rows.each([*MORE, *((key, {}, {}, {}) for key in list_optimizers())]):
        look(rows, device, *case)
    assert rows.missed() == []


def test_recording_adds_no_wait_to_what_only_a_gpu_has(rows, cuda):
    for case in rows.each(ON_GPU):
        look(rows, cuda, *case)
    assert rows.missed() == []
