"""Words are whole at every width, and what can be pressed looks so."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

OPEN = """import diffopt_widgets as dw
bench = dw.lab({settings}, task="swiss_roll", steps=5)
bench"""

CUT = """bench => {
  const drawn = document.createElement('canvas').getContext('2d');
  const cut = [];
  for (const control of bench.querySelectorAll('.dwf input[type=text], .dwf select')) {
    const { font, paddingLeft, paddingRight } = getComputedStyle(control);
    const arrow = control.options ? 16 : 0;
    const room = control.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - arrow;
    drawn.font = font;
    const words = control.options ? [...control.options].map(({ text }) => text) : [control.placeholder];
    for (const text of words) if (drawn.measureText(text).width > room + 1) cut.push(`${control.id}: ${text}`);
  }
  return cut;
}"""


@pytest.mark.parametrize("width", [480, 700, 1400])
def test_no_choice_and_no_hint_in_a_field_is_cut(notebook, width):
    nb = notebook([OPEN.format(settings='dw.Settings("SGD")')], width=width)
    nb.run_cell(0)
    bench = nb.page.locator(".dw-bench")
    if width < 1400:
        bench.get_by_role("button", name="Options", exact=True).click()
    for optimizer in ("ADAFACTOR", "AdEMAMix", "MUON_ADV", "PRODIGY_PLUS_SCHEDULE_FREE"):  # the longest words
        nb.eval_python(f"bench.form.choose({optimizer!r})")
        expect(bench.locator(".dwf-head .dwf-name")).to_have_text(optimizer)
        bench.evaluate("bench => bench.querySelectorAll('details').forEach((fold) => (fold.open = true))")
        assert bench.evaluate(CUT) == [], optimizer


def test_a_button_that_can_be_pressed_does_not_look_disabled(notebook):
    """Each widget brings the common styles once more, after what the others have brought."""
    nb = notebook([OPEN.format(settings='dw.Settings("PRODIGY")')])
    nb.run_cell(0)
    bench = nb.page.locator(".dw-bench")
    for count in (1, 2):
        bench.get_by_role("button", name="Run", exact=True).click()
        nb.until_python(f"len(bench.runs) == {count} and bench.runs[-1].ended")
    color = "node => getComputedStyle(node).color"
    words = bench.locator(".dwr-name-text").first.evaluate(color)
    expect(bench.get_by_role("button", name="Compare settings")).to_have_css("color", words)
