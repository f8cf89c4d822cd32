"""The grid of samples: enlarged by the pointer, the keyboard and a finger, without moving or leaving anything."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY"), task="swiss_roll", steps=5)
bench"""
LARGE = "label => label.querySelector('img').getBoundingClientRect().width > 200"


def opened(nb):
    nb.run_cell(0)
    for number in (1, 2):
        nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True).click()
        nb.until_python(f"len(bench.runs) == {number} and bench.runs[-1].ended")
    cells = nb.page.locator(".dw-samples .dw-cell")
    expect(cells).to_have_count(6)
    cells.last.scroll_into_view_if_needed()
    return cells


def sizes(cells):
    return cells.evaluate_all("cells => cells.map((cell) => cell.getBoundingClientRect().toJSON())")


def large(cells):
    return [place for place in range(6) if cells.nth(place).evaluate(LARGE)]


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_picture_is_enlarged_by_pointer_and_by_keyboard_and_nothing_moves(notebook, app):
    nb = notebook([OPEN, "pass"], app=app)
    cells = opened(nb)
    before = sizes(cells)
    assert large(cells) == []
    headings = nb.page.locator(".dw-step")
    expect(headings).to_have_text(["before training", "step 5", "real examples"])
    assert [head["x"] for head in sizes(headings)] == [cell["x"] for cell in before[:3]]
    for place in (0, 2, 5):
        cells.nth(place).hover()
        assert large(cells) == [place]
        box = cells.nth(place).locator("img").bounding_box()
        assert before[0]["x"] - 1 <= box["x"]
        assert box["x"] + box["width"] <= before[2]["x"] + max(before[2]["width"], 301)
        assert sizes(cells) == before
    nb.screenshot(f"samples-hover-{app}")
    nb.page.mouse.move(0, 0)
    nb.page.get_by_role("button", name="Report", exact=True).focus()  # the last control before the samples
    nb.page.keyboard.press("Tab")
    nb.page.keyboard.press("ArrowRight")
    nb.page.keyboard.press("ArrowRight")
    assert large(cells) == [2]
    nb.page.keyboard.press("ArrowDown")  # the next one, not the next cell of the notebook
    assert large(cells) == [3]
    expect(nb.page.get_by_role("radio", name="PRODIGY (2): samples, before training")).to_be_focused()
    nb.page.keyboard.press("Tab")
    assert large(cells) == []
    expect(nb.page.locator(".dw-same")).to_have_text("the same as PRODIGY: same settings and seed")
    expect(nb.page.locator(".dwr-differs").nth(1)).to_have_text("same settings and seed as an earlier run")


def test_a_tap_enlarges_a_picture_and_a_tap_elsewhere_ends_it(fresh_notebook):
    cells = opened(fresh_notebook([OPEN], width=480, touch=True))
    cells.page.mouse.move(0, 0)
    cells.nth(1).tap()
    assert large(cells) == [1]
    cells.page.locator(".dw-samples .dw-runs-title").tap()
    assert large(cells) == []
