"""How long the bench takes in a real JupyterLab: from running its cell to use, and a switch of the optimizer to paint.

Not collected with the tests. Run: pytest -s tests/browser/timings.py
"""

from __future__ import annotations

import statistics

from rich.console import Console
from rich.table import Table

ROUNDS = 5

OPEN = """async () => {
  const app = window.jupyterapp;
  app.shell.currentWidget.content.activeCellIndex = 1;
  for (const old of document.querySelectorAll('.dw-bench')) old.classList.add('old');
  const began = performance.now();
  app.commands.execute('notebook:run-cell');
  const bench = '.dw-bench:not(.old)';
  const there = () => document.querySelector(`${bench} .dwf input`) && document.querySelector(`${bench} .js-plotly-plot`)
    && document.querySelector(`${bench} .dw-button:not([disabled])`);
  while (!there()) await new Promise(requestAnimationFrame);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""

SWITCH = """async (key) => {
  const form = document.querySelector('.dw-bench .dwf');
  const [select, name] = [form.querySelector('select'), form.querySelector('.dwf-name')];
  select.value = key;
  const began = performance.now();
  select.dispatchEvent(new Event('change'));
  while (name.textContent !== key) await new Promise(requestAnimationFrame);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""


def test_timings(fresh_notebook):
    nb = fresh_notebook(["import torch", "import diffopt_widgets as dw\nbench = dw.lab()\nbench"])
    nb.run_cell(0)
    first = nb.page.evaluate(OPEN)
    nb.until_python("bench.size.shown['pending'] is False")  # what its first count imports would slow the rest
    again = []
    for _ in range(ROUNDS):
        nb.page.evaluate("document.querySelectorAll('.dw-bench').forEach((old) => old.remove())")
        again.append(nb.page.evaluate(OPEN))
    nb.until_python("bench.size.shown['pending'] is False")
    keys = nb.eval_python("list(dw.list_optimizers())")
    switches = {key: nb.page.evaluate(SWITCH, key) for key in [*keys[1:], keys[0]]}
    second = {key: nb.page.evaluate(SWITCH, key) for key in [*keys[1:], keys[0]]}
    table = Table("in JupyterLab, ms", "median", "fastest", "slowest")
    rows = {"first bench of the kernel, after import torch": [first], "another bench": again}
    rows |= {f"switch to each of the {len(keys)}": list(switches.values()), "once more": list(second.values())}
    for name, times in rows.items():
        table.add_row(name, *(f"{value:.0f}" for value in (statistics.median(times), min(times), max(times))))
    Console().print(table)
    slowest = sorted(switches, key=switches.__getitem__)[-5:]
    Console().print("slowest:", ", ".join(f"{key} {switches[key]:.0f}, then {second[key]:.0f}" for key in slowest))
