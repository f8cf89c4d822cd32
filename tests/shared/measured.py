"""Results of runs, measured once and kept in `benchmarks/measured.json`: every sentence that quotes one has it from there.

A result is found by everything that its run depends on, so that a preset or a claim that changes asks for new runs.
`benchmarks/bench_claims.py` carries out those that are missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean

import torch
from places import TESTS

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.runs.run import Run
from diffopt_widgets.training.loop import Training

FILE = TESTS / "benchmarks" / "measured.json"


def evaluation_loss(run: Run) -> float:
    """Measure the evaluation loss after the run; NaN where the run diverged."""
    run_to_end(run, progress=False)
    if run.status == "failed" and "finite" not in run.message:
        raise RuntimeError(run.message)
    return math.nan if run.status == "failed" or run.eval_after is None else run.eval_after


def fall(run: Run) -> float:
    """Measure how far the evaluation loss fell."""
    return -evaluation_loss(run) + (run.eval_before or math.nan)


def highest_rate(run: Run) -> float:
    """Measure the highest learning rate that a step applied."""
    evaluation_loss(run)
    return float(run.history.column("applied_lr").max())


def first_gradient(run: Run) -> float:
    """Measure the norm of the gradient at the first step."""
    training = Training(run.plan)
    training.problem.loss(0).backward()
    return float(torch.stack([p.grad.norm() for group in training.groups for p in group.params]).norm())


def size_of_last_step(run: Run) -> float:
    """Measure the last step of all matrices, as a root mean square, over the rate of the schedule."""
    training = Training(run.plan)
    steps = training.steps()
    for _ in range(run.plan.steps - 1):
        next(steps)
    matrices = [p for group in training.problem.groups for p in group.params if p.ndim > 1]
    before = [p.detach().clone() for p in matrices]
    (rate, *_) = next(steps).lr
    moved = torch.cat([(p.detach() - was).flatten() for p, was in zip(matrices, before, strict=True)])
    return float(moved.square().mean().sqrt() / rate)


MEASURES: dict[str, Callable[[Run], float]] = {
    "loss": evaluation_loss,
    "fall": fall,
    "highest rate": highest_rate,
    "last step": size_of_last_step,
    "first gradient": first_gradient,
}


def name_of(what: str, plan: dw.RunPlan) -> str:
    """Name a result by its measure, task, steps, optimizer, rate, schedule and all other values that are not the default."""
    settings = plan.settings
    usual = {**dw.Settings(settings.optimizer).values(), "lr": None, "schedule": None}
    own = [f"{name}={value}" for name, value in settings.values().items() if value != usual[name]]
    of_run = [*(["bfloat16"] if plan.dtype == "bfloat16" else []), plan.task, str(plan.steps)]
    return f"{what}, {' '.join(of_run)}: {' '.join([settings.optimizer, *own])}"


class Measured:
    """Results by the name of the run and its seed."""

    def __init__(self, path: Path = FILE) -> None:
        self.path = path
        self.results: dict[str, dict[str, float]] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def result(self, what: str, plan: dw.RunPlan, seed: int) -> float:
        """Return one result. Raises KeyError when it has not been measured."""
        return self.results[name_of(what, plan)][str(seed)]

    def mean(self, what: str, plan: dw.RunPlan, seeds: Iterable[int]) -> float:
        """Return the mean over these seeds; NaN when the run of one diverged."""
        return fmean(self.result(what, plan, seed) for seed in seeds)

    def measure(self, what: str, plan: dw.RunPlan, seeds: Iterable[int]) -> None:
        """Carry out the runs that are missing, and write down each one at once."""
        name = name_of(what, plan)
        for seed in seeds:
            if str(seed) not in self.results.get(name, {}):
                result = carry_out(what, plan, seed)
                self.results.setdefault(name, {})[str(seed)] = result
                print(f"{name}, seed {seed}: {result:.4g}", flush=True)
                self.write()

    def keep(self, names: Iterable[str]) -> None:
        """Forget all other runs."""
        wanted = set(names)
        self.results = {name: seeds for name, seeds in self.results.items() if name in wanted}
        self.write()

    def write(self) -> None:
        """Write the file, a line for each run."""
        lines = (
            f"{json.dumps(name)}: {json.dumps(dict(sorted(seeds.items(), key=lambda item: int(item[0]))))}"
            for name, seeds in sorted(self.results.items())
        )
        self.path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def carry_out(what: str, plan: dw.RunPlan, seed: int) -> float:
    """Train once on the CPU with one thread and return the result, with four digits."""
    torch.set_num_threads(1)
    options = {**plan.options(), "seed": seed, "device": "cpu"}
    return float(f"{MEASURES[what](Run(dw.RunPlan(plan.settings, **options))):.4g}")
