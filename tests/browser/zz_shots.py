import os
from pathlib import Path

import pytest

OUT = Path("/tmp/table_shots")
CELL = """
import diffopt_widgets as dw
from diffopt_widgets.runs import Run
from diffopt_widgets.plan import RunPlan
runs = dw.sweep(dw.Settings("PRODIGY", schedule="COSINE"), {"d_coef": [0.5, 1.0, 1.2]}, task="swiss_roll", steps=60, progress=False)
runs += [dw.train(dw.Settings("SGD", lr=1e20), task="swiss_roll", steps=60, progress=False),
         dw.train(dw.Settings("ADAMW", lr=1e-3, weight_decay=0.1, beta1=0.85, beta2=0.95, schedule="LINEAR"), task="swiss_roll", steps=60, progress=False)]
import copy
running = Run(runs[0].plan, "still going", history=runs[0].history, status="running"); running.plan = RunPlan(runs[0].settings, "swiss_roll", 100)
stopped = Run(runs[0].plan, "stopped early", status="stopped")
runs += [running, stopped]
table = dw.RunsTable(runs, on_repeat=lambda key: None, on_continue=lambda key: None)
table.rename(runs[1].key, "<b>a name</b> that is rather long, since it says everything about the run that one might ever want to know of it")
table.set_visible(runs[4].key, False)
table
"""


@pytest.mark.parametrize("theme", os.environ.get("THEMES", "light,dark").split(","))
@pytest.mark.parametrize("width", [480, 700, 1400])
def test_shots(notebook, theme, width):
    nb = notebook([CELL], theme=theme, width=width, height=1300)
    nb.run_cell(0)
    nb.page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets[0].inputHidden = true")
    root = nb.output(0).locator(".dwr")
    root.wait_for()
    root.screenshot(path=OUT / f"{theme}-{width}.png")
    root.get_by_role("button", name="Compare settings").click()
    root.locator("[data-key]").nth(0).get_by_role("button", name="Remove").click()
    root.get_by_role("button", name="Undo").wait_for()
    root.screenshot(path=OUT / f"{theme}-{width}-compare.png")
    root.get_by_label("all settings").check()
    box = root.locator("textarea").nth(0)
    box.fill("x" * 500)
    box.press("Enter")
    root.get_by_text("Not renamed").wait_for()
    root.screenshot(path=OUT / f"{theme}-{width}-all.png")
    print(
        width,
        nb.page.evaluate(
            "[...document.querySelectorAll('.dwr, .dwr *')].filter(n => n.scrollWidth > n.clientWidth + 1 && n.clientWidth).map(n => n.className + ' ' + n.tagName)"
        ),
        root.bounding_box()["width"],
    )
