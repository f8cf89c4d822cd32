"""A bench whose cell is run again while it trains, an interrupt of the kernel, and a restart."""

from __future__ import annotations

from browser.test_bench_views import LONG, Seen
from playwright.sync_api import expect

ALL = """
import diffopt_widgets as dw
bench = dw.lab(dw.Settings("ADAMW"), task="swiss_roll", steps=100_000)
"""
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
