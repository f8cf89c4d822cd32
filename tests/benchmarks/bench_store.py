"""What keeping runs costs: milliseconds per save, bytes per step on disk, and seconds to load a million steps.

Run: python tests/benchmarks/bench_store.py [FOLDER]

The folder says which disk; by default the one for temporary files.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw
from diffopt_widgets.records import History

NAMES = ("loss", "d", "d_hat", "grad_norm", "update_rms", "weight_norm", "seconds", "mine")
SAVES = 300


def grow(history: History, rows: int) -> None:
    start = len(history)
    values = {name: np.random.default_rng(start).random(rows) for name in NAMES}
    history.extend_columns(np.arange(start + 1, start + rows + 1), values)


def training(folder: Path, rows: int) -> tuple[str, ...]:
    """Saves of so many rows each, each waited for, as if the publishes were far apart."""
    store, history = dw.RunStore(folder / f"{rows}.sqlite"), History(("all",))
    writer = store.begin("bench", history)
    held, written = [], []
    for _ in range(SAVES):
        grow(history, rows)
        began = time.perf_counter()
        writer.save()
        held.append(1e3 * (time.perf_counter() - began))
        writer.flush()
        written.append(1e3 * (time.perf_counter() - began))
    writer.end("done")
    size = store.path.stat().st_size / len(history)
    slowest = sorted(written)[int(0.99 * SAVES)]
    median = statistics.median
    return (f"{rows}", f"{median(held):.3f}", f"{median(written):.1f}", f"{slowest:.1f}", f"{size:.0f}")


def million(folder: Path) -> tuple[str, ...]:
    store, history = dw.RunStore(folder / "million.sqlite"), History(("all",))
    writer = store.begin("bench", history)
    for _ in range(1000):
        grow(history, 1000)
        writer.save()
    writer.end("done")
    times = []
    for _ in range(5):
        began = time.perf_counter()
        found = store.load(writer.id)
        times.append(time.perf_counter() - began)
    np.testing.assert_array_equal(found.history.column("loss"), history.column("loss"))
    began = time.perf_counter()
    store.list()
    listed = 1e3 * (time.perf_counter() - began)
    size = store.path.stat().st_size / len(history)
    return (f"{len(history):,}", f"{times[0]:.2f}", f"{statistics.median(times):.2f}", f"{size:.0f}", f"{listed:.1f}")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        saves = Table(
            "rows per save", "held up, ms (median)", "written, ms (median)", "written, ms (99 %)", "bytes per step"
        )
        for rows in (1, 10, 100, 1000):
            saves.add_row(*training(folder, rows))
        loads = Table("steps of 8 columns", "load, s (first)", "load, s (median)", "bytes per step", "list, ms")
        loads.add_row(*million(folder))
        Console().print(saves, loads)


if __name__ == "__main__":
    main()
