"""Pictures of the bench at three widths and in two themes, to be looked at; not collected with the tests.

Run: DIFFOPT_SCREENSHOTS=screenshots pytest tests/browser/pictures.py
The README's moving picture is made by animation.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

MISSING = "import sys\nsys.modules['lion_pytorch'] = None  # what import then raises for\n"
OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"))
bench"""
STORE = """import pathlib, tempfile, ipywidgets, diffopt_widgets as dw
store = dw.RunStore(pathlib.Path(tempfile.mkdtemp()) / "runs.sqlite")
grid = {"optimizer": ["ADAMW", "LION"], "lr": [1e-3, 3e-3]}
runs = dw.sweep(dw.Settings("ADAMW"), over=grid, task="swiss_roll", steps=60, store=store)
store.annotate(runs[1].key, "falls quickest, but look again with another seed")
table = dw.RunStoreTable(store)
for run in runs[:3]:
    table.draw(run.key)
ipywidgets.VBox([table, table.plot])"""

SCREENS = {
    "480": (480, 900),
    "700": (700, 1000),
    "900": (900, 1000),
    "1280-sidebar": (1280, 800),
    "1400": (1400, 1000),
    "1920": (1920, 1080),
}
HEIGHTS = {480: 5600, 700: 3900, 1400: 3700}
"""By width: so tall that the notebook shows the whole bench without scrolling."""


@pytest.fixture
def keep(request):
    """Return a function that takes a picture of one element."""
    folder = Path(os.environ.get("DIFFOPT_SCREENSHOTS", "screenshots"))
    folder.mkdir(exist_ok=True, parents=True)
    looks = "{width}-{theme}".format(**request.node.callspec.params)
    return lambda place, name: place.screenshot(path=folder / f"{name}-{looks}.png")


def opened(notebook, cell, width, theme):
    nb = notebook([cell], width=width, height=HEIGHTS[width], theme=theme)
    nb.run_cell(0)
    return nb, nb.page.locator(".dw-bench")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", HEIGHTS)
def test_form(fresh_notebook, keep, width, theme):
    """What one meets before a run: the search, help, every option, what cannot run here, what is wrong."""
    nb, bench = opened(fresh_notebook, MISSING + OPEN, width, theme)
    expect(bench.get_by_text("Press Run: loss and applied learning rate appear here").first).to_be_visible()
    keep(bench, "open")

    find = bench.get_by_label("Find an option of any optimizer")
    find.fill("beta")
    expect(bench.locator(".dwf-hit").first).to_be_visible()
    keep(bench, "search")
    find.press("Escape")

    bench.evaluate("bench => bench.querySelectorAll('.dwf-section').forEach((section) => (section.open = true))")
    bench.get_by_role("button", name="Explain D coefficient").click()
    bench.get_by_role("button", name="Show code").click()
    bench.get_by_text("Compare all optimizers").click()
    expect(bench.locator(".dwm-bars li").first).to_be_visible()
    keep(bench, "unfolded")

    nb.eval_python("bench.form.type('lr', 'fast')")
    nb.eval_python("bench.form.choose('ADAFACTOR')")
    nb.eval_python("bench.form.type('clip_threshold', '-1')")
    expect(bench.locator("[aria-invalid=true]").first).to_be_attached()
    keep(bench, "wrong")

    bench.locator(".dwf-optimizer").evaluate("menu => (menu.size = 24)")  # a menu that is open is in no picture
    bench.locator(".dwf-optimizer").select_option("LION")
    expect(bench.locator(".dwf-absence")).to_be_visible()
    keep(bench, "missing")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", HEIGHTS)
def test_runs(notebook, keep, width, theme):
    """A comparison while it trains and after it, the plot's menus, groups and long names, a failure."""
    nb, bench = opened(notebook, OPEN, width, theme)
    bench.get_by_role("button", name="D coefficient under cosine").click()
    nb.until_python("bench.runs and len(bench.runs[0].history) > 60", seconds=120)
    keep(bench, "running")
    bench.locator(".dw-plot-save > summary").click()
    keep(bench, "saving")
    bench.locator(".dw-plot-save > summary").click()
    nb.until_python("len(bench.runs) == 3 and bench.runs[2].ended", seconds=300)
    expect(bench.locator(".dw-samples img")).to_have_count(18)
    bench.get_by_role("button", name="Compare settings").click()
    keep(bench, "compared")

    over = "{'beta2': (0.9, 0.99), 'lr': (1e-3, 2e-3, 4e-3)}"
    for _ in range(3):
        bench.locator(".dwr-runs").get_by_role("button", name="Remove ").first.click()
    nb.until_python("not bench.runs")
    plan = "dw.RunPlan(dw.Settings('ADAMW', schedule='COSINE'), 'swiss_roll', 60)"
    nb.eval_python(f"bench.start([dw.Run(plan) for plan in dw.runs.space.vary({plan}, {over})])")
    nb.until_python("bench.runs[-1].ended", seconds=120)
    name = bench.locator(".dwr-runs").get_by_role("textbox").first
    name.fill("the one that I tried on Monday, before the warm-up was longer")
    name.press("Enter")
    nb.eval_python("bench.form.choose('SGD') or bench.form.type('lr', '1e20')")
    bench.get_by_role("button", name="Run", exact=True).click()
    expect(bench.locator(".dw-failure")).to_be_visible()
    keep(bench, "failed")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", HEIGHTS)
