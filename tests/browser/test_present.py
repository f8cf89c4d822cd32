"""Present mode: for a class the bench fills the screen, all words are large, and letters do what a lecturer needs."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"), task="swiss_roll", steps=30)
bench"""

SMALL = """least => {
  const bench = document.querySelector('.dw-bench');
  const words = document.createTreeWalker(bench, NodeFilter.SHOW_TEXT);
  const small = new Set();
  while (words.nextNode()) {
    const { textContent, parentElement: node } = words.currentNode;
    const seen = node.checkVisibility({ visibilityProperty: true }) && !node.closest('style, .dwf-sr, .modebar');
    const size = parseFloat(getComputedStyle(node).fontSize);
    if (textContent.trim() && seen && size < least) small.add(`${size}: ${textContent.slice(0, 40)}`);
  }
  for (const field of bench.querySelectorAll('input, select, textarea'))
    if (field.checkVisibility() && parseFloat(getComputedStyle(field).fontSize) < least) small.add(field.outerHTML);
  return [...small];
}"""
"""Words that are seen somewhere in the bench, or after scrolling, and are smaller than so many pixels."""

COVERED = """() => [[9, 9], [innerWidth - 9, 9], [9, innerHeight - 9], [innerWidth - 9, innerHeight - 9]]
  .every(([x, y]) => document.elementFromPoint(x, y).closest('.dw-bench'))"""
"""Whether the bench lies over everything, up to all corners of the window."""

NO_FULL_SCREEN = "() => { Element.prototype.requestFullscreen = () => Promise.reject(new TypeError('not here')); }"


def opened(nb):
    nb.run_cell(0)
    expect(nb.page.locator(".dw-bench .js-plotly-plot")).to_be_visible()
    return nb.page, nb.page.locator(".dw-bench")


def present(page):
    page.get_by_role("button", name="Present", exact=True).click()
    page.wait_for_function(COVERED)


def ended(nb, count=1):
    nb.until_python(f"len(bench.runs) == {count} and bench.runs[-1].ended")


