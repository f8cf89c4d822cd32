"""How long a step of each task takes and how far the loss falls. Run it: `python tests/benchmarks/bench_tasks.py`.

Prints a Markdown table: milliseconds per step with one and with two threads, how many steps an evaluation takes, and the
evaluation loss before training and after 50, 150 and 300 steps, everything under a cosine schedule that ends at step 300.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import torch
from prodigyopt import Prodigy

from diffopt_widgets.tasks import get_task, list_tasks

MARKS = (0, 50, 150, 300)
Make = "Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]"

OPTIMIZERS: dict[str, Make] = {
    "ADAMW lr 1e-3": lambda params: torch.optim.AdamW(params, lr=1e-3),
    "ADAMW lr 2e-3": lambda params: torch.optim.AdamW(params, lr=2e-3),
    "ADAMW lr 4e-3": lambda params: torch.optim.AdamW(params, lr=4e-3),
    "ADAMW lr 1e-2": lambda params: torch.optim.AdamW(params, lr=1e-2),
    "PRODIGY d_coef 0.5": lambda params: Prodigy(params, lr=1.0, d_coef=0.5),
    "PRODIGY d_coef 1.0": lambda params: Prodigy(params, lr=1.0, d_coef=1.0),
    "PRODIGY d_coef 1.2": lambda params: Prodigy(params, lr=1.0, d_coef=1.2),
}


def measure(key: str, make: Make, seed: int, threads: int, steps: int) -> dict[str, Any]:
    """Train one task with one optimizer; times cover the steps only, not the evaluations between them."""
    torch.set_num_threads(threads)
    task = get_task(key)
    problem = task.build(seed, torch.device("cpu"), task.batch_size, torch.float32)
    optimizer = make([p for group in problem.groups for p in group.params])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: (1 + math.cos(math.pi * min(k / MARKS[-1], 1))) / 2
    )
    losses, seconds, evaluating = [], 0.0, 0.0
    for step in range(steps):
        if step in MARKS:
            began = time.perf_counter()
            losses.append(problem.evaluate().item())
            evaluating = time.perf_counter() - began
        began = time.perf_counter()
        problem.loss(step).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seconds += time.perf_counter() - began
    losses.append(problem.evaluate().item())
    began = time.perf_counter()
    problem.samples()
    sampling = time.perf_counter() - began
    return {
        "ms": seconds / steps * 1e3,
        "losses": losses,
        "samples": sampling * 1e3,
        "evaluation": evaluating / (seconds / steps),
        "d": optimizer.param_groups[0].get("d"),
    }


def main() -> None:
    """Measure what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(list_tasks()))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        f"| task | optimizer | ms/step, 1 thread | 2 threads | samples, ms | evaluation, steps | {' | '.join(map(str, MARKS))} | final d |"
    )
    print("|" + " --- |" * (7 + len(MARKS)))
    for key in arguments.tasks:
        for name, make in OPTIMIZERS.items():
            one = measure(key, make, arguments.seed, 1, MARKS[-1])
            two = measure(key, make, arguments.seed, 2, 10)
            losses = " | ".join(f"{loss:.3f}" for loss in one["losses"])
            d = "" if one["d"] is None else f"{one['d']:.1e}"
            print(
                f"| {key} | {name} | {one['ms']:.1f} | {two['ms']:.1f} | {one['samples']:.0f} | {one['evaluation']:.1f} | {losses} | {d} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
