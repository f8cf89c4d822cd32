"""The bench seen twice, after a reload, after a restart of the kernel, and after a while in another tab."""

from __future__ import annotations

import pytest
from browser.notebook_page import opened_elsewhere
from playwright.sync_api import expect

expect.set_options()

LONG = "import diffopt_widgets as dw\nbench = dw.lab(task='swiss_roll', steps=100000)\nbench"
FINISHED = "bench.runs and all(run.ended for run in bench.runs)"


class Seen:
    """One view of the bench."""

    def __init__(self, page, place=0):
        self.page, self.place = page, place
        self.root = page.locator(".dw-bench").nth(place)

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def entry(self, name):
        return self.root.locator(f"[data-name={name}] .dwf-field > :is(input:not([type=range]), select)")

    @property
    def optimizer(self):
        return self.root.get_by_label("Optimizer", exact=True)

    @property
    def words(self):
        return self.root.locator(".dw-words")

    @property
    def rows(self):
        return self.root.locator(".dwr-runs tr[data-key]")

    @property
    def names(self):
        return self.root.locator(".dwr-runs").get_by_role("textbox")

    @property
    def pictures(self):
        return self.root.locator(".dw-cell:not(.dw-real) > .dw-sample")

    def until_drawn(self, condition):
        """Wait until the plot is drawn and `rows`, the records of all runs in it, are so; its curves have no gap."""
        whole = """([place, condition]) => {
          const graph = document.querySelectorAll('.dw-bench')[place]?.querySelector('.dw-plot-graph');
          const rows = Number(graph?.dataset.rows ?? 0);
          const lines = (graph?.data ?? []).filter(({ x }) => !Number.isNaN(x[0])); // one of NaN draws empty axes
          const complete = lines.every(({ x, y }) => x[0] === 1 && Array.from(y).every(Number.isFinite));
          return lines.length && complete && new Function('rows', `return ${condition}`)(rows) && rows;
        }"""
        return self.page.wait_for_function(whole, arg=[self.place, condition]).json_value()


def second_cell(nb):
    nb.run_cell(1)


def new_view_for_output(nb):
    """What the menu of an output does: a second view in a tab beside the notebook."""
    nb.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    nb.page.evaluate("void window.jupyterapp.commands.execute('notebook:create-output-view')")


@pytest.mark.parametrize("show_again", [second_cell, new_view_for_output])
def test_two_views_show_the_same_and_both_can_be_used(notebook, show_again):
    nb = notebook([LONG, "bench"], width=1800)
    nb.run_cell(0)
    one, two = Seen(nb.page), Seen(nb.page, 1)
    show_again(nb)
    expect(two.button("Run")).to_be_enabled()

    one.optimizer.select_option("ADAMW")
    expect(two.optimizer).to_have_value("ADAMW")
    two.entry("lr").fill("0.002")
    expect(one.entry("lr")).to_have_value("0.002")
    one.root.get_by_label("Steps", exact=True).fill("30")
    expect(two.root.get_by_label("Steps", exact=True)).to_have_value("30")

    two.button("Run").click()
    nb.until_python(FINISHED)
    for view in (one, two):
        expect(view.words).to_contain_text("Evaluation loss")
        expect(view.rows).to_have_count(1)
        expect(view.rows.first).to_contain_text("done")
        expect(view.pictures).not_to_have_count(0)
    assert one.pictures.count() == two.pictures.count()
    for view in (one, two):
        view.root.locator(".dw-plot-graph").scroll_into_view_if_needed()
        view.until_drawn("rows === 30")

    one.names.first.fill("mine")
    one.names.first.press("Enter")
    expect(two.names.first).to_have_value("mine")
    legend = two.root.locator(".dw-plot").get_by_role("button", name="mine")
    eye = one.rows.first.get_by_role("button", name="Show the curves")
    for clicked, shown in ((legend, "false"), (eye, "true"), (eye, "false"), (legend, "true"), (legend, "false")):
        clicked.click()
        for seen in (legend, eye):
            expect(seen).to_have_attribute("aria-pressed", shown)

    one.button("Run").click()
    nb.until_python(f"len(bench.runs) == 2 and {FINISHED}")
    for view in (one, two):
        expect(view.rows).to_have_count(2)
        view.root.locator(".dw-plot-graph").scroll_into_view_if_needed()
        view.until_drawn("rows === 60")


