"""Time of 8 runs that advance together, in a sweep, in a bench's session and stacked, against the same one after the other, on the CPU.

    python tests/benchmarks/bench_sweep.py [--task digits] [--steps 100] [--rounds 3] [--processes 2] [--dask]

The ways take turns, so that a change of the machine's speed meets all; the table shows the ratios of each round. Processor time
of the process is counted, so that other programs on the machine do not matter much; the aim is at most 1.05. Stacked, gradients
of all runs are computed in one pass.
With `--processes` they also train in so many processes of a `ProcessPoolExecutor`, their start included; there, and for the same
runs one after the other, seconds and processor time are counted. The aim is at most 0.65 for long runs of digits.
With `--dask`, where the extra is installed, it also trains one run at a cluster of two workers on this machine, and kills its worker
in the middle; there it counts seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.execution.executors import train_in_executor
from diffopt_widgets.execution.session import Session
from diffopt_widgets.execution.stacks import Stacks
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


def in_processes(plans: list[dw.RunPlan], workers: int, rounds: int) -> None:
    """Print the seconds of runs in processes, and of the same runs one after the other.

    Where other programs take the cores, seconds say little; the processor time of all processes, shared by them, is what the
    ratio would be on idle cores if none waited.
    """
    print(f"\n| round | one after the other | {workers} processes | ratio | processor time / {workers} | ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    ratios: list[tuple[float, float]] = []
    for number in range(1, rounds + 1):
        began, used = time.perf_counter(), processor_seconds()
        for plan in plans:
            run_to_end(dw.Run(plan), progress=False)
        alone, used_alone = time.perf_counter() - began, processor_seconds() - used
        began, used = time.perf_counter(), processor_seconds()
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as executor:
            train_in_executor([dw.Run(plan) for plan in plans], executor, None)
        took, shared = time.perf_counter() - began, (processor_seconds() - used) / workers
        ratios.append((took / alone, shared / used_alone))
        columns = f"{alone:.1f} s | {took:.1f} s | {took / alone:.3f} | {shared:.1f} s | {shared / used_alone:.3f}"
        print(f"| {number} | {columns} |", flush=True)
    wall, processor = (median(column) for column in zip(*ratios, strict=True))
    what = f"{plans[0].task}, {plans[0].steps} steps, {len(plans)} runs, load {os.getloadavg()[0]:.1f}"
    print(f"\nmedian ratios {wall:.3f} and {processor:.3f} ({what})")


def processor_seconds() -> float:
    """Processor time of this process and of those that it started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def far(plan: dw.RunPlan) -> None:
    """Print what a Dask cluster on this machine adds to a run, and what the death of a worker costs."""
    from distributed import LocalCluster

    began = time.perf_counter()
    run_to_end(dw.Run(plan), progress=False)
    alone = time.perf_counter() - began
    workers = {"n_workers": 2, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**workers) as cluster, cluster.get_client() as client:
        client.run(__import__, "torch")
        heard: list[tuple[float, int]] = []
        began = time.perf_counter()
        train_in_executor(
            [dw.Run(plan)], client, None, on_publish=lambda run: heard.append((time.perf_counter(), len(run.history)))
        )
        whole = time.perf_counter() - began
        first = next(when for when, rows in heard if rows) - next(when for when, _ in heard)
        killed: list[tuple[float, int]] = []
        after: list[float] = []

        def kill(run: dw.Run) -> None:
            rows = len(run.history)
            if not killed and rows > plan.steps // 4:
                pids = client.run(lambda dask_worker: os.getpid() if dask_worker.state.executing else 0).values()
                killed.append((time.perf_counter(), rows))
                os.kill(max(pids), signal.SIGKILL)
            elif killed and not after and rows > killed[0][1]:
                after.append(time.perf_counter() - killed[0][0])

        (run,) = train_in_executor([dw.Run(plan)], client, None, on_publish=kill)
    print(
        f"\nDask: {alone:.1f} s alone, {whole:.1f} s at a worker (ratio {whole / alone:.2f}); first record {first:.2f} s after the start"
    )
    print(
        f"Dask: worker killed after step {killed[0][1]}; next record {after[0]:.1f} s later; {run.status}, {len(run.history)} records"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--dask", action="store_true")
    options = parser.parse_args()
    over = {"optimizer": ["ADAMW", "PRODIGY"], "seed": [0, 1, 2, 3]}
    plans = vary(dw.RunPlan(dw.Settings("ADAMW"), options.task, options.steps, device="cpu"), over)
    run_to_end(dw.Run(plans[0]), progress=False)
    ways = {
        "together": lambda: train_together([dw.Run(plan) for plan in plans], progress=False),
        "in a session": lambda: asyncio.run(in_session([dw.Run(plan) for plan in plans])),
        "stacked": lambda: train_together([dw.Run(plan) for plan in plans], progress=False, stacks=Stacks(wanted=True)),
    }
    ratios: dict[str, list[float]] = {way: [] for way in ways}
    print(f"| round | one after the other | {' | ratio | '.join(ways)} | ratio |\n|---|{'---:|' * (1 + 2 * len(ways))}")
    for number in range(1, options.rounds + 1):
        alone = seconds(lambda: [run_to_end(dw.Run(plan), progress=False) for plan in plans])
        columns = [f"{alone:.1f} s"]
        for way, train in ways.items():
            took = seconds(train)
            ratios[way].append(took / alone)
            columns += [f"{took:.1f} s", f"{took / alone:.3f}"]
        print(f"| {number} | {' | '.join(columns)} |", flush=True)
    told = ", ".join(f"{way} {median(each):.3f}" for way, each in ratios.items())
    print(f"\nmedian ratios: {told} ({options.task}, {options.steps} steps, 8 runs)")
    if options.processes:
        in_processes(plans, options.processes, options.rounds)
    if options.dask:
        far(plans[0])


if __name__ == "__main__":
    main()
