"""The bench for those who do not see it, or cannot point precisely; axe-core finds no serious fault in any of its states."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

expect.set_options()

AXE = Path(__file__).parents[1] / "js" / "node_modules" / "axe-core" / "axe.min.js"
OPEN = "import diffopt_widgets as dw\nbench = dw.lab('PRODIGY', task='swiss_roll', steps=20)\nbench"
FAULTS = """async () => {
  const { violations } = await axe.run('.dw-bench', { resultTypes: ['violations'] });
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, help, nodes }) => nodes.map(({ html, any }) =>
      `${id}: ${help}\\n    ${html.slice(0, 200)}\\n    ${any.map(({ message }) => message).join('; ')}`));
}"""


@pytest.fixture
def look(notebook):
    """Return a function that opens the bench and gives it with a function that lists its faults."""
    if not AXE.exists():
        missing = "axe-core is not installed. To fix it: cd tests/js && npm ci"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)

    def open_bench(**options):
        nb = notebook([OPEN], **options)
        nb.run_cell(0)
        expect(nb.page.locator(".dw-bench .dw-plot")).to_be_attached()
        nb.page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        return nb, lambda: "\n".join(nb.page.evaluate(FAULTS))

    return open_bench


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_bench_at_rest_with_runs_and_with_something_wrong(look, theme):
    nb, faults = look(theme=theme, width=1400)
    page = nb.page
    for fold in page.locator(".dwf-section > summary").all()[2:]:
        fold.click()
    page.locator(".dwf-ask").nth(1).click()
    assert not faults()
    page.locator(".dw-bench").get_by_role("button", name="Run", exact=True).click()
    nb.until_python("bench.runs and bench.runs[0].ended")
    expect(page.locator(".dw-bench .js-plotly-plot")).to_be_visible()
    assert not faults()
    rate = page.get_by_label("Learning rate", exact=False).first
    rate.fill("fast")
    rate.press("Tab")
    expect(rate).to_have_attribute("aria-invalid", "true")
    assert not faults()
    nb.eval_python("setattr(bench.form, 'settings', dw.Settings('SGD', lr=1e20))")
    expect(page.locator(".dw-bench").get_by_role("button", name="Run", exact=True)).to_be_enabled()
    page.locator(".dw-bench").get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".dw-failure")).to_contain_text("no longer a finite number")
    assert not faults()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_comparison_beside_a_form_that_is_not_in_use(look, theme):
    nb, faults = look(theme=theme, width=1400)
    plans = "[dw.RunPlan(dw.Settings('SGD', lr=lr), 'swiss_roll', 20) for lr in (0.1, 0.01)]"
    nb.eval_python(f"bench.start([dw.Run(plan) for plan in {plans}])")
    nb.until_python("all(run.ended for run in bench.runs)")
    expect(nb.page.locator(".dwf-unused .dwf-aside")).to_be_visible()
    expect(nb.page.locator(".dwr-mark:visible")).to_have_count(1)
    assert not faults()


def test_the_narrow_bench(look):
    nb, faults = look(width=480)
    assert not faults()
    nb.page.evaluate("document.querySelector('.dw-bench').append(document.createElement('input'))")
    assert "label" in faults()  # an input without a name would be found


SMALL = """() => [...document.querySelectorAll('.dw-bench :is(button, select, summary, input:not([type=checkbox]))')]
  .map((node) => [node, node.getBoundingClientRect()])
  .filter(([node, { width, height }]) => width && (width < 24 || height < 24) && !node.closest('p, pre, .dwf-under, .dwf-sums'))
  .map(([node, { width, height }]) => `${node.outerHTML.slice(0, 100)} ${width} x ${height}`)"""
"""What can be pressed and is smaller than 24 pixels; what stands in a sentence is as high as its line."""


@pytest.mark.parametrize("width", [480, 1400])
def test_what_can_be_pressed_is_24_pixels_high_and_wide(notebook, width):
    nb = notebook([OPEN], width=width)
    nb.run_cell(0)
    nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True).click()
    nb.until_python("bench.runs and bench.runs[0].ended")
    expect(nb.page.locator(".dwr-runs tr[data-key]")).to_have_count(1)
    assert nb.page.evaluate(SMALL) == []


def test_progress_and_end_of_a_run_and_errors_are_spoken(notebook):
    nb = notebook([OPEN.replace("20", "100_000")])
    nb.run_cell(0)
    page = nb.page
    bench, bar = page.locator(".dw-bench"), page.get_by_role("progressbar", name="Progress of the run")
    said, alert = page.locator(".dw-said[role=status]"), page.locator(".dw-alert[role=alert]")
    expect(bar).to_have_attribute("aria-valuenow", "0")
    bench.get_by_role("button", name="Run", exact=True).click()
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"step \d+ of 100000, .* left"))
    expect(said).to_be_empty()  # ten times a second would be too much
    bench.get_by_role("button", name="Stop", exact=True).click()
    expect(said).to_contain_text("Stopped after")
    page.get_by_label("Seed", exact=True).fill("-1")
    expect(alert).to_contain_text("Seed: must be")
    page.get_by_label("Seed", exact=True).fill("1")
    expect(alert).to_be_empty()
    nb.eval_python("setattr(bench.form, 'settings', dw.Settings('SGD', lr=1e20))")
    bench.get_by_role("button", name="Run", exact=True).click()
    expect(alert).to_contain_text("no longer a finite number")
