"""Eight runs whose gradients are computed in one pass: how long they take beside one run and beside eight in turn, and their numbers."""

import time

import numpy as np
import torch

import diffopt_widgets as dw
from diffopt_widgets.execution.stacks import Stacks
from diffopt_widgets.execution.sweeps import train_together
from diffopt_widgets.runs.space import vary

STEPS = {"cuda": 200, "cpu": 20}
OVER = {"optimizer": ["ADAMW", "PRODIGY"], "seed": [0, 1, 2, 3]}


def trained(plans, stacks=None):
    runs = [dw.Run(plan) for plan in plans]
    began = time.perf_counter()
    train_together(runs, progress=False, stacks=stacks)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return runs, time.perf_counter() - began


def test_eight_runs_take_little_longer_than_one(rows, device):
    for task in rows.each(["swiss_roll", "digits"]):
        plans = vary(dw.RunPlan(dw.Settings("ADAMW"), task, STEPS[device], device=device), OVER)
        trained([plan for plan in plans if not plan.seed])  # it is warm then
        one = sum(trained([plan])[1] for plan in (plans[0], plans[-1])) / 2
        turned, in_turn = trained(plans)
        stacks = Stacks(wanted=True)
        stacked, together = trained(plans, stacks)
        losses = [(a.history.column("loss"), b.history.column("loss")) for a, b in zip(turned, stacked, strict=True)]
        apart = max(float(np.abs(a / b - 1).max()) for a, b in losses)
        numbers = f"losses up to {apart:.1e} apart" if apart else "the same losses to the bit"
        words = f"stacked {together / one:.2f} and in turn {in_turn / one:.2f} times as long as one; {numbers}; {stacks.words()[0]}"
        ok = together <= 2 * one if device == "cuda" else None
        rows.add(task, words, ok, one=one, stacked=together, in_turn=in_turn, apart=apart)
    assert rows.missed() == []
