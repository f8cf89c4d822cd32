"""Nothing moves under one's hand: what comes, fails or is explained has its place before."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab({settings}, task="swiss_roll", steps=30)
bench"""

PRODIGY = 'dw.Settings("PRODIGY", schedule="COSINE")'
DIVERGES = 'dw.Settings("SGD", lr=1e20)'


def opened(notebook, settings, width, height):
    nb = notebook([OPEN.format(settings=settings)], width=width, height=height)
    nb.run_cell(0)
    expect(nb.page.get_by_text("Press Run: loss and applied").first).to_be_visible()
    nb.page.locator(".dw-plot-area").scroll_into_view_if_needed()  # it is drawn where it can be seen
    nb.page.wait_for_function("document.querySelector('.dw-plot-graph')?.data")
    return nb


def top(nb, css):
    """Where an element begins, in pixels below the top of the bench."""
    return nb.page.evaluate(
        "(css) => document.querySelector(css).getBoundingClientRect().top"
        " - document.querySelector('.dw-bench').getBoundingClientRect().top",
        css,
    )


def places(nb):
    return [top(nb, css) for css in (".dw-plot-area", ".dwr")]


def press_run(nb, count):
    nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True).click()
    nb.until_python(f"len(bench.runs) == {count} and bench.runs[-1].ended")
    expect(nb.page.locator(".dw-plot-run")).to_have_count(count)


@pytest.mark.parametrize("width", [700, 1400])
def test_runs_that_come_move_nothing(notebook, width):
    nb = opened(notebook, PRODIGY, width, 1400)
    before = places(nb)
    for number in range(1, 5):
        nb.eval_python(f"bench.form.type('d_coef', '{number / 2}')")
        press_run(nb, number)
        nb.page.wait_for_function("document.querySelector('.dw-plot-graph').dataset.points > 0")
        assert places(nb) == before, number


@pytest.mark.parametrize("width", [480, 700, 1400])
def test_a_failure_moves_nothing(notebook, width):
    nb = opened(notebook, DIVERGES, width, 1600)
    before = places(nb)
    press_run(nb, 1)
    expect(nb.page.locator(".dw-failure")).to_contain_text("the loss was no longer a finite number")
    expect(nb.page.locator(".dw-fix")).to_be_visible()
    assert places(nb) == before
    nb.screenshot(f"bench-failed-{width}")


def test_what_is_explained_or_typed_moves_no_row(notebook):
    nb = opened(notebook, PRODIGY, 1400, 1400)
    rows = "[...document.querySelectorAll('.dwf-row')].map((row) => row.getBoundingClientRect().top)"
    before = nb.page.evaluate(rows)
    presets = nb.page.locator(".dwf-presets")
    for name in ("Library defaults", "OneTrainer", "Recommended"):
        presets.get_by_role("button", name=name).hover()
        expect(nb.page.get_by_role("tooltip")).to_be_visible()
        assert nb.page.evaluate(rows) == before
    for text in ("2", "3", "1"):
        nb.page.get_by_label("D coefficient").first.fill(text)
        nb.until_python(f"bench.form.settings.options['d_coef'] == {text}")
        assert nb.page.evaluate(rows) == before


@pytest.mark.parametrize("width", [480, 1050, 1400])
def test_what_a_ready_comparison_says_moves_nothing(notebook, width):
    """Else what it moves slips from under the mouse, comes back, and so on without end."""
    nb = notebook([OPEN.format(settings=PRODIGY)], width=width, height=1600)
    nb.run_cell(0)
    height = "menu => menu.getBoundingClientRect().height"  # no place on the page: hovering scrolls
    menu = nb.page.locator(".dw-menu")
    expect(menu.get_by_role("button")).not_to_have_count(0)
    before = menu.evaluate(height)
    buttons = menu.get_by_role("button")
    said = set()
    for button in buttons.all():
        button.hover()
        said.add(menu.locator(".dw-look-for").inner_text())
        assert menu.evaluate(height) == before
    assert len(said) == buttons.count()


def test_the_plots_stay_in_sight_beside_every_option(notebook):
    nb = opened(notebook, PRODIGY, 1400, 900)
    nb.page.locator(".dwf-section > summary", has_text="All other options").click()
    rows, run = nb.page.locator(".dwf-row"), nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True)
    rows.filter(has_text="weight_decay").first.scroll_into_view_if_needed()
    expect(run).to_be_in_viewport()
    expect(nb.page.locator(".dw-plot-area")).to_be_in_viewport(ratio=0.6)
    nb.screenshot("bench-unfolded")
    rows.last.scroll_into_view_if_needed()
    expect(rows.last).to_be_in_viewport()
    expect(nb.page.locator(".dw-plot-area")).to_be_in_viewport(ratio=0.6)
