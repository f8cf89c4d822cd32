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
ALONE = [
    "import diffopt_widgets as dw\nform = dw.Form(dw.Settings('ADAMW', lr=1e-3))\nform",
    (
        "runs = [dw.train(dw.Settings('ADAMW', lr=lr), 'swiss_roll', 5, progress=False, store='seen.sqlite') for lr in (1e-3, 2e-3)]\n"
        "plot = dw.LivePlot()\n"
        "for run in runs: plot.add_run(run.key, run.name, run.history)\n"
        "plot"
    ),
    "dw.RunsTable(runs)",
    "dw.RunStoreTable(dw.RunStore('seen.sqlite'))",
    "from diffopt_widgets.widgets.state_size.card import StateSize\nStateSize(dw.Settings('ADAMW'))",
    "dw.RunBar('swiss_roll')",
    "dw.SchedulePreview(dw.Settings('ADAMW', schedule='COSINE'))",
]
"""A cell for each of our widgets that is shown without a bench."""

FAULTS = """async ([where, rules]) => {
  const only = rules.length ? { runOnly: { type: 'rule', values: rules } } : {};
  const { violations } = await axe.run(where, { resultTypes: ['violations'], ...only });
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, help, nodes }) => nodes.map(({ html, any }) =>
      `${id}: ${help}\\n    ${html.slice(0, 200)}\\n    ${any.map(({ message }) => message).join('; ')}`));
}"""
DARK = ["color-contrast", "link-in-text-block"]
"""Rules of axe whose answer depends on the theme."""


class Inspector:
    """Collects the faults of each state in a light and a dark theme."""

    def __init__(self, nb, where):
        self.nb, self.where, self.faults = nb, where, []
        nb.page.add_script_tag(content=AXE.read_text(encoding="utf-8"))

    def look(self, state):
        other = {"light": "dark", "dark": "light"}[self.nb.theme]
        for theme in (self.nb.theme, other):
            if theme != self.nb.theme:
                self.nb.change_theme(theme)
            rules = DARK if theme == "dark" else []
            self.faults += [
                f"{state}, {theme}: {fault}" for fault in self.nb.page.evaluate(FAULTS, [self.where, rules])
            ]


@pytest.fixture
def inspected(fresh_notebook):
    """Return a function that opens cells and gives an inspector of a part of the page; afterwards no fault may have been seen."""
    if not AXE.exists():
        missing = "axe-core is not installed. To fix it: cd tests/js && npm ci"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    inspectors = []

    def give(cells, where, **options):
        nb = fresh_notebook(cells, **options)
        nb.run_all()
        inspectors.append(Inspector(nb, where))
        return nb, inspectors[-1]

    yield give
    assert not [fault for one in inspectors for fault in one.faults]


def pressed(nb, name):
    nb.page.locator(".dw-bench").get_by_role("button", name=name, exact=True).click()


def steps(nb, count):
    nb.page.get_by_label("Steps", exact=True).fill(str(count))
    nb.until_python(f"bench.bar.values['steps'] == {count}")


def presented(nb):
    pressed(nb, "Present")
    expect(nb.page.get_by_role("group", name="Keys of present mode")).to_be_visible()


def idle(nb):
    expect(nb.page.locator(".dw-bench .js-plotly-plot")).to_be_visible()


def unfolded_with_a_search(nb):
    page = nb.page
    for fold in page.locator(".dwf-section > summary").all()[2:]:
        fold.click()
    page.locator(".dwf-ask").nth(1).click()
    page.get_by_text("Compare all optimizers").click()
    page.get_by_label("Find an option of any optimizer").fill("beta")
    expect(page.locator(".dwf-hit").first).to_be_visible()


def with_a_wrong_field(nb):
    nb.page.get_by_label("Find an option of any optimizer").press("Escape")
    rate = nb.page.get_by_label("Learning rate", exact=False).first
    rate.fill("fast")
    rate.press("Tab")
    expect(rate).to_have_attribute("aria-invalid", "true")


def running(nb):
    rate = nb.page.get_by_label("Learning rate", exact=False).first
    rate.fill("1")
    rate.press("Tab")
    steps(nb, 100_000)
    expect(nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True)).to_be_enabled()
    pressed(nb, "Run")
    nb.until_python("bench.runs and len(bench.runs[0].history) > 10")


def presented_in_mid_run(nb):
    presented(nb)


def paused_with_a_menu(nb):
    nb.page.keyboard.press("Escape")
    pressed(nb, "Pause")
    nb.until_python("bench.runs[0].status == 'paused'")
    nb.page.locator(".dw-plot-save > summary").click()


def failed_and_compared(nb):
    nb.page.locator(".dw-plot-save > summary").click()
    pressed(nb, "Stop")
    nb.until_python("bench.runs[0].ended")
    steps(nb, 20)
    nb.eval_python("setattr(bench.form, 'settings', dw.Settings('SGD', lr=1e20))")
    expect(nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True)).to_be_enabled()
    pressed(nb, "Run")
    expect(nb.page.locator(".dw-failure")).to_contain_text("no longer a finite number")
    pressed(nb, "Compare settings")
    expect(nb.page.locator(".dwr-compare table")).to_be_visible()


def compared_beside_a_form_that_is_not_in_use(nb):
    plans = "[dw.RunPlan(dw.Settings('SGD', lr=lr), 'swiss_roll', 20) for lr in (0.1, 0.01)]"
    nb.eval_python(f"bench.start([dw.Run(plan) for plan in {plans}])")
    nb.until_python("all(run.ended for run in bench.runs)")
    expect(nb.page.locator(".dwf-unused .dwf-aside")).to_be_visible()
    expect(nb.page.locator(".dwr-mark:visible")).to_have_count(1)


