"""Words are whole at every width, and a widget looks the same whichever others the page shows."""

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
    for optimizer in ("ADAFACTOR", "AdEMAMix", "MUON_ADV", "PRODIGY_PLUS_SCHEDULE_FREE"):  # the longest words
        nb.eval_python(f"bench.form.choose({optimizer!r})")
        expect(bench.locator(".dwf-head .dwf-name")).to_have_text(optimizer)
        bench.evaluate("bench => bench.querySelectorAll('details').forEach((fold) => (fold.open = true))")
        assert bench.evaluate(CUT) == [], optimizer


def test_what_comes_later_changes_no_look(notebook):
    """Each widget brings theme.css once more, after what the others have brought."""
    nb = notebook([OPEN.format(settings='dw.Settings("PRODIGY", d_coef=2.0)')])
    nb.run_cell(0)
    bench = nb.page.locator(".dw-bench")
    for count in (1, 2):
        bench.get_by_role("button", name="Run", exact=True).click()
        nb.until_python(f"len(bench.runs) == {count} and bench.runs[-1].ended")
    expect(bench.get_by_role("button", name="Compare settings")).to_be_visible()
    found = bench.evaluate(
        """async (bench, theme) => {
          const nodes = [...bench.querySelectorAll('.dw-themed *')];
          const looks = () => nodes.map((node) => [...getComputedStyle(node)].map(
            (name) => `${name}: ${getComputedStyle(node).getPropertyValue(name)}`));
          const before = looks();
          const style = document.createElement('style');
          style.textContent = theme;
          document.body.append(style);
          const after = looks();
          style.remove();
          return nodes.flatMap((node, i) => after[i].filter((look) => !before[i].includes(look))
            .map((look) => `${node.tagName}.${node.className} ${look}`));
        }""",
        nb.eval_python("dw.Form.FOLDER.joinpath('theme.css').read_text()"),
    )
    assert found == []
