"""The bench in a real JupyterLab and Notebook 7, used as a person would."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

expect.set_options()

OPEN = "import diffopt_widgets as dw\nbench = dw.lab(task='swiss_roll', steps=400)\nbench"

ROWS_IN_PAGE = """() => Math.max(0, ...[...document.querySelectorAll('.dw-bench .js-plotly-plot')]
    .flatMap(plot => plot.data.map(trace => trace.x.length)))"""


def button(page: Page, name: str) -> Locator:
    return page.locator(".dw-bench").get_by_role("button", name=name, exact=True)


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_whole_way_from_an_option_to_a_curve_that_stays(notebook, app):
    nb = notebook([OPEN], app=app)
    page = nb.page
    nb.run_cell(0)
    expect(page.get_by_text("Press Run: loss and applied learning rate appear here").first).to_be_visible()

    # choose an optimizer and change an option, by keyboard
    page.get_by_label("Optimizer", exact=True).select_option("ADAMW")
    nb.until_python("bench.form.settings.optimizer == 'ADAMW'")
    rate = page.get_by_label("Learning rate", exact=False).first
    rate.fill("0.002")
    rate.press("Tab")
    nb.until_python("bench.form.settings.lr == 0.002")

    # Run; points arrive while it trains
    button(page, "Run").click()
    page.wait_for_function(f"({ROWS_IN_PAGE})() > 5")
    assert nb.eval_python("bench.runs[0].status") in {"running", "done"}
    nb.screenshot(f"bench-{app}-mid-run")
    nb.until_python("bench.runs[0].ended")
    assert nb.eval_python("(bench.runs[0].status, len(bench.runs[0].history))") == ["done", 400]
    expect(page.locator(".dw-words")).to_contain_text("Evaluation loss")

    # a second run, stopped halfway
    page.get_by_label("Steps", exact=True).fill("100000")
    nb.until_python("bench.bar.fields['steps'].value == '100000'")
    button(page, "Run").click()
    nb.until_python("len(bench.runs) == 2 and len(bench.runs[1].history) > 20")
    button(page, "Stop").click()
    nb.until_python("bench.runs[1].status == 'stopped'")
    taken = nb.eval_python("len(bench.runs[1].history)")
    expect(page.locator(".dw-words")).to_contain_text(f"Stopped after {taken} of 100000 steps")

    # switch the optimizer, and reload the page: every curve is there, whole
    page.get_by_label("Optimizer", exact=True).select_option("LION")
    nb.until_python("bench.form.settings.optimizer == 'LION'")
    nb.save()
    nb.reload()
    page.wait_for_function(f"({ROWS_IN_PAGE})() >= {min(taken, 400)}")
    expect(page.get_by_label("Optimizer", exact=True)).to_have_value("LION")
    expect(page.locator(".dw-words")).to_contain_text("Stopped after")


def test_a_wrong_text_is_marked_kept_and_stops_nobody_else(notebook):
    nb = notebook([OPEN])
    page = nb.page
    nb.run_cell(0)
    rate = page.get_by_label("Learning rate", exact=False).first
    good = nb.eval_python("bench.form.settings.lr")
    rate.fill("<b>fast</b>")
    rate.press("Tab")
    expect(button(page, "Run")).to_be_disabled()
    expect(rate).to_have_attribute("aria-invalid", "true")
    expect(rate).to_have_value("<b>fast</b>")
    assert nb.eval_python("bench.form.settings.lr") == good
    rate.fill("0.5")
    rate.press("Tab")
    expect(button(page, "Run")).to_be_enabled()
    nb.until_python("bench.form.settings.lr == 0.5")


def test_a_saved_notebook_shows_a_picture_where_the_bench_was(notebook):
    nb = notebook([OPEN])
    nb.run_cell(0)
    button(nb.page, "Run").click()
    nb.until_python("bench.runs and bench.runs[0].ended")
    picture = nb.page.locator(".dw-saved-picture")
    picture.wait_for(state="attached")
    expect(picture).to_be_hidden()  # the live bench is there
    saved = nb.save()
    outputs = saved.cells[0].outputs
    pictures = [o for o in outputs if "dw-saved-picture" in "".join(o.get("data", {}).get("text/html", ""))]
    assert len(pictures) == 1
    assert re.search(r"<img [^>]*src=\"data:image/", "".join(pictures[0].data["text/html"]))


def test_pause_and_resume(notebook):
    nb = notebook([OPEN.replace("400", "100000")])
    nb.run_cell(0)
    page = nb.page
    button(page, "Run").click()
    nb.until_python("bench.runs and len(bench.runs[0].history) > 3")
    button(page, "Pause").click()
    nb.until_python("bench.runs[0].status == 'paused'")
    expect(page.locator(".dw-words")).to_contain_text("paused")
    held = nb.eval_python("len(bench.runs[0].history)")
    button(page, "Resume").click()
    nb.until_python(f"len(bench.runs[0].history) > {held}")
    button(page, "Stop").click()
    nb.until_python("bench.runs[0].ended")


def test_a_diverging_run_is_told_in_the_run_bar(notebook):
    nb = notebook([OPEN.replace("bench = dw.lab(", "bench = dw.lab(dw.Settings('SGD', lr=1e20), ")])
    nb.run_cell(0)
    button(nb.page, "Run").click()
    expect(nb.page.locator(".dw-failure")).to_contain_text("the loss was no longer a finite number")
    nb.screenshot("bench-diverged")
    assert nb.eval_python("len(bench.runs[0].history)") > 0


def test_on_a_narrow_page_run_is_in_sight_and_the_options_are_one_click_away(notebook):
    nb = notebook([OPEN], width=700, height=1200)
    nb.run_cell(0)
    rate = nb.page.get_by_label("Learning rate", exact=False).first
    expect(button(nb.page, "Run")).to_be_in_viewport()
    expect(rate).to_be_hidden()
    nb.page.get_by_role("button", name="Options", exact=True).click()
    expect(rate).to_be_visible()
    fields = [field.bounding_box() for field in nb.page.locator(".dw-fields > *").all()]
    ends = [max(f["x"] + f["width"] for f in fields if f["y"] == row) for row in sorted({f["y"] for f in fields})]
    assert len(ends) == 2  # and neither row is shorter than the other
    assert ends[0] == pytest.approx(ends[1], abs=1)
    nb.eval_python("bench.form.choose('ADAMW')")
    mark = nb.page.locator("[data-name=stochastic_rounding] .dwf-mark")
    expect(mark).to_have_text("bfloat16 only")
    nb.page.get_by_label("Weights", exact=True).select_option("bfloat16")
    expect(mark).to_have_text("✓ bfloat16")


def test_a_ready_comparison_is_one_button(notebook):
    nb = notebook([OPEN])
    nb.run_cell(0)
    page = nb.page
    menu = page.locator(".dw-menu")
    expect(menu.locator(".dw-look-for")).to_contain_text("each trains a few runs side by side that differ in one thing")
    button(page, "Warm-up or not").click()
    expect(button(page, "Warm-up or not")).to_have_attribute("aria-pressed", "true")
    expect(menu.locator("[aria-pressed=true]")).to_have_count(1)
    rows = page.locator(".dwr-runs tr[data-key]")
    expect(rows).to_have_count(2)
    for row, name in zip(rows.all(), ("ADAMW · warmup 0", "ADAMW · warmup 0.1"), strict=True):
        expect(row.get_by_role("textbox")).to_have_value(name)
    expect(page.get_by_label("Optimizer", exact=True)).to_have_value("PRODIGY")  # what one has typed stays
    page.mouse.move(0, 0)
    expect(menu.locator(".dw-look-for")).to_contain_text(
        "2 runs of 200 steps on Handwritten digits. A high rate from the first step"
    )
    nb.until_python("all(len(run.history) > 1 for run in bench.runs)")  # they train side by side
    expect(page.locator(".dw-words")).to_contain_text("2 runs: all running")
    button(page, "Stop").click()
    nb.until_python("[run.status for run in bench.runs] == ['stopped', 'stopped']")
    expect(rows.nth(1)).to_contain_text("stopped")
    expect(menu.locator("[aria-pressed=true]")).to_have_count(1)
    expect(menu.locator(".dw-look-for")).to_contain_text(
        "2 runs of 200 steps on Handwritten digits. A high rate from the first step"
    )
