"""Pictures of the bench at three widths and in two themes, to be looked at; not collected with the tests.

Run: DIFFOPT_SCREENSHOTS=screenshots pytest tests/browser/pictures.py
The README's moving picture is made by animation.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"))
bench"""


@pytest.fixture
def keep():
    """Return a function that takes a picture of one element."""
    folder = Path(os.environ.get("DIFFOPT_SCREENSHOTS", "screenshots"))
    folder.mkdir(exist_ok=True, parents=True)
    return lambda nb, name: nb.page.locator(".dw-bench").screenshot(path=folder / f"{name}.png")


HEIGHTS = {480: 3600, 700: 2800, 1400: 2000}
"""By width: so tall that the notebook shows the whole bench without scrolling."""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", HEIGHTS)
def test_pictures(notebook, keep, width, theme):
    nb = notebook([OPEN], width=width, height=HEIGHTS[width], theme=theme)
    name = f"bench-{width}-{theme}"
    page = nb.page
    nb.run_cell(0)
    expect(page.get_by_text("Press Run: loss and applied learning rate appear here").first).to_be_visible(
        timeout=60_000
    )
    keep(nb, f"{name}-open")

    page.locator(".dw-bench").get_by_role("button", name="D coefficient under cosine").click()
    nb.until_python("bench.runs and len(bench.runs[0].history) > 60", seconds=120)
    keep(nb, f"{name}-running")
    nb.until_python("len(bench.runs) == 3 and bench.runs[2].ended", seconds=300)
    expect(page.locator(".dw-samples img")).to_have_count(18)
    keep(nb, f"{name}-compared")

    nb.eval_python("bench.form.type('lr', 'fast')")
    nb.eval_python("bench.form.choose('ADAFACTOR')")
    nb.eval_python("bench.form.type('clip_threshold', '-1')")
    expect(page.locator("[aria-invalid=true]").first).to_be_attached()
    keep(nb, f"{name}-wrong")
