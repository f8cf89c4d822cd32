"""A bench whose cell is run again while it trains, an interrupt of the kernel, and a restart."""

from __future__ import annotations

from browser.test_bench_views import LONG, Seen
from playwright.sync_api import expect

COMMAND = "command => void window.jupyterapp.commands.execute(command)"


def test_a_cell_that_is_run_again_offers_what_trains_and_takes_it_over(notebook):
    nb = notebook([LONG])
    nb.run_cell(0)
    bench = Seen(nb.page)
    bench.button("Run").click()
    bench.until_drawn("rows > 10")
    nb.run_cell(0)
    offer = bench.root.locator(".dw-other-session")
    expect(offer).to_contain_text("in another bench of this notebook: step")
    expect(bench.button("Stop")).to_be_disabled()
    nb.screenshot("other-session")
    bench.button("Take it over").click()
    expect(offer).to_be_hidden()
    there = bench.until_drawn("rows > 20")
    bench.until_drawn(f"rows > {there}")
    nb.screenshot("taken-over")
    bench.button("Stop").click()
    nb.until_python("bench.runs[0].status == 'stopped'")
    expect(bench.words).to_contain_text("Stopped after")


def test_interrupt_kernel_ends_the_training_between_cells(notebook):
    nb = notebook([LONG])
    nb.run_cell(0)
    bench = Seen(nb.page)
    bench.button("Run").click()
    bench.until_drawn("rows > 10")
    nb.page.evaluate(COMMAND, "notebook:interrupt-kernel")
    nb.until_python("bench.runs[0].status == 'stopped'")
    expect(bench.words).to_contain_text("Stopped after")
    expect(bench.button("Run")).to_be_enabled()


RESTARTED = "The kernel was restarted; run the cell again."


def test_after_a_restart_a_bench_says_so_in_one_line_and_its_controls_are_off(notebook):
    nb = notebook([LONG])
    nb.run_cell(0)
    bench = Seen(nb.page)
    bench.root.get_by_role("button", name="D coefficient under cosine").click()
    rows = bench.until_drawn("rows > 10")
    nb.restart()
    expect(bench.root.get_by_role("alert")).to_have_text(f"{RESTARTED} What is shown here is from before.")
    expect(
        bench.root.locator(":is(button, input, select, textarea):enabled:not(.dw-plot *, .dw-present-switch *)")
    ).to_have_count(0)
    expect(bench.root.locator("[aria-pressed=true]:not(.dw-plot *)")).to_have_count(0)
    expect(bench.words).to_be_hidden()
    bench.until_drawn(f"rows >= {rows}")
    nb.screenshot("restarted")
    scale = bench.root.get_by_role("button", name="log loss")
    before = scale.get_attribute("aria-pressed")  # comparisons begin with a logarithmic axis
    scale.click()  # what needs no kernel goes on
    expect(scale).to_have_attribute("aria-pressed", "false" if before == "true" else "true")
    nb.run_cell(0, wait=False)  # its number is 1 once more
    expect(bench.root.get_by_role("alert")).to_have_count(0)
    expect(bench.button("Run")).to_be_enabled()


def test_after_a_restart_every_widget_says_so(notebook):
    cells = [
        "import diffopt_widgets as dw\ndw.Form(dw.Settings('ADAMW'))",
        (
            "run = dw.train(dw.Settings('ADAMW'), 'swiss_roll', 5, progress=False)\n"
            "plot = dw.LivePlot()\nplot.add_run('a', 'a', run.history)\nplot"
        ),
        "dw.RunsTable([run])",
        "dw.RunBar('swiss_roll')",
        "dw.train(dw.Settings('ADAMW'), 'swiss_roll', 5, progress=False, store='runs.sqlite')\ndw.RunStoreTable(dw.RunStore('runs.sqlite'))",
    ]
    nb = notebook(cells)
    nb.run_all()
    for place in range(len(cells)):
        expect(nb.output(place).locator(".dw-themed, .dw-plot, .dw-run-bar").first).to_be_visible()
    nb.restart()
    for place in range(len(cells)):
        expect(nb.output(place).get_by_role("alert")).to_contain_text(RESTARTED)
    nb.screenshot("restarted-widgets")
