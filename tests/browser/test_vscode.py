"""Our widgets in the widget manager of VS Code's notebooks, outside VS Code: in a page with its colours, in a dark theme."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

HERE = Path(__file__).parent
JS = HERE.parent / "js"
MODULES = JS / "node_modules"
FILES = {
    "page.html": HERE / "vscode.html",
    "kernel.mjs": JS / "kernel.mjs",
    "require.js": MODULES / "requirejs" / "require.js",
    "anywidget.js": Path(sys.prefix) / "share" / "jupyter" / "nbextensions" / "anywidget" / "index.js",
    "ipywidgets.js": MODULES / "@vscode" / "jupyter-ipywidgets8" / "dist" / "ipywidgets.js",
}
BENCH = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"), task="swiss_roll", steps=30)
bench"""
UNREADABLE = """async () => {
  const { violations } = await axe.run('.dw-bench', { runOnly: ['color-contrast'] });
  return violations.flatMap(({ nodes }) => nodes.map(({ html, any }) => `${html.slice(0, 120)} ${any[0].message}`));
}"""


def serve(route):
    name = urlsplit(route.request.url).path.rpartition("/")[2]
    route.fulfill(path=FILES[name], content_type="text/html" if name.endswith("html") else "text/javascript")


@pytest.fixture
def page(jupyter, browser):
    """The page in which VS Code's widget manager waits for cells; `execute(code)` in it runs one."""
    if not FILES["ipywidgets.js"].exists():
        missing = "VS Code's widget manager is not installed. To fix it: cd tests/js && npm ci"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    context = browser.new_context(viewport={"width": 1300, "height": 1000}, permissions=["local-network-access"])
    context.route("**/vscode/*", serve)
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(error.stack))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.goto(f"{jupyter.url}/vscode/page.html#{jupyter.token}")
    page.wait_for_function("'execute' in window")
    yield page
    context.close()
    jupyter.shut_down_kernels()
    assert not errors, "\n\n".join(errors)


def test_the_bench_trains_draws_and_saves_in_vs_codes_widget_manager(page):
    assert page.evaluate("execute", BENCH)["content"]["status"] == "ok"
    bench = page.locator(".dw-bench")
    bench.get_by_label("D coefficient").first.fill("0.5")
    expect(bench.locator(".dwf-row", has_text="d_coef").get_by_role("button", name="Reset").first).to_be_visible()
    bench.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("document.querySelector('.dw-plot-graph')?.dataset.rows == 30")
    expect(bench.locator(".dw-words")).to_contain_text("Evaluation loss")
    name = bench.locator("tr[data-key]").get_by_role("textbox")
    name.fill("mine")
    name.press("Enter")
    expect(page.locator(".dw-plot-run")).to_have_text("mine")
    bench.locator(".dw-plot-save > summary").click()
    with page.expect_download() as saved:
        bench.locator(".dw-plot-save").get_by_role("button", name="CSV").click()
    assert saved.value.path().read_text(encoding="utf-8").count("\n") >= 30
    expect(bench.locator("[data-pending]")).to_have_count(0)
    page.add_script_tag(path=MODULES / "axe-core" / "axe.min.js")
    assert not page.evaluate(UNREADABLE)  # in the dark theme, on the white that lies under every widget
    bench.get_by_role("button", name="Show the curves of mine").click()
    expect(page.locator(".dw-plot-run")).to_have_attribute("aria-pressed", "false")
