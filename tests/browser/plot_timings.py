"""How long the live plot takes in a real JupyterLab, at any length: to open, from an append to paint, and to zoom in.

Not collected with the tests. Run: pytest -s tests/browser/plot_timings.py
Each update appends ten rows to one run. Memory is that of the browser's renderers, before and after the plot was opened.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROUNDS = 15
APART = 500
"""Milliseconds between two updates: each is alone, and the page has rested from the one before, as it does for as long as that
took."""
CASES = [(runs, rows) for runs in (1, 8) for rows in (1_000, 100_000, 1_000_000)] + [(100, 10_000)]

SETUP = """
import time
import numpy as np
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.records import History, StepRecord

def records(start, count):
    return [
        StepRecord(s, 0.1 * s, 0.25, (1e-4,) * 2, (1e-7,) * 2, d=1e-3, d_hat=1.1e-3) for s in range(start, start + count)
    ]

def history(rows, i):
    kept = History(("text_encoder", "unet"))
    kept.extend(records(1, 1))
    steps = np.arange(2, rows + 1)
    schedule = 0.5 + 0.5 * np.cos(np.pi * steps / rows)
    estimate = np.minimum(1e-3 * (1 + i), 1e-6 * 1.02 ** np.minimum(steps, 400))
    noise = np.random.default_rng(i).random((2, len(steps)))
    kept.extend_columns(steps, {
        "loss": 0.2 + 0.05 * i + 0.1 * noise[0] + np.exp(-5 * steps / rows), "lr": np.stack([schedule] * 2, axis=1),
        "applied_lr": np.stack([schedule * estimate] * 2, axis=1),
        "d": estimate, "d_hat": estimate * (1 + 0.2 * noise[1]), "seconds": 0.1 * steps,
    })
    return kept

def make(runs, rows):
    plot = LivePlot()
    for i in range(runs):
        setting = f"PRODIGY, setting {i % 20}" if runs > 8 else ""  # five seeds of each
        plot.add_run(str(i), f"PRODIGY, run {i}", history(rows, i), schedule=True, setting=setting)
    return plot

def append(plot):
    run = next(iter(plot._by_key.values()))
    run.history.extend(records(len(run.history) + 1, 10))
    began = time.time()
    plot.refresh(final=True)
    return [1000 * began, 1000 * (time.time() - began)]
"""

OPEN = """async ([index, rows]) => {
  const app = window.jupyterapp;
  app.shell.currentWidget.content.activeCellIndex = index;
  const began = performance.now();
  app.commands.execute('notebook:run-cell');
  const shown = () => [...document.querySelectorAll('.dw-plot-graph')].at(-1)?.dataset;
  while (!(Number(shown()?.points) > 0 && Number(shown()?.rows) === rows)) await new Promise(requestAnimationFrame);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""

PAINTED = """(rows) => {
  const graph = [...document.querySelectorAll('.dw-plot-graph')].at(-1);
  graph.scrollIntoView();
  window.painted = (async () => {
    while (Number(graph.dataset.rows) < rows) await new Promise((done) => setTimeout(done, 1));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return Date.now();
  })();
}"""

ZOOM = """async () => {
  const frame = [...document.querySelectorAll('.dw-plot')].at(-1).querySelector('.dw-plot-panel');
  const graph = [...document.querySelectorAll('.dw-plot-graph')].at(-1);
  const width = () => graph.layout.xaxis.range[1] - graph.layout.xaxis.range[0];
  while (width() > 800) {
    const before = width();
    frame.dispatchEvent(new KeyboardEvent('keydown', { key: '+', bubbles: true }));
    while (width() === before) await new Promise((done) => setTimeout(done, 1));
  }
  const began = performance.now();
  while (graph.dataset.lacking !== '0') await new Promise((done) => setTimeout(done, 1));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""


def renderers() -> float:
    """Resident memory of the browser's renderers, in MB."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"--type=renderer" in status.with_name("cmdline").read_bytes():
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                total += int(lines["VmRSS"].split()[0])
        except OSError:
            continue
    return total / 1024


def test_timings(fresh_notebook):
    table = Table(title="LivePlot in JupyterLab: medians", title_justify="left")
    titles = [
        "runs",
        "rows per run",
        "opens, s",
        "append → painted, ms",
        "slowest",
        "Python, ms",
        "zoom to rows, ms",
        "MB",
    ]
    for title in titles:
        table.add_column(title, justify="right")
    for runs, rows in CASES:
        nb = fresh_notebook([SETUP, f"plot = make({runs}, {rows})", "plot"])
        nb.run_cell(0)
        nb.run_cell(1)
        before = renderers()
        opened = nb.page.evaluate(OPEN, [2, runs * rows])
        memory = renderers() - before
        painted, python = [], []
        for i in range(ROUNDS):
            nb.page.wait_for_timeout(APART)
            nb.page.evaluate(PAINTED, runs * rows + 10 * (i + 1))
            began, took = nb.eval_python("append(plot)")
            painted.append(nb.page.evaluate("window.painted") - began)
            python.append(took)
        zoomed = nb.page.evaluate(ZOOM)
        times = (statistics.median(painted), max(painted), statistics.median(python), zoomed)
        cells = [f"{runs}", f"{rows:,}", f"{opened / 1000:.2f}", *(f"{time:.1f}" for time in times), f"{memory:.0f}"]
        table.add_row(*cells)
        print(*cells)
        nb.close()
    Console(width=140).print(table)
