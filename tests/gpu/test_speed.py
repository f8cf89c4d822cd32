"""How long the tasks of the bench take, on the CPU and on the GPU, and what loss they come to."""

import time

import pytest
import torch

import diffopt_widgets as dw

STEPS = 300
LR = {"digits": 4e-3, "swiss_roll": 4e-3}


@pytest.mark.parametrize("batch_size", [None, 1024])
@pytest.mark.parametrize("task", list(LR))
def test_a_whole_run(task, batch_size, rows):
    for where in dict.fromkeys((rows.device, "cpu")):
        steps = STEPS if batch_size is None else 60
        if where == "cpu" and batch_size is not None:
            continue  # a minute of a CPU that nobody asks about
        for _ in rows.each([f"{task} on {where}"]):
            settings = dw.Settings("ADAMW", lr=LR[task])
            dw.train(settings, task, steps=5, batch_size=batch_size, device=where, progress=False)  # it is warm then
            began = time.perf_counter()
            run = dw.train(settings, task, steps=steps, batch_size=batch_size, device=where, progress=False)
            if where == "cuda":
                torch.cuda.synchronize()
            took = time.perf_counter() - began
            each = 1000 * run.seconds / steps
            words = f"{took:.1f} s, {each:.2f} ms a step; evaluation loss {run.eval_before:.2f} → {run.eval_after:.3f}"
            name = f"{task}, {steps} steps" + (f", batch {batch_size}" if batch_size else "")
            rows.add(name, words, run.status == "done", device=where, seconds=took, ms=each, loss=run.eval_after)
    assert [missed for missed in rows.missed() if missed.startswith(task)] == []
