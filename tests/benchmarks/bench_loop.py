"""What recording costs: the bench's loop against the same loop with no recording, in one process, taking turns.

Run: python tests/benchmarks/bench_loop.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw
from diffopt_widgets.driver import carry_out
from diffopt_widgets.plan import RunPlan
from diffopt_widgets.runs import Run
from diffopt_widgets.training.loop import Training

STEPS = 30
ROUNDS = 8


def bare(plan: RunPlan) -> float:
    """Seconds of the plain loop: forward, backward, step, schedule; nothing is recorded."""
    training = Training(plan)
    began = time.perf_counter()
    with training.compute():
        for step in range(plan.steps):
            loss = training.problem.loss(step)
            loss.backward()
            training.optimizer.step()
            training.schedule.step()
            training.optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - began


def recorded(plan: RunPlan) -> float:
    """Seconds of the same steps as a run carries them out: loss, rates, d, gradient norm, published ten times a second."""
    run = Run(plan)
    steps = carry_out(run)
    next(steps)
    began = time.perf_counter()
    for _ in range(plan.steps):
        next(steps)
    took = time.perf_counter() - began
    for _ in steps:
        pass
    return took


def main() -> None:
    """Print the tables."""
    console = Console()
    table = Table(
        "optimizer", "task", "bare ms/step", "recorded ms/step", "ratio of medians", "median of paired ratios"
    )
    for task in ("digits", "swiss_roll"):
        for key in ("ADAMW", "PRODIGY", "ADAFACTOR", "LAMB"):
            lr = 1.0 if key == "PRODIGY" else 1e-3
            plan = RunPlan(dw.Settings(key, lr=lr), task=task, steps=STEPS)
            pairs = [(bare(plan), recorded(plan)) for _ in range(ROUNDS)]
            plain, with_records = (statistics.median(side) for side in zip(*pairs, strict=True))
            paired = statistics.median(b / a for a, b in pairs)
            ms = 1000 / STEPS
            table.add_row(
                key,
                task,
                f"{plain * ms:.2f}",
                f"{with_records * ms:.2f}",
                f"{with_records / plain:.3f}",
                f"{paired:.3f}",
            )
    console.print(table)

    code = "import time; t = time.perf_counter(); import diffopt_widgets; print(time.perf_counter() - t)"
    code += "; import sys; print(*(name for name in ('torch', 'plotly') if name in sys.modules))"
    seconds, *loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    console.print(
        f"import diffopt_widgets: {float(seconds):.3f} s, loaded with it: {', '.join(loaded) or 'neither torch nor plotly'}"
    )


if __name__ == "__main__":
    main()
