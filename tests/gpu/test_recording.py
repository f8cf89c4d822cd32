"""What recording takes of a step: the same training in turns, with and without it.

Turns are long beside the time between publishes, and the device is waited for at the end of each. The figure is the median
of the turns' differences, over the median of the bare turns; the quartiles beside it say how sure that is.
"""

import itertools
import statistics
import time

import pytest
import torch
from gpu.loops import bare, long_plan, watched

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.runs.run import Run
from diffopt_widgets.training.loop import Training
from diffopt_widgets.training.measures import MEASURES

REACH = 0.01
TURN, TURNS = 0.3, 7
WARM = 10
RATES = {"PRODIGY": 1.0}
CASES = [
    *itertools.product(("digits",), ("ADAMW", "PRODIGY", "ADAFACTOR", "LAMB")),
    *itertools.product(("swiss_roll",), ("ADAMW", "PRODIGY")),
]


def seconds_of(steps, count, device):
    """Return the seconds of so many steps, until the device is done."""
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compared(plain, loops, device):
    """Return the milliseconds of a bare step, and for each loop what it adds: median and quartiles, as parts of that."""
    for steps in (plain, *loops.values()):
        seconds_of(steps, WARM, device)
    count = max(2, round(TURN / (seconds_of(plain, WARM, device) / WARM)))
    alone, added = [], {name: [] for name in loops}
    for turn in range(TURNS):
        one = [("", plain), *loops.items()]
        took = {name: seconds_of(steps, count, device) for name, steps in (one if turn % 2 else one[::-1])}
        alone.append(took[""])
        for name in loops:
            added[name].append(took[name] - took[""])
    base = statistics.median(alone)
    parts = {name: [part / base for part in statistics.quantiles(found)] for name, found in added.items()}
    return 1000 * base / count, {name: (half, low, high) for name, (low, half, high) in parts.items()}


def told(parts, step):
    half, low, high = parts
    return f"{half:+.2%} ({low:+.2%} to {high:+.2%}) of a step of {step:.2f} ms"


@pytest.mark.parametrize(("task", "key"), CASES)
def test_what_the_bench_and_a_watch_take(task, key, rows, device):
    for _ in rows.each([f"{key}, {task}"]):
        plan = long_plan(dw.Settings(key, lr=RATES.get(key, 1e-3)), device, task)
        loops = {"bench": drive(Run(plan)), "watch": watched(Training(plan))}
        step, found = compared(bare(Training(plan)), loops, device)
        loops["bench"].close()
        for name, parts in found.items():
            ok = parts[0] <= REACH if device == "cuda" else None  # on a CPU the steps of these tasks are too short
            rows.add(
                f"{name}: {key}, {task}", told(parts, step), ok, part=parts[0], low=parts[1], high=parts[2], ms=step
            )
    assert [missed for missed in rows.missed() if f"{key}, {task}" in missed] == []


def test_what_each_measure_takes(rows, device):
    for dtype in rows.each(("float32", "bfloat16")):
        plan = long_plan(dw.Settings("ADAMW", lr=1e-3), device, dtype=dtype)
        known = [name for name in MEASURES if name != "bf16_lost" or dtype == "bfloat16"]
        loops = {name: watched(Training(plan), measure=name) for name in known}
        loops["all, every 10"] = watched(Training(plan), measure=known, every=10)
        step, found = compared(bare(Training(plan)), loops, device)
        for name, parts in found.items():
            rows.add(f"{name}: ADAMW, digits in {dtype}", told(parts, step), part=parts[0], ms=step)
