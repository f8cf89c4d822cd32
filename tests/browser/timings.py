"""How long the bench takes in a real JupyterLab, from running its cell to use and a switch of the optimizer to paint, and how
much of the page's memory.

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


RERUNS = 10
COMPARISON = "D coefficient under cosine"


def memory(cdp):
    """Return the megabytes of JavaScript, the nodes and the listeners that the page holds."""
    for _ in range(3):  # what is freed in one round may hold what is freed in the next
        cdp.send("HeapProfiler.collectGarbage")
    metrics = {entry["name"]: entry["value"] for entry in cdp.send("Performance.getMetrics")["metrics"]}
    return metrics["JSHeapUsedSize"] / 1e6, metrics["Nodes"], metrics["JSEventListeners"]


def test_memory(fresh_notebook):
    opening = "bench = dw.lab(task='swiss_roll', steps=100)\nbench"
    nb = fresh_notebook(["import torch, diffopt_widgets as dw", opening])
    cdp = nb.page.context.new_cdp_session(nb.page)
    cdp.send("Performance.enable")
    scripts = []
    cdp.on("Debugger.scriptParsed", lambda script: scripts.append(script))  # noqa: PLW0108  # playwright takes no built-in
    nb.run_cell(0)
    table = Table("the page of JupyterLab", "JavaScript, MB", "nodes", "listeners")

    def row(name, values, digits=1):
        table.add_row(name, f"{values[0]:.{digits}f}", *(f"{value:,.0f}" for value in values[1:]))

    def open_bench():
        nb.run_cell(1)
        nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True).and_(
            nb.page.locator(":enabled")
        ).wait_for()

    row("before the first bench", memory(cdp))
    open_bench()
    row("with a bench", memory(cdp))
    nb.page.locator(".dw-bench").get_by_role("button", name=COMPARISON).click()
    nb.until_python("len(bench.runs) > 1 and all(run.ended for run in bench.runs)", seconds=300)
    row("after a comparison", memory(cdp))
    open_bench()
    before = memory(cdp)
    cdp.send("Debugger.enable")
    scripts.clear()
    for _ in range(RERUNS):
        open_bench()
    after = memory(cdp)
    row("for each bench that takes its place", [(b - a) / RERUNS for a, b in zip(before, after, strict=True)], 2)
    Console().print(table)
    code = sum(script["length"] for script in scripts if script["url"].startswith("blob:"))
    Console().print(f"code of widgets that the page was given for each: {code / RERUNS / 1e6:.2f} million characters")
