"""What somebody does with the plot: look closer at long runs, move about by keys, save, and look away."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(__file__).parents[1] / "js" / "node_modules" / "axe-core" / "axe.min.js"
GRAPH = "document.querySelector('.dw-plot-graph')"

SETUP = """
import numpy as np
from diffopt_widgets.drawing.curves import smooth
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.drawing.panels import metric_panel
from diffopt_widgets.records import History, StepRecord

def history(rows):
    kept, steps = History(("unet",)), np.arange(1, rows + 1)
    rate = np.full((rows, 1), 1e-3)
    values = {"loss": np.sin(steps), "lr": rate, "applied_lr": rate, "seconds": steps / 10}
    kept.extend_columns(steps, values)
    return kept

plot = LivePlot(smoothing=0.9)
"""


def until(page: Page, condition: str) -> None:
    page.wait_for_function(f"(() => {{ const g = {GRAPH}; return g?.data && {condition}; }})()")


def shown_range(page: Page) -> list[float]:
    return page.evaluate(f"{GRAPH}.layout.xaxis.range")


def zoom_to_steps(page):
    """Zoom in by keyboard until single steps can be seen; the panel that has the focus."""
    panel = page.get_by_role("application", name="Training loss")
    panel.focus()
    while shown_range(page)[1] - shown_range(page)[0] > 200:
        before = shown_range(page)
        panel.press("+")
        page.wait_for_function(f"{GRAPH}.layout.xaxis.range[1] !== {before[1]}")
    return panel


def test_a_long_run_opens_thinned_and_shows_every_step_in_a_zoom(notebook):
    nb = notebook([SETUP, "kept = history(300_000)\nplot.add_run('a', 'long', kept)\nplot"])
    page = nb.page
    nb.run_cell(0)
    nb.run_cell(1)
    until(page, "g.dataset.rows === '300000'")
    assert page.evaluate(f"{GRAPH}.data[0].x.length") < 2000
    panel = zoom_to_steps(page)
    until(page, "g.dataset.lacking === '0' && g.data[0].x.every((x, i, all) => i === 0 || x === all[i - 1] + 1)")
    # Every step in sight as it was recorded, and its average as it is over all rows.
    steps, values, means = page.evaluate(f"[0, 0, 1].map((i, j) => Array.from({GRAPH}.data[i][j ? 'y' : 'x']))")
    expected = nb.eval_python(f"[float(np.float32(kept.column('loss')[int(s) - 1])) for s in {steps}]")
    assert values == pytest.approx(expected)
    average = nb.eval_python(
        f"[float(means[int(s) - 1]) for means in [smooth(kept.column('loss'), 0.9)] for s in {steps}]"
    )
    assert means == pytest.approx(average, abs=1e-5)
    # Points that come keep what is in sight; keys move all panels.
    before = shown_range(page)
    nb.eval_python("kept.extend([StepRecord(300_001, 1.0, 0.5, (1e-3,), (1e-3,))])")
    nb.eval_python("plot.refresh(final=True)")
    until(page, "g.dataset.rows === '300001'")
    assert shown_range(page) == before
    panel.press("ArrowRight")
    page.wait_for_function(f"{GRAPH}.layout.xaxis.range[0] > {before[0]}")
    until(page, "String(g.layout.xaxis.range) === String(g.layout.xaxis2.range)")
    panel.press("0")
    page.wait_for_function(f"{GRAPH}.layout.xaxis.range[1] > 300000")
    expect(page.get_by_role("button", name="Reset view")).to_be_hidden()


BLOCK = """
import pathlib, time
while not pathlib.Path("seen_while_blocked").exists():
    kept.extend([StepRecord(len(kept) + 1, len(kept) / 10, 0.5, (1e-3,), (1e-3,))])
    plot.refresh()
    time.sleep(0.02)
plot.end_run("a")
"""


def test_while_a_cell_blocks_the_kernel_the_plot_says_what_waits_and_has_it_afterwards(fresh_notebook):
    nb = fresh_notebook([SETUP, "kept = history(300_000)\nplot.add_run('a', 'long', kept)\nplot", BLOCK])
    page = nb.page
    nb.run_cell(0)
    nb.run_cell(1)
    until(page, "g.dataset.rows === '300000'")
    nb.run_cell(2, wait=False)
    until(page, "Number(g.dataset.rows) > 300050")
    zoom_to_steps(page)
    note = page.locator(".dw-plot-note")
    expect(note).to_have_text("More detail arrives when the kernel is free (a running cell can keep it busy)")
    # What the page can do alone it does at once, and rows go on to come.
    page.get_by_role("button", name="log loss").click()
    until(page, "g.layout.yaxis.type === 'log'")
    entry = page.get_by_role("button", name="long")
    entry.press("Enter")
    until(page, "g.dataset.points === '0'")
    entry.press("Enter")
    until(page, "g.dataset.points !== '0'")
    rows = page.evaluate(f"Number({GRAPH}.dataset.rows)")
    until(page, f"Number(g.dataset.rows) > {rows + 20}")
    assert page.evaluate(f"{GRAPH}.dataset.lacking") == "1"

    nb.path.with_name("seen_while_blocked").touch()
    expect(note).to_be_empty()
    until(page, "g.dataset.lacking === '0' && g.data[0].x.every((x, i, all) => i === 0 || x === all[i - 1] + 1)")
    total = nb.until_python("plot.runs[0]['total']")
    until(page, f"g.dataset.rows === '{total}'")
    nb.until_python("plot.log['loss'] and plot.runs[0]['visible']")


def test_axes_groups_panels_and_files(notebook, tmp_path):
    runs = """