def test_a_reloaded_page_shows_the_run_in_progress_and_its_end(notebook):
    nb = notebook([LONG])
    nb.run_cell(0)
    bench = Seen(nb.page)
    bench.optimizer.select_option("ADAMW")
    bench.entry("beta1").fill("0.8")
    nb.until_python("bench.form.settings.options['beta1'] == 0.8")
    bench.button("Run").click()
    before = bench.until_drawn("rows > 30")
    expect(bench.pictures).to_have_count(1)
    nb.save()
    nb.reload()

    assert nb.eval_python("bench.runs[0].status") == "running"
    expect(bench.optimizer).to_have_value("ADAMW")
    expect(bench.entry("beta1")).to_have_value("0.8")
    expect(bench.button("Run")).to_be_disabled()
    expect(bench.words).to_contain_text("of 100000")
    expect(bench.rows).to_have_count(1)
    expect(bench.rows.first).to_contain_text("running")
    expect(bench.pictures).to_have_count(1)
    there = bench.until_drawn(f"rows >= {before}")
    bench.until_drawn(f"rows > {there}")
    bench.button("Stop").click()
    nb.until_python("bench.runs[0].status == 'stopped'")
    taken = nb.eval_python("len(bench.runs[0].history)")
    expect(bench.words).to_contain_text(f"Stopped after {taken} of 100000 steps")
    expect(bench.rows.first).to_contain_text("stopped")
    expect(bench.pictures).to_have_count(2)
    expect(bench.button("Run")).to_be_enabled()
    bench.until_drawn(f"rows === {taken}")


def test_restart_and_run_all_opens_one_bench_as_it_was_left(fresh_notebook):
    nb = fresh_notebook(["import diffopt_widgets as dw", LONG, "restarted = True"])
    nb.run_cell(1)
    page = nb.page
    bench = Seen(page)
    bench.optimizer.select_option("ADAMW")
    bench.entry("lr").fill("0.002")
    nb.until_python("bench.form.settings.lr == 0.002")
    bench.button("Run").click()
    bench.until_drawn("rows > 5")

    page.evaluate("window.stale = document.querySelector('.dw-bench')")
    page.evaluate("void window.jupyterapp.commands.execute('runmenu:restart-and-run-all')")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_function("() => !window.stale.isConnected && document.querySelector('.dw-bench .dwf-optimizer')")
    nb.until_python("'restarted' in globals()")
    expect(page.locator(".dw-bench")).to_have_count(1)
    expect(bench.optimizer).to_have_value("ADAMW")
    expect(bench.entry("lr")).to_have_value("0.002")
    expect(bench.root.locator(".dwr")).to_contain_text("Runs appear here")
    expect(bench.root.get_by_text("Press Run: loss and applied learning rate appear here").first).to_be_visible()
    expect(page.locator(".dw-saved-picture")).to_have_count(0)
    expect(page.locator("[data-mime-type='application/vnd.jupyter.error']")).to_have_count(0)
    bench.root.get_by_label("Steps", exact=True).fill("5")
    nb.until_python("bench.bar.values['steps'] == 5")
    bench.button("Run").click()
    nb.until_python(FINISHED)
    assert nb.eval_python("[(run.status, run.settings.lr) for run in bench.runs]") == [["done", 0.002]]


