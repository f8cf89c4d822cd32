"""What reading the applied rate adds to a bare step, for optimizers whose tensors each have a rate or an average of their own.

Each optimizer steps 400 matrices of 32 × 32 with given gradients, bare and watched in turn; the table shows the quickest turns.
Nothing else is in the loop, so the share is the largest that there can be. Run: python tests/benchmarks/bench_rates.py
"""

from __future__ import annotations

import time

import torch
from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw

TENSORS, STEPS, TURNS = 400, 60, 3
CASES = (
    dw.Settings("ADAMW"),
    dw.Settings("PRODIGY"),
    dw.Settings("NADAM"),
    dw.Settings("LAMB"),
    dw.Settings("ADAFACTOR"),
    dw.Settings("ADAFACTOR", beta1=0.9),
    dw.Settings("DADAPT_ADAM"),
    dw.Settings("DADAPT_SGD", momentum=0.9),
)


def seconds_per_step(settings: dw.Settings, *, watched: bool) -> float:
    """Return the time of one step."""
    params = [torch.nn.Parameter(torch.randn(32, 32)) for _ in range(TENSORS)]
    for p in params:
        p.grad = torch.randn(32, 32)
    optimizer = dw.build_optimizer(settings, params)
    watch = dw.watch(optimizer) if watched else None
    for _ in range(5):
        optimizer.step()
    began = time.perf_counter()
    for _ in range(STEPS):
        optimizer.step()
    taken = (time.perf_counter() - began) / STEPS
    if watch is not None:
        watch.close()
    return taken


def main() -> None:
    torch.set_num_threads(1)
    table = Table("optimizer", "bare step", "watching adds", "for each tensor", "share")
    for settings in CASES:
        turns = [[seconds_per_step(settings, watched=watched) for watched in (False, True)] for _ in range(TURNS)]
        bare, seen = (min(column) for column in zip(*turns, strict=True))
        more = seen - bare
        table.add_row(
            repr(settings),
            f"{1e3 * bare:.2f} ms",
            f"{1e3 * more:.2f} ms",
            f"{1e6 * more / TENSORS:.1f} µs",
            f"{more / bare:.0%}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
