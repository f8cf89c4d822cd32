"""The line that tells an optimizer's state, used as a person would: another rank, a full fine-tune, all optimizers."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

CELL = """
import diffopt_widgets as dw
from diffopt_widgets.widgets.state_size.card import StateSize
card = StateSize(dw.Settings("ADAMW"))
card
"""


def keep(found, name):
    """Keep a picture of the line in the folder of DIFFOPT_SCREENSHOTS, if there is one."""
    if folder := os.environ.get("DIFFOPT_SCREENSHOTS"):
        found.page.locator(".dwm").first.screenshot(path=Path(folder) / f"{name}.png")


def test_state_is_told_for_another_rank_and_compared(notebook):
    found = notebook([CELL])
    found.run_cell(0)
    view = found.output(0).locator(".dwm")
    sentence = view.get_by_role("status")
    expect(sentence).to_have_text("ADAMW: 743 MB of state for an SDXL LoRA of rank 64")
    expect(view).to_contain_text("92,897,280 weights in float32")

    view.get_by_text("Another model or rank").click()
    rank = view.get_by_label("Rank")
    rank.fill("many")
    rank.press("Enter")
    expect(view.get_by_role("alert")).to_have_text("The rank must be a whole number from 1 to 1024")
    expect(rank).to_have_attribute("aria-invalid", "true")
    expect(rank).to_have_value("many")
    rank.fill("32")
    rank.press("Enter")
    expect(sentence).to_have_text("ADAMW: 372 MB of state for an SDXL LoRA of rank 32")
    expect(view.get_by_role("alert")).to_be_hidden()
    view.get_by_label("Model").select_option("Flux.1 dev")
    view.get_by_label("Training").select_option("Full fine-tune")
    view.get_by_label("Trained weights").select_option("bfloat16")
    expect(sentence).to_have_text("ADAMW: 48 GB of state for a full fine-tune of Flux.1 dev's transformer")
    expect(rank).to_be_hidden()
    view.get_by_label("Training").select_option("LoRA")
    expect(rank).to_have_value("32")

    rank.fill("1")
    found.eval_python("card.choose(dtype='float32')")  # what was chosen before comes back late
    expect(view.get_by_label("Trained weights")).to_have_value("float32")
    rank.press("6")
    rank.press("Enter")
    found.until_python("(card.choice.rank, card.choice.dtype) == (16, 'float32')")
    expect(rank).to_have_value("16")

    toggle = view.get_by_role("button")
    toggle.focus()
    found.page.keyboard.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    bars = view.get_by_role("listitem")
    expect(bars).to_have_count(found.eval_python("len(dw.list_optimizers())"))
    found.until_python("all(bar['words'] for bar in card.bars)", seconds=120)
    expect(bars.filter(has_text="…")).to_have_count(0)
    expect(bars.first).to_contain_text("SGD")
    expect(view.locator("li[aria-current=true]")).to_contain_text("ADAMW")
    widest = bars.last.locator(".dwm-fill").evaluate("node => node.offsetWidth / node.parentElement.offsetWidth")
    assert widest == pytest.approx(1, abs=0.02)
    for width in (1400, 700, 480):
        found.page.set_viewport_size({"width": width, "height": 1000})
        found.page.wait_for_function("width => document.querySelector('.dwm').clientWidth < width", arg=width)
        assert view.evaluate("root => root.scrollWidth - root.clientWidth") == 0
        keep(found, f"state-{width}")
    toggle.click()
    expect(bars).to_have_count(0)