def test_training_goes_on_in_another_tab_and_its_curve_is_whole_on_return(notebook):
    nb = notebook([LONG])
    nb.run_cell(0)
    page = nb.page
    bench = Seen(page)
    bench.button("Run").click()
    before = bench.until_drawn("rows > 10")
    page.evaluate("void window.jupyterapp.commands.execute('launcher:create')")
    expect(bench.root).to_be_hidden()
    meanwhile = nb.until_python(f"(taken := len(bench.runs[0].history)) > {before + 200} and taken")
    page.get_by_role("tab", name=nb.path.name).click()
    expect(bench.root).to_be_visible()
    there = bench.until_drawn(f"rows >= {meanwhile}")
    bench.until_drawn(f"rows > {there}")
    bench.button("Stop").click()
    nb.until_python(FINISHED)
    taken = nb.eval_python("len(bench.runs[0].history)")
    bench.until_drawn(f"rows === {taken}")


def test_a_bench_that_was_shown_again_and_a_form_are_seen_in_a_saved_notebook(notebook, fresh_notebook):
    opened = "import diffopt_widgets as dw\nbench = dw.lab(dw.Settings('PRODIGY'), task='swiss_roll', steps=5)\nbench"
    nb = notebook([opened, "bench", "dw.Form(dw.Settings('PRODIGY', d_coef=0.5))", "dw.RunsTable(bench.runs)"])
    nb.run_cell(0)
    Seen(nb.page).button("Run").click()
    nb.until_python(FINISHED)
    for cell in (1, 2, 3):
        nb.run_cell(cell)
    form = nb.output(2).locator(".dwf [data-name=d_coef] input[type=text]")
    form.fill("0.25")
    form.press("Enter")
    stand_ins = nb.page.locator(".dw-saved-picture")
    expect(stand_ins).to_have_count(4)
    expect(stand_ins.nth(2)).to_contain_text("0.25")
    for place in range(4):
        expect(stand_ins.nth(place)).to_be_hidden()  # the live widgets are there

    copy = opened_elsewhere(nb.save(), fresh_notebook)
    for place in range(4):
        expect(copy.page.locator(".dw-saved-picture").nth(place)).to_be_visible()
    expect(copy.page.locator(".dw-saved-picture img[alt^='Curves of']")).to_have_count(2)
    expect(copy.output(2)).to_contain_text("D coefficient (d_coef)")
    expect(copy.output(2)).to_contain_text("0.25")
    expect(copy.output(3).locator(".dw-saved-picture")).to_contain_text("done")
    copy.screenshot("bench-saved")


RERUNS = 5


def weight(cdp):
    """Nodes and listeners of the page that are still held."""
    for _ in range(3):  # what is freed in one round may hold what is freed in the next
        cdp.send("HeapProfiler.collectGarbage")
    metrics = {entry["name"]: entry["value"] for entry in cdp.send("Performance.getMetrics")["metrics"]}
    return metrics["Nodes"], metrics["JSEventListeners"]


def test_a_cell_that_is_run_again_and_again_leaves_little_behind(fresh_notebook):
    opened = "bench = dw.lab(dw.Settings('PRODIGY'), task='swiss_roll', steps=3)\nbenches.append(bench)\nbench"
    nb = fresh_notebook(["import diffopt_widgets as dw\nbenches = []", opened, "benches[0]"])
    cdp = nb.page.context.new_cdp_session(nb.page)
    cdp.send("Performance.enable")
    nb.run_cell(0)

    def run_again(times):
        for _ in range(times):
            nb.run_cell(1)
            expect(Seen(nb.page).button("Run")).to_be_enabled()
        nb.until_python("[b.comm is None for b in benches] == [True] * (len(benches) - 1) + [False]")
        return weight(cdp)

    first = run_again(2)
    last = run_again(RERUNS)
    for before, after in zip(first, last, strict=True):
        assert before + 50 * (after - before) / RERUNS < 1.2 * before

    nb.run_cell(2)  # the very first one, displayed once more
    old = Seen(nb.page, 1)
    old.entry("lr").fill("0.5")
    nb.until_python("benches[0].form.settings.lr == 0.5")
    old.button("Run").click()
    nb.until_python("benches[0].runs and benches[0].runs[0].ended")
    assert old.until_drawn("rows === 3") == 3
