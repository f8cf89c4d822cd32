"""What opening the bench costs in Python: time, widget models and bytes; and a switch of the optimizer.

Run: python tests/benchmarks/bench_lab.py
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time

import ipywidgets as widgets
import torch  # noqa: F401  # the bench opens after torch has been imported, as in a training notebook
from rich.console import Console
from rich.table import Table

import diffopt_widgets as dw


def models(widget: widgets.Widget, seen: dict[str, widgets.Widget]) -> dict[str, widgets.Widget]:
    """Every widget model that the page needs for a widget."""
    if widget.model_id in seen:
        return seen
    seen[widget.model_id] = widget
    for name in widget.keys:
        value = getattr(widget, name, None)
        for part in value if isinstance(value, tuple | list) else [value]:
            if isinstance(part, widgets.Widget):
                models(part, seen)
    return seen


def main() -> None:
    """Print the tables, with a memory of their own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIFFOPT_CONFIG_DIR"] = folder
        measure()


def measure() -> None:
    table = Table("what", "value")
    began = time.perf_counter()
    bench = dw.lab()
    table.add_row("dw.lab(), first time, s", f"{time.perf_counter() - began:.3f}")
    times = []
    for _ in range(10):
        began = time.perf_counter()
        bench = dw.lab()
        times.append(time.perf_counter() - began)
    table.add_row("dw.lab(), then, ms", f"{1000 * statistics.median(times):.1f}")
    found = models(bench, {})
    table.add_row("widget models", str(len(found)))
    text = sum(len(json.dumps(w.get_state(), default=lambda _: None)) for w in found.values())
    table.add_row("their state without binary buffers, kB", f"{text / 1000:.0f}")
    switches = []
    for key in dw.list_optimizers() * 3:
        began = time.perf_counter()
        bench.form.choose(key)
        switches.append(time.perf_counter() - began)
    table.add_row("switch of the optimizer in Python, median ms", f"{1000 * statistics.median(switches):.2f}")
    table.add_row("switch of the optimizer in Python, slowest ms", f"{1000 * max(switches):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