def folded(nb):
    nb.until_python("bench.runs[-1].ended")
    nb.page.locator(".dwr-runs").get_by_role("button", name="Remove ").first.click()
    expect(nb.page.locator(".dwr-removed")).to_be_visible()
    nb.page.set_viewport_size({"width": 480, "height": 900})
    expect(nb.page.get_by_label("Learning rate", exact=False).first).to_be_hidden()


def presented_on_a_small_screen(nb):
    presented(nb)


def restarted(nb):
    nb.page.keyboard.press("Escape")
    nb.page.set_viewport_size({"width": 1400, "height": 1000})
    nb.restart()
    expect(nb.page.locator(".dw-bench").get_by_role("alert").first).to_contain_text("The kernel was restarted")


def presented_without_a_kernel(nb):
    presented(nb)


STATES = (
    *(idle, unfolded_with_a_search, with_a_wrong_field, running, presented_in_mid_run, paused_with_a_menu),
    *(
        failed_and_compared,
        compared_beside_a_form_that_is_not_in_use,
        folded,
        presented_on_a_small_screen,
        restarted,
        presented_without_a_kernel,
    ),
)
"""Functions that each bring the bench from the state before into the one of their name."""


MOVING = """() => [...document.querySelectorAll('.dw-bench *')].flatMap((node) =>
  ['', '::before', '::after'].map((part) => [node, getComputedStyle(node, part)]))
  .filter(([, { transitionDuration, animationName, animationDuration }]) =>
    parseFloat(transitionDuration) > 0.01 || (animationName !== 'none' && parseFloat(animationDuration)))
  .map(([node]) => node.outerHTML.slice(0, 100))"""
"""What moves when it changes."""


def test_the_bench_in_each_of_its_states(inspected):
    nb, inspector = inspected([OPEN], ".dw-bench")
    for bring in STATES:
        bring(nb)
        inspector.look(bring.__name__.replace("_", " "))
        if bring is running:
            assert nb.page.evaluate(MOVING)
            nb.page.emulate_media(reduced_motion="reduce")
            assert nb.page.evaluate(MOVING) == []
    assert not inspector.faults
    nb.page.evaluate("document.querySelector('.dw-bench').append(document.createElement('input'))")
    inspector.look("with an input that has no name")
    assert "label" in inspector.faults.pop()


def test_each_widget_alone_and_that_a_finger_reaches_what_a_mouse_is_told_by_pointing(inspected):
    nb, inspector = inspected([OPEN, *ALONE], ".jp-OutputArea-output:not(:has(.dw-bench))", touch=True)
    page, bench = nb.page, nb.page.locator(".dw-bench")
    expect(nb.output(2).locator(".js-plotly-plot")).to_be_attached()
    expect(nb.output(3).locator("tr[data-key]").first).to_be_visible()
    inspector.look("alone")
    assert not inspector.faults

    comparison = bench.get_by_role("button", name="beta2", exact=True)
    comparison.tap()
    expect(bench.locator(".dw-look-for")).to_contain_text("3 runs of 200 steps")
    bench.get_by_role("button", name="Present", exact=True).tap()
    page.get_by_role("button", name="Esc leave").tap()
    expect(page.get_by_role("group", name="Keys of present mode")).to_be_hidden()
    assert not nb.eval_python("bench.runs")
    comparison.tap()
    comparison.tap()
    nb.until_python("len(bench.runs) == 3")
    pressed(nb, "Stop")
    for place, text in ((3, "Train loss"), (4, "Done")):
        output = nb.output(place)
        told = output.locator("[title]:visible:not(button, input, textarea)", has_text=text).first
        told.tap()
        expect(output.get_by_role("tooltip")).to_have_text(told.get_attribute("title"))
        output.locator("thead .dwr-who, thead .dws-who").tap()
        expect(output.get_by_role("tooltip")).to_be_hidden()


SMALL = """() => [...document.querySelectorAll('.dw-bench :is(button, select, summary, input:not([type=checkbox]))')]
  .map((node) => [node, node.getBoundingClientRect()])
  .filter(([node, { width, height }]) => width && (width < 24 || height < 24) && !node.closest('p, pre, .dwf-under, .dwf-sums'))
  .map(([node, { width, height }]) => `${node.outerHTML.slice(0, 100)} ${width} x ${height}`)"""
"""What can be pressed and is smaller than 24 pixels; what stands in a sentence is as high as its line."""


FITS = """width => {
  const here = document.querySelector('.dw-bench').clientWidth;
  return here < width && here > width / 2;
}"""


def test_what_can_be_pressed_is_24_pixels_high_and_wide(notebook):
    nb = notebook([OPEN])
    nb.run_cell(0)
    nb.page.locator(".dw-bench").get_by_role("button", name="Run", exact=True).click()
    nb.until_python("bench.runs and bench.runs[0].ended")
    expect(nb.page.locator(".dwr-runs tr[data-key]")).to_have_count(1)
    for width in (480, 1400):
        nb.page.set_viewport_size({"width": width, "height": 1000})
        nb.page.wait_for_function(FITS, arg=width)
        assert nb.page.evaluate(SMALL) == []
        presented(nb)
        assert nb.page.evaluate(SMALL) == []
        nb.page.keyboard.press("Escape")
        expect(nb.page.get_by_role("group", name="Keys of present mode")).to_be_hidden()


def test_progress_and_end_of_a_run_and_errors_are_spoken(notebook):
    nb = notebook([OPEN.replace("20", "100_000")])
    nb.run_cell(0)
    page = nb.page
    bench, bar = page.locator(".dw-bench"), page.get_by_role("progressbar", name="Progress of the training")
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
