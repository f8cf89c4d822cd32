"""Time of 8 runs that advance together, in a sweep and in a bench's session, against the same runs one after the other, on the CPU.

    python tests/benchmarks/bench_sweep.py [--task digits] [--steps 100] [--rounds 3]

The ways take turns, so that a change of the machine's speed meets all; the table shows the ratios of each round. Processor time
of the process is counted, so that other programs on the machine do not matter much; the aim is at most 1.05.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import median

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.execution.session import Session
from diffopt_widgets.execution.sweeps import train_together
from diffopt_widgets.runs.space import vary


def seconds(call) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


async def in_session(runs) -> None:
    session = Session(lambda _: None)
    session.start(runs)
    await session.wait()


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
    print("| round | in turn | together | ratio | in a session | ratio |\n|---|---:|---:|---:|---:|---:|")
    for number in range(1, options.rounds + 1):
        alone = seconds(lambda: [run_to_end(dw.Run(plan), progress=False) for plan in plans])
        together = seconds(lambda: train_together([dw.Run(plan) for plan in plans], progress=False))
        session = seconds(lambda: asyncio.run(in_session([dw.Run(plan) for plan in plans])))
        ratios.append((together / alone, session / alone))
        columns = f"{alone:.1f} s | {together:.1f} s | {ratios[-1][0]:.3f} | {session:.1f} s | {ratios[-1][1]:.3f}"
        print(f"| {number} | {columns} |", flush=True)
    sweeps, sessions = (median(column) for column in zip(*ratios, strict=True))
    print(f"\nmedian ratios {sweeps:.3f} and {sessions:.3f} ({options.task}, {options.steps} steps, 8 runs)")


if __name__ == "__main__":
    main()
