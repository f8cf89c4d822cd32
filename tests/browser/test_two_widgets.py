"""Several widgets on one page: each label, description and message belongs to the control beside it."""

from __future__ import annotations

from browser.test_kernel_lost import RESTARTED
from playwright.sync_api import expect

expect.set_options()

SEVERAL = """
import ipywidgets
import diffopt_widgets as dw
from diffopt_widgets.widgets.state_size.card import StateSize
runs = dw.sweep(dw.Settings("PRODIGY"), {"d_coef": [0.5, 1.0]}, task="swiss_roll", steps=2, progress=False)
tables = [dw.RunsTable(runs), dw.RunsTable(runs)]
forms = [dw.Form("PRODIGY"), dw.Form("PRODIGY")]
sizes = [StateSize(dw.Settings("ADAMW")) for _ in range(2)]
ipywidgets.VBox([*forms, *tables, *sizes])
"""
BENCHES = "import ipywidgets\nimport diffopt_widgets as dw\nbenches = [dw.lab(dw.Settings('PRODIGY')), dw.lab(dw.Settings('PRODIGY'))]\nipywidgets.VBox(benches)"

DOUBLED = """() => {
  const ids = [...document.querySelectorAll('.jp-OutputArea-output [id]')].map(({ id }) => id);
  return ids.filter((id, place) => ids.indexOf(id) !== place);
}"""
ELSEWHERE = """() => {
  const root = (node) => node.closest('.dwf, .dwr, .dwm');
  const names = ['for', 'aria-describedby', 'aria-controls', 'aria-errormessage', 'aria-labelledby'];
  return [...document.querySelectorAll(':is(.dwf, .dwr, .dwm) *')].flatMap((node) =>
    names.flatMap((name) =>
      (node.getAttribute(name) ?? '').split(' ').filter(Boolean)
        .filter((id) => root(document.getElementById(id) ?? document.body) !== root(node))
        .map((id) => `${name} ${id}`)));
}"""


def test_a_label_leads_to_the_control_beside_it(notebook):
    nb = notebook([SEVERAL, BENCHES])
    nb.run_all()
    for cell, forms in enumerate(("forms", "[b.form for b in benches]")):
        labels_lead_to_their_own(nb, nb.output(cell).locator(".dwf"), forms)


def test_two_benches_in_notebook_7_and_the_kernel_that_they_lose(notebook):
    nb = notebook([BENCHES], app="notebook")
    nb.run_all()
    labels_lead_to_their_own(nb, nb.output(0).locator(".dwf"), "[b.form for b in benches]")
    nb.page.locator(".dw-bench").nth(1).get_by_role("button", name="Run", exact=True).click()
    nb.until_python("benches[1].runs and len(benches[1].runs[0].history) > 5")
    nb.restart()
    benches = nb.page.locator(".dw-bench")
    for place in range(2):
        expect(benches.nth(place).get_by_role("alert")).to_contain_text(RESTARTED)
        expect(benches.nth(place).get_by_role("button", name="Run", exact=True)).to_be_disabled()
    nb.run_cell(0, wait=False)
    expect(benches.get_by_role("alert")).to_have_count(0)
    expect(benches.get_by_role("button", name="Run", exact=True)).to_have_count(2)
    expect(benches.nth(1).get_by_role("button", name="Run", exact=True)).to_be_enabled()


def labels_lead_to_their_own(nb, views, forms):
    """Check that the label of the second form leads to its own field, and that no id is there twice."""
    expect(views).to_have_count(2)
    for view in (views.nth(1), views.nth(0)):
        expect(view.locator("[data-name=lr] input[type=text]")).to_be_visible()
    views.nth(1).locator("[data-name=lr] .dwf-title").click()
    nb.page.keyboard.press("Control+A")
    nb.page.keyboard.type("0.25")
    nb.until_python(f"{forms}[1].settings.lr == 0.25")
    assert nb.eval_python(f"{forms}[0].settings.lr") == 1.0
    assert nb.page.evaluate(DOUBLED) == []
    assert nb.page.evaluate(ELSEWHERE) == []