def test_in_the_last_row_of_the_room_all_words_can_be_read_and_the_plots_fill_the_screen(notebook):
    nb = notebook([OPEN], width=1920, height=1080)
    page, bench = opened(nb)
    bench.get_by_role("button", name="Run", exact=True).click()
    ended(nb)
    expect(bench.locator(".dw-samples img").first).to_be_attached()
    places = "[...document.querySelectorAll('.dw-bench :is(.dwf-row, .dw-button, .dw-plot-area, .dwr)')].map((node) => node.getBoundingClientRect().toJSON())"
    page.mouse.move(0, 0)
    before = page.evaluate(places)
    assert page.evaluate(SMALL, 18)
    present(page)
    assert page.evaluate("document.fullscreenElement === document.querySelector('.dw-bench')")
    expect(page.get_by_label("Learning rate", exact=False).first).to_be_hidden()
    expect(bench.get_by_label("Optimizer", exact=True)).to_be_in_viewport()
    page.wait_for_function("document.querySelector('.dw-plot-area').offsetHeight > 0.6 * innerHeight")
    page.wait_for_function("parseFloat(getComputedStyle(document.querySelector('.xtick text')).fontSize) >= 18")
    page.wait_for_function(f"!({SMALL})(18).length")
    page.wait_for_function("parseFloat(getComputedStyle(document.querySelector('.js-line')).strokeWidth) > 1.5")
    keys = page.get_by_role("group", name="Keys of present mode").bounding_box()
    plots = bench.locator(".dw-plot-area").bounding_box()
    assert plots["y"] + plots["height"] <= keys["y"] + 1
    nb.screenshot("present")
    page.keyboard.press("Escape")
    expect(bench).not_to_have_class("dw-present")
    expect(page.get_by_role("button", name="Present", exact=True)).to_be_focused()
    page.wait_for_function("!document.fullscreenElement")
    page.wait_for_function(f"before => JSON.stringify({places}) === JSON.stringify(before)", arg=before)


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_letters_start_pause_and_scale_in_present_mode_only(notebook, app):
    nb = notebook([OPEN, "1"], app=app)
    page, bench = opened(nb)
    bench.get_by_role("button", name="Present", exact=True).focus()
    for letter in "npl":
        page.keyboard.press(letter)
    page.keyboard.press("f")
    page.wait_for_function(COVERED)
    nb.until_python("bench.present.on")
    assert nb.eval_python("not bench.runs and not bench.plot.log['loss']")
    page.keyboard.press("n")
    nb.until_python("len(bench.runs) == 3 and len(bench.runs[0].history) > 0")
    expect(bench.get_by_role("button", name="D coefficient under cosine")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("p")
    nb.until_python("bench.runs[0].status == 'paused'")
    logarithmic = bench.get_by_role("button", name="log loss")
    expect(logarithmic).to_have_attribute("aria-pressed", "true")  # as comparisons begin
    page.keyboard.press("l")
    expect(logarithmic).to_have_attribute("aria-pressed", "false")
    bench.locator(".dw-plot-area").click()  # on no control; the notebook would cut its cell
    for letter in ("x", "d", "d", "a", "Enter"):
        page.keyboard.press(letter)
    page.get_by_role("button", name="P pause or resume").click()  # what a finger can do
    nb.until_python("bench.runs[0].status == 'running'")
    bench.get_by_role("button", name="Stop", exact=True).click()
    nb.until_python("all(run.ended for run in bench.runs)")
    name = bench.locator(".dwr-runs").get_by_role("textbox").first
    name.fill("")
    name.press_sequentially("npl")
    name.press("Enter")
    nb.until_python("bench.runs[0].name == 'npl'")
    name.press_sequentially("x")
    page.keyboard.press("Escape")  # this one is the field's
    expect(bench).to_be_focused()
    assert nb.eval_python("bench.present.on and bench.runs[0].name == 'npl'")
    page.get_by_role("button", name="Esc leave").focus()
    for _ in range(3):  # past the last control of the bench
        page.keyboard.press("Tab")
        page.wait_for_function("!!document.activeElement.closest('.dw-bench')")
    bench.focus()
    page.keyboard.press("Escape")
    nb.until_python("not bench.present.on")
    assert nb.eval_python("len(bench.runs)") == 3
    assert [cell.source for cell in nb.save().cells] == [OPEN, "1"]


def test_without_full_screen_the_bench_fills_the_window_and_it_does_so_again_when_the_page_is_loaded_anew(notebook):
    nb = notebook([OPEN])
    page, bench = opened(nb)
    nb.save()
    page.evaluate(NO_FULL_SCREEN)
    nb.sidebar(shown=True)
    present(page)
    box = bench.bounding_box()
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 1400, 1000)
    nb.save()
    nb.reload()
    page.wait_for_function(COVERED)
    page.keyboard.press("Escape")
    page.wait_for_function(f"!({COVERED})()")
    nb.until_python("not bench.present.on")
    nb.eval_python("setattr(bench.present, 'on', True)")  # from a cell, without a click
    page.wait_for_function(COVERED)
    page.get_by_role("button", name="Esc leave").click()
    nb.until_python("not bench.present.on")


def test_present_mode_is_a_dialog_above_a_page_that_is_inert_and_tab_goes_round_in_it(notebook):
    nb = notebook([OPEN, "bench.bar"])
    page, _ = opened(nb)
    nb.run_cell(1)
    expect(nb.output(1).get_by_role("button", name="Run", exact=True)).to_be_visible()
    expect(nb.output(1).get_by_role("button", name="Present")).to_have_count(0)  # which is of a bench
    present(page)
    expect(page.get_by_role("dialog", name="Bench in present mode")).to_be_focused()
    behind = ".jp-Cell-inputArea, .jp-NotebookPanel-toolbar, .dw-run-bar:not(.dw-bench *)"
    assert page.locator(behind).count() >= 3
    assert page.evaluate(
        "behind => [...document.querySelectorAll(behind)].every((node) => node.closest('[inert]'))", behind
    )
    leave = page.get_by_role("button", name="Esc leave")
    page.keyboard.press("Shift+Tab")
    expect(leave).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="L logarithmic loss")).to_be_focused()
    leave.click()
    page.wait_for_function(f"!({COVERED})()")
    expect(page.locator("[inert]")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_without_its_kernel_a_bench_leaves_present_mode_and_comes_back_to_it(fresh_notebook):
    nb = fresh_notebook([OPEN])
    page, bench = opened(nb)
    page.evaluate(NO_FULL_SCREEN)
    present(page)
    page.evaluate("window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()")
    expect(bench.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("button", name="N next comparison")).to_be_disabled()
    page.get_by_role("button", name="Esc leave").click()
    page.wait_for_function(f"!({COVERED})()")
    present(page)
    page.keyboard.press("Escape")
    page.wait_for_function(f"!({COVERED})()")
