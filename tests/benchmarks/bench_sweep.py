"""Time of 8 runs that advance together against the same runs one after the other, on the CPU.

    python tests/benchmarks/bench_sweep.py [--task digits] [--steps 100] [--rounds 3]

The two ways take turns, so that a change of the machine's speed meets both; the table shows the ratio of each round.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.execution.sweeps import train_together
from diffopt_widgets.runs.space import vary


def seconds(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    over = {"optimizer": ["ADAMW", "PRODIGY"], "seed": [0, 1, 2, 3]}
    plans = vary(dw.RunPlan(dw.Settings("ADAMW"), options.task, options.steps, device="cpu"), over)
    run_to_end(dw.Run(plans[0]), progress=False)
    ratios = []
    print("| round | in turn | together | ratio |\n|---|---:|---:|---:|")
    for number in range(1, options.rounds + 1):
        alone = seconds(lambda: [run_to_end(dw.Run(plan), progress=False) for plan in plans])
        together = seconds(lambda: train_together([dw.Run(plan) for plan in plans], progress=False))
        ratios.append(together / alone)
        print(f"| {number} | {alone:.1f} s | {together:.1f} s | {ratios[-1]:.2f} |")
    print(f"\nmedian ratio {median(ratios):.2f} ({options.task}, {options.steps} steps, 8 runs)")


if __name__ == "__main__":
    main()
