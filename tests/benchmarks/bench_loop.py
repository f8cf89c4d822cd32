"""What recording costs: the bench's loop against the same loop with no recording, taking turns step by step.

Run: python tests/benchmarks/bench_loop.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.training.loop import Training

STEPS = 200
FRESH = {
    "import diffopt_widgets": "import diffopt_widgets",
    "its catalogue, every optimizer": "from diffopt_widgets.catalogue import list_optimizers, spec; [spec(k) for k in list_optimizers()]",
}


def in_fresh_process(code: str) -> float:
    """Seconds that some code takes in a process of its own, its modules compiled; it may load no back end and no plots."""
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    lines = (
        "import dataclasses, inspect, json, sys, time, typing; began = time.perf_counter()",
        code,
        "print(time.perf_counter() - began)",
        "assert not {'torch', 'plotly', 'prodigyopt', 'bitsandbytes'} & set(sys.modules)",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True, env=compiled
    )
    return float(done.stdout)


def bare(plan: RunPlan) -> Iterator[None]:
    """The plain loop: forward, backward, step, schedule; nothing is recorded."""
    training = Training(plan)
    for step in range(plan.steps):
        with training.compute():
            loss = training.problem.loss(step)
            loss.backward()
            training.optimizer.step()
            training.schedule.step()
            training.optimizer.zero_grad(set_to_none=True)
        yield


def recorded(plan: RunPlan) -> Iterator[None]:
    """The same steps as a run carries them out: loss, rates, d, d_hat, published ten times a second."""
    steps = drive(Run(plan))
    next(steps)  # builds it
    for _ in range(plan.steps):
        yield next(steps)
    steps.close()


def side_by_side(plan: RunPlan) -> tuple[float, float]:
    """Mean seconds per step of both, taking turns step by step so that both meet the same noise."""
    loops = [bare(plan), recorded(plan)]
    sums = [0.0, 0.0]
    for step in range(plan.steps):
        for which in (0, 1) if step % 2 else (1, 0):
            began = time.perf_counter()
            next(loops[which])
            if step > 4:  # both are warm
                sums[which] += time.perf_counter() - began
    return sums[0] / (plan.steps - 5), sums[1] / (plan.steps - 5)


def main() -> None:
    """Print the tables."""
    console = Console()
    table = Table("optimizer", "task", "bare ms/step", "recorded ms/step", "ratio")
    for task in ("digits", "swiss_roll"):
        for key in ("ADAMW", "PRODIGY", "ADAFACTOR", "LAMB"):
            lr = 1.0 if key == "PRODIGY" else 1e-3
            plain, told = side_by_side(RunPlan(dw.Settings(key, lr=lr), task=task, steps=STEPS))
            table.add_row(key, task, f"{1000 * plain:.2f}", f"{1000 * told:.2f}", f"{told / plain:.3f}")
    console.print(table)

    for what, code in FRESH.items():
        times = sorted(in_fresh_process(code) for _ in range(5))
        console.print(
            f"{what}: {1000 * times[0]:.0f} ms, the fastest of five fresh processes; the slowest {1000 * times[-1]:.0f}"
        )


if __name__ == "__main__":
    main()