def test_store(notebook, keep, width, theme):
    nb, _ = opened(notebook, STORE, width, theme)
    expect(nb.page.locator(".dw-plot-run")).to_have_count(3)
    keep(nb.output(0), "store")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_screens(notebook, theme):
    """What one sees without scrolling: before, during and after a run, with the samples of a comparison, and in present mode."""
    folder = Path(os.environ.get("DIFFOPT_SCREENSHOTS", "screenshots"))
    folder.mkdir(exist_ok=True, parents=True)
    nb = notebook([OPEN], theme=theme, height=1000)
    nb.run_cell(0)
    bench = nb.page.locator(".dw-bench")

    def on_all_screens(state):
        for name, (width, height) in SCREENS.items():
            nb.page.set_viewport_size({"width": width, "height": height})
            nb.sidebar(shown="sidebar" in name)
            nb.page.locator(".jp-OutputArea-output").first.evaluate("node => node.scrollIntoView()")
            nb.page.wait_for_timeout(700)  # a picture, not a test: let everything be drawn
            nb.page.screenshot(path=folder / f"screen-{state}-{name}-{theme}.png")

    def in_present_mode(state):
        bench.get_by_role("button", name="Present", exact=True).click()
        on_all_screens(f"present-{state}")
        nb.page.keyboard.press("Escape")

    on_all_screens("open")
    in_present_mode("open")
    bench.get_by_label("Steps", exact=True).fill("100000")
    nb.until_python("bench.bar.values['steps'] == 100000")
    bench.get_by_role("button", name="Run", exact=True).click()
    nb.until_python("bench.runs and len(bench.runs[0].history) > 60", seconds=120)
    on_all_screens("running")
    in_present_mode("running")
    bench.get_by_role("button", name="Stop", exact=True).click()
    nb.until_python("bench.runs[0].ended")
    on_all_screens("ended")
    bench.get_by_role("button", name="D coefficient under cosine").click()
    nb.until_python("len(bench.runs) == 4 and bench.runs[3].ended", seconds=400)
    on_all_screens("compared")
    in_present_mode("compared")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_findings(notebook, theme):
    """What the bench says of a rate that was found, with its buttons, and what is worth a second look."""
    folder = Path(os.environ.get("DIFFOPT_SCREENSHOTS", "screenshots"))
    folder.mkdir(exist_ok=True, parents=True)
    nb = notebook([OPEN.replace("dw.lab(", 'dw.lab(task="swiss_roll", steps=60, settings=')], theme=theme, height=900)
    nb.run_cell(0)
    bench = nb.page.locator(".dw-bench")

    def on_all_screens(state):
        for width in (480, 1280):
            nb.page.set_viewport_size({"width": width, "height": 900})
            nb.page.locator(".dw-run-bar").evaluate("bar => bar.scrollIntoView()")
            nb.page.wait_for_timeout(700)  # a picture, not a test: let everything be drawn
            nb.page.screenshot(path=folder / f"findings-{state}-{width}-{theme}.png")

    def run(count):
        bench.get_by_role("button", name="Run", exact=True).click()
        nb.until_python(f"len(bench.runs) == {count} and bench.runs[-1].ended", seconds=120)

    run(1)
    on_all_screens("rate")
    bench.get_by_role("button", name="in AdamW").first.click()
    nb.until_python("len(bench.runs) == 2 and bench.runs[-1].ended", seconds=120)
    on_all_screens("used")
    nb.eval_python("bench.form.choose('PRODIGY')")
    nb.eval_python("bench.form.type('growth_rate', '1.02')")
    nb.eval_python("bench.form.type('schedule', 'CONSTANT')")
    run(3)
    on_all_screens("growing")
    bench.get_by_text("observation").first.click()
    on_all_screens("unfolded")
