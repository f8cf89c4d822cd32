"""The bench served by Voila, as a lecturer shows it to a class: no cells, no code, the same widgets."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

REQUIREJS = Path(__file__).parents[1] / "js" / "node_modules" / "requirejs" / "require.js"
BENCH = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"), task="swiss_roll", steps=30)
bench"""


@pytest.fixture
def page(jupyter, browser):
    """A page in which Voila has run a notebook of one cell, on a machine without the internet.

    Voila's own page takes require.js from the internet; here it comes from npm. In its page some of JupyterLab's own
    extensions, which are newer than it, fail.
    """
    if not REQUIREJS.exists():
        missing = "requirejs is not installed. To fix it: cd tests/js && npm ci"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    path = jupyter.root / "served.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BENCH)]), path)
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.route("**/require.min.js", lambda route: route.fulfill(path=REQUIREJS, content_type="text/javascript"))
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: "blob:" in (error.stack or "") and errors.append(error.stack))
    page.goto(f"{jupyter.url}/voila/render/{path.name}?token={jupyter.token}")
    yield page
    context.close()
    jupyter.shut_down_kernels()
    assert not errors, "\n\n".join(errors)


def test_the_bench_trains_and_draws_in_voila(page):
    bench = page.locator(".dw-bench")
    bench.get_by_label("D coefficient").first.fill("0.5")
    expect(bench.locator(".dwf-row", has_text="d_coef").get_by_role("button", name="Reset").first).to_be_visible()
    bench.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".dw-plot-run")).to_have_text("PRODIGY · COSINE · d_coef 0.5")
    page.wait_for_function("document.querySelector('.dw-plot-graph').dataset.rows == 30")
    expect(bench.locator(".dw-words")).to_contain_text("Evaluation loss")
    page.get_by_label("log loss").or_(page.get_by_role("button", name="log loss")).first.click()
    page.wait_for_function("document.querySelector('.dw-plot-graph').layout.yaxis.type == 'log'")
    bench.get_by_role("button", name="Present", exact=True).click()
    page.wait_for_function("document.fullscreenElement === document.querySelector('.dw-bench')")
    page.keyboard.press("l")
    page.wait_for_function("document.querySelector('.dw-plot-graph').layout.yaxis.type == 'linear'")
    page.keyboard.press("Escape")
    expect(page.get_by_role("group", name="Keys of present mode")).to_be_hidden()
