"""The moving picture of the README (docs/bench.webp), made from the bench at work in a real JupyterLab.

Run: pytest tests/browser/animation.py
"""

from __future__ import annotations

import io
from pathlib import Path

from playwright.sync_api import expect

OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"))
bench"""
TARGET = Path(__file__).parents[2] / "docs" / "bench.webp"
WIDTH, HEIGHT = 1000, 720
"""Of the picture, in pixels: the upper part of the bench."""
EVERY, HOLD = 300, 3000
"""How long a picture of the training stands, and the first and the last one, in milliseconds."""


def test_animation(notebook):
    from PIL import Image  # of the extra `dev`; pytest looks for doctests here with less

    nb = notebook([OPEN], width=1400, height=1500)
    nb.run_cell(0)
    page = nb.page
    bench = page.locator(".dw-bench")
    expect(bench.locator(".js-plotly-plot")).to_be_visible()
    frames = [picture(bench)]
    bench.get_by_role("button", name="D coefficient under cosine").click()
    nb.until_python("bench.runs and len(bench.runs[0].history) > 5")
    while not nb.eval_python("len(bench.runs) == 3 and bench.runs[2].ended"):
        frames.append(picture(bench))
        page.wait_for_timeout(250)  # between two pictures
    expect(page.locator(".dw-samples img")).to_have_count(18)
    page.mouse.move(0, 0)
    frames.append(picture(bench))
    durations = [HOLD, *[EVERY] * (len(frames) - 2), HOLD]
    first, *rest = frames
    first.save(TARGET, save_all=True, append_images=rest, duration=durations, loop=0, quality=70, method=6)
    with Image.open(TARGET) as made:
        assert made.n_frames > 10
    assert TARGET.stat().st_size < 2_000_000


def picture(bench):
    from PIL import Image

    whole = Image.open(io.BytesIO(bench.screenshot())).convert("RGB")
    scaled = whole.resize((WIDTH, round(whole.height * WIDTH / whole.width)), Image.Resampling.LANCZOS)
    return scaled.crop((0, 0, WIDTH, HEIGHT))
