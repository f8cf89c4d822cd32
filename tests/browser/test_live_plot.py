"""LivePlot in a real JupyterLab: points arrive while training goes on, and none stays lost."""

from __future__ import annotations

import re

import pytest
from browser.notebook_page import opened_elsewhere
from playwright.sync_api import Page, expect

SETUP = """
import asyncio, math, ipywidgets
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.plot.saved import SavedPicture
from diffopt_widgets.records import History, StepRecord

def record(step):
    rate = 0.5 + 0.5 * math.cos(step / 100)
    return StepRecord(step, step / 30, 1 / step, (rate,) * 2, (rate * 1e-3,) * 2, d=1e-3, d_hat=9e-4)

async def train(plot, key, name, steps, pause=0.005):
    history = History(("text_encoder", "unet"))
    plot.add_run(key, name, history, schedule=True)
    for step in range(1, steps + 1):
        history.extend([record(step)])
        plot.refresh()
        await asyncio.sleep(pause)
    plot.end_run(key)

plot = LivePlot()
"""
SHOW = "plot"
GRAPH = "document.querySelector('.dw-plot-graph')"


def start(key: str, steps: int, *, name: str = "a run", pause: float = 0.005) -> str:
    return f"task_{key} = asyncio.create_task(train(plot, {key!r}, {name!r}, {steps}, {pause}))"


def drawn(page: Page) -> list[tuple[str, int, int]]:
    """Of each line on the page: its axes, its points, and how many of them have no value."""
    lines = page.evaluate(
        f"{GRAPH}.data.map(t => [t.yaxis, t.x.length, Array.from(t.y).filter(y => !Number.isFinite(y)).length])"
    )
    return [tuple(line) for line in lines]


def until_rows(page: Page, condition: str) -> None:
    page.wait_for_function(f"(() => {{ const rows = Number({GRAPH}?.dataset.rows); return {condition}; }})()")


def first_panel(page: Page) -> tuple[float, float, float]:
    """Middle and width of the loss panel; asked in one breath, since a drawing may replace its elements."""
    box = page.evaluate(f"{GRAPH}.querySelector('.nsewdrag').getBoundingClientRect().toJSON()")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"]


def zoom(page: Page) -> None:
    """Drag over the middle of the first panel."""
    x, y, width = first_panel(page)
    page.mouse.move(x - width * 0.2, y)
    page.mouse.down()
    page.mouse.move(x + width * 0.1, y, steps=4)
    page.mouse.up()
    page.wait_for_function(f"{GRAPH}.layout.xaxis.autorange === false")


def test_points_arrive_while_it_trains_and_a_zoom_stays(notebook):
    nb = notebook([SETUP, SHOW, start("a", 100_000), "task_a.cancel(); plot.end_run('a')"])
    page = nb.page
    nb.run_cell(0)
    nb.run_cell(1)
    expect(page.get_by_text("Press Run: loss and applied learning rate appear here")).to_be_visible()
    nb.run_cell(2)
    until_rows(page, "rows > 20")
    expect(page.get_by_text("Press Run: loss and applied learning rate appear here")).to_be_hidden()
    zoom(page)
    page.wait_for_function(f"String({GRAPH}.layout.xaxis.range) === String({GRAPH}.layout.xaxis2.range)")
    before = page.evaluate(f"[{GRAPH}.layout.xaxis.range, {GRAPH}.layout.xaxis2.range, Number({GRAPH}.dataset.rows)]")
    assert before[0] == before[1]
    until_rows(page, f"rows > {before[2] + 30}")
    assert page.evaluate(f"{GRAPH}.layout.xaxis.range") == before[0]
    page.get_by_role("button", name="Reset view").click()
    page.wait_for_function(f"{GRAPH}.layout.xaxis.range[1] > {before[2]}")
    nb.run_cell(3)
    nb.screenshot("live-plot")


