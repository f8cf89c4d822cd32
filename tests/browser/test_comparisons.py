"""What a comparison says of itself: what it trains with, how far it is, which run ended best, and that the form has no part in it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

expect.set_options()

OPEN = """import torch, diffopt_widgets as dw
from diffopt_widgets.runs.space import vary
bench = dw.lab(dw.Settings("SGD", lr=0.05), task="swiss_roll", steps=20)

def compare(*rates, steps=20):
    plan = dw.RunPlan(dw.Settings("SGD", schedule="COSINE"), "swiss_roll", steps)
    bench.start([dw.Run(plan) for plan in vary(plan, {"lr": rates})])

bench"""
LONG = "compare(0.1, 0.05, 0.02, steps=100_000)"
SHORT = "compare(0.1, 1e-4)"
OVER = "bench.runs and all(run.ended for run in bench.runs)"
VERDICT = re.compile(
    r"^Best: lr 0\.1, evaluation loss 0\.\d+; worst: lr 0\.0001, 0\.\d+\. "
    r"How much seeds alone change is not known: all have seed 0\.$"
)


class Seen:
    """A bench in a page."""

    def __init__(self, nb):
        self.nb, self.root = nb, nb.page.locator(".dw-bench")
        self.bar = self.root.get_by_role("progressbar", name="Progress of the training")
        self.words, self.trained = self.root.locator(".dw-words"), self.root.locator(".dw-part-applied .dw-trained")
        self.aside, self.rows = self.root.locator(".dwf-aside"), self.root.locator(".dwr-runs tr[data-key]")
        self.unused = self.root.locator(".dwf.dwf-unused")

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)


@pytest.fixture
def opened(notebook):
    def open_bench(**options):
        nb = notebook([OPEN], **options)
        nb.run_cell(0)
        expect(nb.page.get_by_text("Press Run: loss and applied").first).to_be_visible()
        return nb, Seen(nb)

    return open_bench


def test_a_comparison_ends_with_a_verdict_where_the_last_run_alone_was_told(opened):
    nb, bench = opened()
    nb.eval_python(SHORT)
    nb.until_python(OVER)
    expect(bench.words).to_have_text(VERDICT)
    expect(bench.bar).to_have_attribute("aria-valuetext", VERDICT)
    expect(bench.bar).to_have_attribute("aria-valuenow", "100")
    expect(nb.page.locator(".dw-said[role=status]")).to_have_text(VERDICT)
    expect(bench.root.locator(".dwr-outcome")).to_have_text(VERDICT)
    best = bench.rows.locator(".dwr-mark:visible")
    expect(best).to_have_count(1)
    expect(bench.rows.first).to_contain_text("best: lowest evaluation loss of 2 runs")
    expect(bench.rows.last).not_to_contain_text("best")
    nb.until_python("'Best: lr 0.1' in bench.table.still().html")
    saved = nb.save()
    nb.reload()
    expect(bench.words).to_have_text(VERDICT)
    expect(best).to_have_count(1)
    picture = "".join(output["data"]["text/html"] for output in saved.cells[0].outputs if "text/html" in output["data"])
    assert "Best: lr 0.1, evaluation loss" in picture
    assert "learning rate 0.1 and 0.0001; all with SGD, schedule Cosine, Swiss roll, 20 steps" in picture


def test_runs_advance_side_by_side_each_can_be_stopped_alone_and_runs_to_come_have_their_rows(opened):
    nb, bench = opened(width=1280)
    nb.eval_python(LONG)
    nb.eval_python("compare(0.2, 0.3, steps=100_000)")
    nb.until_python("all(len(run.history) > 5 for run in bench.runs[:3])")
    expect(bench.bar).to_have_attribute(
        "aria-valuetext", re.compile(r"^3 runs: all running, \d+ %: \d+ of 300000 steps, .* left$")
    )
    expect(bench.words).to_contain_text("3 runs: all running · ")
    nb.screenshot("comparison-side-by-side")
    running, stopped = re.compile("running"), re.compile("stopped")
    expect(bench.rows.locator(".dwr-status")).to_have_text([running] * 3 + ["waiting"] * 2)
    bench.button("Stop SGD · lr 0.05").press("Enter")
    expect(bench.button("Continue SGD · lr 0.05")).to_be_focused()
    bench.button("Stop SGD · lr 0.2").click()
    expect(bench.rows.locator(".dwr-status")).to_have_text([running, stopped, running, "not started", "waiting"])
    expect(bench.words).to_contain_text("3 runs: 2 running, 1 stopped · ")
    nb.screenshot("comparison-in-progress")
    bench.button("Stop").click()
    nb.until_python(OVER)
    expect(bench.rows.locator(".dwr-status")).to_have_text([stopped] * 3 + ["not started"] * 2)
    expect(bench.words).to_have_text(
        "No run finished, so nothing is compared. Did not finish: lr 0.1, lr 0.05 and lr 0.02."
    )


@pytest.mark.parametrize("width", [480, 1400])
def test_the_form_is_not_in_use_until_its_own_run_begins(opened, width):
    nb, bench = opened(width=width)
    expect(bench.aside).to_be_hidden()
    nb.eval_python("bench.form.type('weight_decay', 'much')")
    nb.eval_python(SHORT)
    said = "learning rate 0.1 and 0.0001; all with SGD, schedule Cosine, Swiss roll, 20 steps, seed 0."
    expect(bench.trained).to_have_text(said)
    expect(bench.root.locator(".dw-about-task")).to_have_text(said)
    nb.until_python(OVER)
    expect(bench.trained).to_have_text(said)
    expect(bench.unused).to_have_count(1)
    if width == 480:
        expect(bench.aside).to_be_hidden()
        bench.button("Options (not in use)").click()
    else:  # it stays in sight beside every option
        bench.root.locator(".dw-left").evaluate("node => (node.scrollTop = 2000)")
        expect(bench.aside).to_be_in_viewport(ratio=1)
    expect(bench.aside).to_contain_text("The plots do not use this form: their runs have other settings.")
    bench.button("Take these settings into the form").click()
    nb.until_python("bench.form.settings.schedule == 'COSINE' and bench.form.settings.lr == 0.1")
    expect(bench.unused).to_have_count(0)
    expect(bench.aside).to_contain_text("These are the settings of SGD · lr 0.1, one of the runs that the plots show.")
    expect(bench.button("Take these settings into the form")).to_be_hidden()
    bench.root.get_by_role("button", name="Undo").first.click()
    expect(bench.unused).to_have_count(1)
    decay = bench.root.locator("[data-name=weight_decay] input").first
    expect(decay).to_have_value("much")  # also what is wrong was not lost
    nb.eval_python("bench.form.type('weight_decay', '0')")
    bench.button("Run").click()
    nb.until_python(f"len(bench.runs) == 3 and {OVER}")
    expect(bench.unused).to_have_count(0)
    expect(bench.aside).to_be_hidden()
    expect(bench.trained).to_have_count(0)
    expect(bench.words).to_contain_text("Evaluation loss")


@pytest.mark.parametrize("width", [480, 1400])
def test_a_comparison_moves_nothing_above_it(opened, width):
    nb, bench = opened(width=width, height=1600)
    top = "node => node.getBoundingClientRect().top - node.closest('.dw-bench').getBoundingClientRect().top"
    plot = bench.root.locator(".dw-plot-area")
    before = plot.evaluate(top)
    nb.eval_python(SHORT)
    nb.until_python(OVER)
    expect(bench.words).to_have_text(VERDICT)
    assert plot.evaluate(top) == before


def test_after_a_restart_of_the_kernel_the_verdict_stays_and_its_button_is_off(fresh_notebook):
    nb = fresh_notebook([OPEN])
    nb.run_cell(0)
    bench = Seen(nb)
    nb.eval_python(SHORT)
    nb.until_python(OVER)
    expect(bench.words).to_have_text(VERDICT)
    nb.page.evaluate("window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()")
    expect(bench.root.get_by_role("alert").first).to_contain_text("The kernel was restarted")
    expect(bench.root.locator(".dwr-outcome")).to_have_text(VERDICT)
    expect(bench.button("Take these settings into the form")).to_be_disabled()