for i in range(4):
    dc = (0.5, 1.0)[i % 2]
    details = {"d_coef": str(dc), "seed": str(i // 2)}
    plot.add_run(str(i), f"run {i}", history(200), details=details, group=f"d_coef {dc}", samples_per_step=8)
plot"""
    nb = notebook([SETUP, runs])
    page = nb.page
    nb.run_cell(0)
    nb.run_cell(1)
    until(page, "g.dataset.rows === '800'")
    along = page.get_by_role("combobox", name="x axis")
    for axis, last in (("time", 20), ("samples", 1600)):
        along.select_option(axis)
        until(page, f"g.data.every(({{ x }}) => Math.abs(x.at(-1) - {last}) < 1e-3)")
        nb.until_python(f"plot.x == {axis!r}")
    nb.eval_python("setattr(plot, 'x', 'step')")
    until(page, "g.data[0].x.at(-1) === 200")

    page.get_by_role("button", name="d_coef 0.5").press("Enter")
    nb.until_python("[run['visible'] for run in plot.runs] == [False, True, False, True]")
    until(page, "g.data[2].hovertemplate.includes('run 1 (d_coef 1.0, seed 0)')")

    nb.eval_python("[run.history.extend([StepRecord(201, 20.1, 0.5, (1e-3,), (1e-3,), metrics={'val/acc': 0.25})])"
                   " for run in plot._by_key.values()]")  # fmt: skip
    nb.eval_python("plot.add_panel(metric_panel('val/acc'))")
    until(page, "g.layout.yaxis3 && g.data.some((line) => line.yaxis === 'y3' && line.y[0] === 0.25)")
    expect(page.get_by_role("button", name="log val/acc")).to_be_visible()

    files = {}
    for kind in ("PNG", "SVG", "HTML", "CSV"):
        page.locator(".dw-plot-save > summary").press("Enter")
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).press("Enter")
        assert download.value.suggested_filename == f"diffopt.{kind.lower()}"
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        files[kind] = path.read_bytes()
    assert files["PNG"].startswith(b"\x89PNG")
    assert b"<svg" in files["SVG"]
    table = list(csv.DictReader(io.StringIO(files["CSV"].decode())))
    assert [row["run"] for row in table].count("run 1") == 201
    assert {row["run"] for row in table} == {"run 1", "run 3"}
    assert (table[-1]["step"], table[-1]["val/acc"], table[-2]["val/acc"]) == ("201", "0.25", "")
    offline = page.context.new_page()
    offline.goto(f"file://{tmp_path / 'diffopt.html'}")
    offline.wait_for_function("document.querySelector('.js-plotly-plot .scatterlayer path')")
    offline.close()

    if AXE.exists():
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        page.locator(".dw-plot-save > summary").press("Enter")
        faults = page.evaluate(
            "async () => (await axe.run('.dw-plot')).violations.map(({ id, impact, nodes }) => [id, impact, nodes[0].html])"
        )
        assert [fault for fault in faults if fault[1] in {"serious", "critical"}] == []


def test_a_hidden_page_draws_nothing_and_is_whole_when_it_is_seen_again(patched_page):
    nb = patched_page([SETUP, "kept = history(100)\nplot.add_run('a', 'a run', kept)\nplot"])
    page = nb.page
    nb.run_cell(0)
    nb.run_cell(1)
    until(page, "g.dataset.rows === '100'")
    hide = """(hidden) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    page.evaluate(hide, True)
    watch = "new MutationObserver(() => window.drawings++)"
    page.evaluate(f"window.drawings = 0; {watch}.observe({GRAPH}, {{ attributes: true }})")
    for _ in range(5):
        nb.eval_python("kept.extend([StepRecord(len(kept) + 1, 0.1, 0.5, (1e-3,), (1e-3,))] * 20)")
        nb.eval_python("plot.refresh(final=True)")
    nb.eval_python("setattr(plot, 'hint', 'after the rows')")  # messages arrive in order
    page.wait_for_function("document.querySelector('.dw-plot-hint').textContent === 'after the rows'")
    assert page.evaluate("window.drawings") == 0
    page.evaluate(hide, False)
    until(page, "g.dataset.rows === '200' && g.data[0].x.length === 200")
