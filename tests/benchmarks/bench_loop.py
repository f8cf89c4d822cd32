"""What recording costs: the bench's loop against the same loop with no recording, taking turns step by step.

Run: python tests/benchmarks/bench_loop.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw
from diffopt_widgets.driver import carry_out
from diffopt_widgets.plan import RunPlan
from diffopt_widgets.runs import Run
from diffopt_widgets.training.loop import Training

STEPS = 200


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
    steps = carry_out(Run(plan))
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
