"""Scratch."""
import os
from pathlib import Path
from playwright.sync_api import expect
OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"), task="swiss_roll", steps=300)
bench"""
def test_now(notebook):
    folder = Path("/tmp/shots-present"); folder.mkdir(exist_ok=True)
    nb = notebook([OPEN], width=1920, height=1080)
    nb.run_cell(0)
    page = nb.page
    expect(page.locator(".dw-bench .js-plotly-plot")).to_be_visible()
    page.get_by_role("button", name="Present").click()
    page.wait_for_timeout(1000)
    print(page.evaluate("[document.fullscreenElement?.className, document.querySelector('.dw-bench').matches(':popover-open'), innerWidth, innerHeight]"))
    page.screenshot(path=folder / "p-idle-1920.png")
    page.keyboard.press("n")
    nb.until_python("bench.runs and len(bench.runs[0].history) > 150")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "p-run-1920.png")
    nb.until_python("len(bench.runs) == 3 and bench.runs[-1].ended", seconds=200)
    page.wait_for_timeout(500)
    for w, h in [(1920,1080), (1400, 1000), (1280, 800), (900,1000), (480, 900)]:
        page.set_viewport_size({"width": w, "height": h})
        page.wait_for_timeout(800)
        page.screenshot(path=folder / f"p-after-{w}.png")
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.keyboard.press("Escape")
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "p-left-1920.png")
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "p-left-1400.png")
