"""Texts that look like markup, in a real page: they are shown as they are, and nothing in them is executed or loaded."""

from __future__ import annotations

import json

import pytest
from browser.lab_server import started
from browser.notebook_page import Notebook, opened_elsewhere
from playwright.sync_api import expect

expect.set_options()

HOSTILE = {
    "image": "<img src=x onerror=hacked.push(1)>",
    "attribute": '"><svg onload=hacked.push(2)>',
    "script": "</script><script>hacked.push(3)</script>",
    "link": '<a href="javascript:hacked.push(4)">link</a>',
    "math": "$\\href{javascript:hacked.push(5)}{f}$ $$x^2$$",
    "template": "{{hacked.push(6)}} %{y} 5 %",
    "bold": "<b>bold</b><br>&lt;i&gt;",
}
RUNS = """
import diffopt_widgets as dw, torch, json
from diffopt_widgets.runs.run import Run
texts = json.loads({texts!r})
everything = " ".join(texts)

class Own(torch.optim.SGD):
    def __init__(self, params, lr=0.1, note=everything):
        super().__init__(params, lr)
    def step(self, closure=None):
        print(everything)
        raise RuntimeError(everything)
Own.__doc__ = everything + "\\n\\nArgs:\\n    note (str): " + everything

bench = dw.lab(dw.Settings(dw.spec_of(Own), note=everything), task="swiss_roll", steps=5)
bench
"""
START = """
plan = dw.RunPlan(dw.Settings("SGD", lr=0.01), "swiss_roll", steps=5)
runs = [Run(plan, text) for text in texts] + [Run(dw.RunPlan(bench.form.settings, "swiss_roll", steps=5), everything)]
bench.start(runs)
await bench.wait()
for run, text in zip(runs, [*texts, everything[:200]]):
    bench.table.rename(run.key, text)
"""
STORE = """
store = dw.RunStore("hostile.sqlite")
for run in bench.runs:
    store.annotate(store.add(run), everything)
table = dw.RunStoreTable(store)
table
"""


def count_executions(page) -> None:
    page.evaluate("window.hacked = []")


def nothing_executed(nb) -> None:
    """Fail when something was executed, loaded, or made of a text that is no element of ours."""
    page = nb.page
    assert page.evaluate("window.hacked") == []
    outputs = page.locator(".jp-OutputArea")
    for wrong in (
        "[src=x]",
        "[onerror]",
        "[onload]",
        "a[href^='javascript']",
        "mjx-container",
        ".MathJax",
        "i:text('<')",
    ):
        assert outputs.locator(wrong).count() == 0, wrong
    assert outputs.locator("b", has_text="bold").count() == 0
    assert outputs.locator("svg a").count() == 0


def hover(nb) -> str:
    """Return what the first plot says of all runs at the place of the mouse."""
    page = nb.page
    label, graph = page.locator(".dw-plot-graph .hoverlayer"), page.locator(".dw-plot-graph").first
    graph.scroll_into_view_if_needed()
    box = graph.locator(".nsewdrag").first.bounding_box()
    for nudge in range(600):  # a drawing takes the label away until the mouse moves again
        page.mouse.move(box["x"] + box["width"] / 2 + nudge % 3, box["y"] + box["height"] / 2)
        if text := label.text_content():
            return text
        page.wait_for_timeout(100)
    raise AssertionError("no label")


def hostile_bench(notebook, *more) -> Notebook:
    texts = json.dumps(list(HOSTILE.values()))
    nb = notebook([RUNS.format(texts=texts), START, *more])
    count_executions(nb.page)
    nb.run_cell(0)
    expect(nb.page.locator(".dw-bench .dwf-optimizer")).to_be_visible()
    nb.run_cell(1)
    nb.until_python("all(run.ended for run in runs) and runs[-1].status == 'failed'")
    return nb


def test_texts_like_markup_are_shown_as_they_are(notebook, fresh_notebook):
    nb = hostile_bench(notebook, STORE)
    page = nb.page
    nb.run_cell(2)
    legend, strips = page.locator(".dw-plot-legend").first, page.locator(".dw-strip-name > span:not(.dw-swatch)")
    for text in HOSTILE.values():
        expect(legend.get_by_role("button", name=text, exact=True)).to_be_visible()
        assert text in map(str.strip, strips.all_inner_texts())
        assert page.locator(".dwr-runs").first.get_by_label(f"Name of {text}", exact=True).input_value() == text
        expect(page.locator(".dw-failure")).to_contain_text(text)
        assert text in page.locator(".dwf [data-name=note] .dwf-field > input").input_value()
    for text in HOSTILE.values():
        page.get_by_label(f"Draw {text}", exact=True).check()
    told = hover(nb)
    for text in HOSTILE.values():
        assert text in told
    nothing_executed(nb)
    nb.screenshot("hostile-texts")
    saved = nb.save()
    text = json.dumps(saved)
    for secret in (nb.jupyter.token, str(nb.jupyter.root), str(nb.jupyter.runtime), "site-packages"):
        assert secret not in text
    copy = opened_elsewhere(saved, fresh_notebook)
    count_executions(copy.page)
    expect(copy.page.locator(".dw-saved-picture").first).to_be_visible()
    nothing_executed(copy)


# JupyterLab compiles its settings' schemas ('unsafe-eval'), and anywidget imports a widget's module from a blob: without
# either the lab, or any widget of anywidget's, shows nothing. It writes style elements, and its icons are data.
STRICTEST = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
)
NO_EVAL = "script-src 'self' blob:"
"""What is left of it when the lab is open: then we have to live without evaluation too."""


@pytest.fixture
def strict_notebook(tmp_path_factory, browser):
    """Return a function as `notebook`, for pages under the strictest policy under which the lab shows anywidgets."""
    opened = []
    with started(tmp_path_factory.mktemp("strict"), STRICTEST) as server:

        def give(cells):
            nb = Notebook.made(server, browser, "strict", "lab")
            opened.append(nb)
            nb.page.context.add_init_script(
                """window.broken = [];
                document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile }) =>
                  window.broken.push([violatedDirective, blockedURI, sourceFile].join(" ")));"""
            )
            nb.open(cells)
            nb.page.evaluate(
                """policy => {
                  window.broken = []; // the lab's own
                  const meta = document.createElement("meta");
                  meta.httpEquiv = "Content-Security-Policy";
                  meta.content = policy;
                  document.head.append(meta);
                }""",
                NO_EVAL,
            )
            return nb

        yield give
        for nb in opened:
            nb.close()


EVALUATES = """async () => {
  const code = "export default () => { try { return new Function('return 1')(); } catch { return 'refused'; } }";
  const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  return await new Promise((done) => setTimeout(() => done(module.default())));
}"""
"""What a module of a widget's gets when it evaluates a text."""


def test_the_plot_works_under_the_strictest_policy(strict_notebook):
    nb = hostile_bench(strict_notebook)
    page = nb.page
    legend = page.locator(".dw-plot-legend").first
    expect(legend.get_by_role("button", name=HOSTILE["bold"], exact=True)).to_be_visible()  # the names have arrived
    assert HOSTILE["bold"] in hover(nb)
    for kind in ("PNG", "SVG", "HTML", "CSV"):
        page.locator(".dw-plot-save").first.locator("summary").click()
        with page.expect_download() as download:
            page.locator(".dw-plot").first.get_by_role("button", name=kind, exact=True).click()
        assert download.value.path().stat().st_size > 100
    assert page.evaluate("window.hacked") == []
    assert page.evaluate("window.broken") == []
    assert page.evaluate(EVALUATES) == "refused"