LOSSY = """
lost = []
send = plot.send
def lossy(content, buffers=None):
    starts = [part["start"] for part in content.get("parts", [])]
    if {condition}:
        lost.append(starts)
    else:
        send(content, buffers)
plot.send = lossy
"""


@pytest.mark.parametrize(
    "condition",
    ["len(lost) < 3 and starts and starts[0] > 40", "len(lost) < 1 and starts and starts[-1] > 250"],
    ids=["amid", "late"],
)
def test_lost_messages_are_asked_for(notebook, condition):
    nb = notebook([SETUP, LOSSY.replace("{condition}", condition), SHOW, start("a", 300)])
    for cell in range(4):
        nb.run_cell(cell)
    until_rows(nb.page, "rows === 300")
    nb.until_python("task_a.done() and len(lost) > 0")
    nb.page.wait_for_function(f"{GRAPH}.data.every(t => t.x.length === 300 && t.y.every(Number.isFinite))")
    assert {axes for axes, *_ in drawn(nb.page)} == {"y", "y2", "y102", "y3"}


def test_a_reload_shows_the_whole_curve_of_a_live_run(notebook):
    nb = notebook([SETUP, SHOW, start("a", 100_000)])
    for cell in range(3):
        nb.run_cell(cell)
    until_rows(nb.page, "rows > 150")
    nb.save()
    nb.reload()
    until_rows(nb.page, "rows > 150")
    # Newer rows may come before those that were asked for.
    nb.page.wait_for_function(f"{GRAPH}.data.every(t => t.x[0] === 1 && t.y.every(Number.isFinite))")
    rows = nb.page.evaluate(f"Number({GRAPH}.dataset.rows)")
    until_rows(nb.page, f"rows > {rows + 50}")


def test_a_loop_that_never_yields_still_shows_its_points(fresh_notebook):
    loop = """
import time
history = History(("unet",))
plot.add_run("b", "blocking", history)
while not page_is_done.exists():
    history.extend([StepRecord(len(history) + 1, 0.0, 1.0, (1.0,), (1.0,))])
    plot.refresh()
    time.sleep(0.01)
plot.end_run("b")
"""
    nb = fresh_notebook([SETUP, "import pathlib; page_is_done = pathlib.Path('page_is_done')", SHOW, loop])
    for cell in range(3):
        nb.run_cell(cell)
    nb.run_cell(3, wait=False)
    until_rows(nb.page, "rows > 50")
    nb.path.with_name("page_is_done").touch()
    total = nb.until_python("plot.runs[0]['total']")
    until_rows(nb.page, f"rows === {total}")


def test_names_are_text_and_the_legend_hides_runs(notebook):
    nasty = "<img src=x onerror=\"document.title='caught'\"><b>bold</b>"
    nb = notebook([SETUP, SHOW, start("a", 30, name=nasty), start("b", 30, name="plain")])
    page = nb.page
    for cell in range(4):
        nb.run_cell(cell)
    until_rows(page, "rows === 60")
    entry = page.get_by_role("button", name=nasty)
    expect(entry).to_have_attribute("aria-pressed", "true")
    entry.press("Enter")
    expect(entry).to_have_attribute("aria-pressed", "false")
    nb.until_python("plot.runs[0]['visible'] is False")
    page.wait_for_function(f"{GRAPH}.data.every(t => t.name.startsWith('plain'))")
    entry.press("Space")
    page.wait_for_function(f"{GRAPH}.data.some(t => t.name.includes('bold'))")
    hover = page.locator(".dw-plot-graph .hoverlayer")
    x, y, _ = first_panel(page)
    for nudge in range(600):  # a drawing takes the label away until the mouse moves again
        page.mouse.move(x + nudge % 3, y)
        if hover.text_content():
            break
        page.wait_for_timeout(100)
    expect(hover).to_contain_text("<b>bold</b>")
    assert page.locator(".dw-plot img").count() == 0
    assert page.title() != "caught"


