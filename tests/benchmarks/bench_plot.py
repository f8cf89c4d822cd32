"""What an update of the live plot costs, and what a page is sent that opens: bytes and milliseconds, at any length.

Each update sends new rows of one run, or of all of them at once. Bytes are those of the whole message, as the kernel's
session packs and signs it. Run: python tests/benchmarks/bench_plot.py
"""

from __future__ import annotations

import statistics
import time
from typing import Any, ClassVar

import comm
import numpy as np
from comm.base_comm import BaseComm
from jupyter_client.session import Session
from rich.console import Console
from rich.table import Table

from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.widgets.plot.live import LivePlot

ROUNDS = 200
CASES = [(1, 1, 10, 6), (8, 1, 10, 6), (8, 8, 1, 6), (8, 8, 4, 6), (8, 8, 10, 6), (8, 8, 10, 3)]
"""Runs, how many of them get rows in an update, how many rows each, and how many values a row has of its own: 6 where the
optimizer estimates d, 3 (loss, rate, seconds) where it applies the scheduled rate."""


class WireComm(BaseComm):
    """Packs messages as a kernel does and counts their bytes."""

    session = Session(key=b"key")
    parent = session.msg("execute_request", {})
    sizes: ClassVar[list[int]] = []

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:  # noqa: ARG002
        message = self.session.msg(msg_type, {"comm_id": self.comm_id, "data": data or {}}, parent=self.parent)
        frames = self.session.serialize(message, ident=b"comm")
        self.sizes.append(sum(map(len, frames)) + sum(memoryview(buffer).nbytes for buffer in buffers or ()))


def records(start: int, count: int, own: int) -> list[StepRecord]:
    """Rows with all that the plot draws, no two values alike but the rates of the two groups."""
    rate = [1e-3 + 1e-9 * s for s in range(start, start + count)]
    return [
        StepRecord(s, 0.1 * s, 1 / s, (1 - r,) * 2, (r,) * 2, d=1e-3 + r, d_hat=1e-3 / s)
        if own == 6
        else StepRecord(s, 0.1 * s, 1 / s, (r,) * 2, (r,) * 2)
        for s, r in enumerate(rate, start)
    ]


def measure(rows: int, runs: int, growing: int, new: int, own: int) -> tuple[float, float, float, float, float]:
    """Bytes per update, its median and 99th percentile in ms, MB and ms of all rows for a page that opens.

    Each run is a row longer than the one before, as runs are that go on beside each other.
    """
    plot = LivePlot()
    histories = [History(("text_encoder", "unet")) for _ in range(runs)]
    for i, history in enumerate(histories):
        history.extend(records(1, 1, own))
        noise = np.random.default_rng(i).random
        columns = {name: noise((rows + i - 1, *history.column(name).shape[1:])) for name in history.names()}
        history.extend_columns(np.arange(2, rows + i + 1), columns)
        plot.add_run(str(i), f"d_coef {i}", history, schedule=True)
    plot.refresh(final=True)
    WireComm.sizes.clear()
    began = time.perf_counter()
    plot._answer(None, {"k": "hello"}, [])
    opened, snapshot = time.perf_counter() - began, sum(WireComm.sizes)
    seconds, sizes = [], []
    for update in range(ROUNDS):
        for i in range(growing):
            history = histories[(update + i) % runs]
            history.extend(records(len(history) + 1, new, own))
        WireComm.sizes.clear()
        began = time.perf_counter()
        plot.refresh(final=True)
        seconds.append(time.perf_counter() - began)
        sizes.append(sum(WireComm.sizes))
    slow = 1e3 * float(np.quantile(seconds, 0.99))
    return statistics.mean(sizes), 1e3 * statistics.median(seconds), slow, snapshot / 1e6, 1e3 * opened


def main() -> None:
    """Print the table."""
    comm.create_comm = WireComm
    table = Table(title="LivePlot: one update (reach: under 2,000 bytes and 1 ms)")
    titles = (
        "runs",
        "of these grow",
        "by rows",
        "of values",
        "rows per run",
        "bytes",
        "ms, median",
        "ms, 99%",
        "opening: MB",
        "opening: ms",
    )
    for title in titles:
        table.add_column(title, justify="right")
    for case in CASES:
        for rows in (1_000, 100_000, 1_000_000):
            size, *times = measure(rows, *case)
            table.add_row(*map(str, case), f"{rows:,}", f"{size:,.0f}", *(f"{value:.2f}" for value in times))
    Console().print(table)


if __name__ == "__main__":
    main()