def test_controls_reach_python_and_panels_follow_the_width(notebook):
    nb = notebook([SETUP, SHOW, start("a", 50)])
    page = nb.page
    for cell in range(3):
        nb.run_cell(cell)
    until_rows(page, "rows === 50")
    page.get_by_role("button", name="log loss").click()
    nb.until_python("plot.log['loss']")
    page.wait_for_function(f"{GRAPH}.layout.yaxis.type === 'log'")
    page.get_by_label("Smoothing").fill("0")
    nb.until_python("plot.smoothing == 0")
    page.wait_for_function(f"{GRAPH}.data.filter(t => t.yaxis === 'y').length === 1")
    page.set_viewport_size({"width": 500, "height": 1000})
    page.wait_for_function(f"{GRAPH}.layout.yaxis.domain[0] > {GRAPH}.layout.yaxis2.domain[1]")
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.wait_for_function(f"{GRAPH}.layout.xaxis.domain[1] < {GRAPH}.layout.xaxis2.domain[0]")


def test_the_theme_is_followed(notebook):
    nb = notebook([SETUP, SHOW], theme="dark")
    nb.run_cell(0)
    nb.run_cell(1)
    nb.page.wait_for_function(f"{GRAPH}?.layout?.font")
    dark = nb.page.evaluate(f"{GRAPH}.layout.font.color")
    nb.page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' })")
    nb.page.wait_for_function(f"{GRAPH}.layout.font.color !== {dark!r}")


def test_colours_are_followed_when_another_change_of_style_comes_at_once(notebook):
    nb = notebook([SETUP, SHOW])
    nb.run_cell(0)
    nb.run_cell(1)
    nb.page.wait_for_function(f"{GRAPH}?.layout?.font")
    nb.page.evaluate("""() => {
      const theme = document.querySelector('.dw-plot-theme');
      theme.closest('.dw-plot').style.setProperty('--dw-text', 'rgb(1, 2, 3)');
      getComputedStyle(theme).color;  // the transition to the new colour begins
      theme.style.transition = 'none';
      getComputedStyle(theme).color;  // and is cancelled
    }""")
    nb.page.wait_for_function(f"{GRAPH}.layout.font.color === 'rgb(1, 2, 3)'")


def test_the_frozen_plot_is_a_picture_in_the_file(notebook):
    nb = notebook([SETUP, SHOW, start("a", 50), "plot.freeze()"])
    for cell in range(3):
        nb.run_cell(cell)
    until_rows(nb.page, "rows === 50")
    nb.until_python("task_a.done()")
    nb.run_cell(3)
    nb.until_python("plot.png is not None")
    [output] = [output for cell in nb.save().cells for output in cell.get("outputs", [])]
    assert set(output.data) == {"application/vnd.plotly.v1+json", "text/html", "image/png", "text/plain"}
    assert output.data["image/png"].startswith("iVBORw0KGgo")  # a PNG
    expect(nb.page.locator(".dw-plot")).to_have_count(0)


def test_the_saved_picture_is_seen_only_without_the_live_plot(notebook, fresh_notebook):
    show = "saved = SavedPicture(plot)\ndisplay(ipywidgets.VBox([plot]))\nsaved.show()"
    nb = notebook([SETUP, show, start("a", 50), "await task_a\nsaved.update()"])
    for cell in range(4):
        nb.run_cell(cell)
    until_rows(nb.page, "rows === 50")
    picture = nb.page.locator(".dw-saved-picture")
    expect(picture).to_have_count(1)
    expect(picture).to_be_hidden()
    source = nb.page.locator(".dw-saved-picture picture source")
    assert re.match(r"data:image/svg\+xml;base64,", source.get_attribute("srcset"))
    copy = opened_elsewhere(nb.save(), fresh_notebook)  # which is not trusted there: JupyterLab takes the SVG out
    image = copy.page.locator(".dw-saved-picture img")
    expect(image).to_be_visible()
    assert re.match(r"data:image/png;base64,", image.get_attribute("src"))
    assert image.evaluate("image => image.complete && image.naturalWidth > 100")
