"""What one works with is in sight on every screen: optimizer, Run and the running plot, and nothing is pushed far below."""

from __future__ import annotations

from playwright.sync_api import TimeoutError, expect  # noqa: A004  # Playwright's own

OPEN = """import torch, diffopt_widgets as dw
bench = dw.lab(dw.Settings("PRODIGY", schedule="COSINE"), task="swiss_roll", steps=100_000)
bench"""

NARROW = [(480, 900, False), (700, 1000, False), (900, 1000, False), (1280, 800, True)]
WIDE = [(1400, 1000, False), (1920, 1080, False)]

IN_SIGHT = """() => {
  const seen = document.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect();
  const hidden = [];
  const look = (name, node, bottom) => {
    const box = node.getBoundingClientRect();
    const middle = document.elementFromPoint((box.left + box.right) / 2, box.top + 12);
    const end = bottom ?? box.bottom;
    if (!box.width || box.top < seen.top - 1 || end > seen.bottom + 1) hidden.push(`${name} ${box.top}-${end}`);
    else if (!node.contains(middle) && !middle?.contains(node)) hidden.push(`${name} is covered by ${middle?.className}`);
    if (box.left < seen.left || box.right > seen.right) hidden.push(`${name} is cut`);
  };
  look('optimizer', document.querySelector('.dw-bench .dwf-optimizer'));
  for (const button of document.querySelectorAll('.dw-buttons button:not(.dw-fix)'))
    if (button.style.display !== 'none') look(button.innerText, button); // the others are offered only at times
  const area = document.querySelector('.dw-bench .dw-plot-area');
  const loss = area.getBoundingClientRect().top + parseFloat(document.querySelector('.dw-plot-hint').style.height);
  look('loss', area, loss);
  return hidden;
}"""

PLACES = """() => (document.querySelector('.dw-bench').scrollIntoView(), Object.fromEntries(Object.entries({
  optimizer: '.dwf-optimizer', bar: '.dw-run-bar', plot: '.dw-plot', options: '.dwf-rest', table: '.dwr',
  samples: '.dw-samples img', left: '.dw-left',
}).map(([name, css]) => [name, document.querySelector(`.dw-bench ${css}`).getBoundingClientRect().toJSON()])))"""


def on_screen(nb, width, height, sidebar):
    nb.page.set_viewport_size({"width": width, "height": height})
    nb.sidebar(shown=sidebar)
    nb.page.locator(".dw-bench").evaluate("bench => bench.scrollIntoView()")
    nb.page.wait_for_function(f"({IN_SIGHT})().length === 0")


def pressed(nb, name):
    nb.page.locator(".dw-bench").get_by_role("button", name=name, exact=True).click()


def test_run_and_the_loss_are_in_sight_on_every_screen_before_during_and_after_a_run(notebook):
    nb = notebook([OPEN], width=1280, height=800)
    nb.run_cell(0)
    expect(nb.page.get_by_text("Press Run: loss and applied").first).to_be_visible()
    screens = NARROW + WIDE
    for screen in screens:
        on_screen(nb, *screen)
    nb.sidebar(shown=False)
    pressed(nb, "Run")
    nb.until_python("bench.runs and len(bench.runs[0].history) > 10")
    for screen in reversed(screens):  # the sidebar opens in mid-run too
        on_screen(nb, *screen)
    pressed(nb, "Stop")
    nb.until_python("bench.runs[0].ended")
    for screen in screens:
        on_screen(nb, *screen)


def test_a_narrow_bench_has_its_form_below_the_plots_folded_to_what_is_set(notebook):
    nb = notebook([OPEN], width=1280, height=800)
    nb.run_cell(0)
    page, rate = nb.page, nb.page.get_by_label("Learning rate", exact=False).first
    expect(rate).to_be_visible()
    on_screen(nb, 1280, 800, sidebar=True)
    expect(rate).to_be_hidden()
    expect(page.locator(".dwf-sums")).to_contain_text("schedule Cosine")
    pressed(nb, "Run")
    nb.until_python("bench.runs and len(bench.runs[0].samples) > 0")
    expect(page.locator(".dw-samples img").first).to_be_attached()
    places = page.evaluate(PLACES)
    tops = [places[name]["y"] for name in ("optimizer", "bar", "plot", "options", "table", "samples")]
    assert tops == sorted(tops)
    page.get_by_role("button", name="Options", exact=True).click()
    expect(rate).to_be_visible()
    unfolded = page.evaluate(PLACES)
    assert unfolded["plot"]["y"] - unfolded["optimizer"]["y"] == tops[2] - tops[0]
    page.get_by_role("button", name="Options", exact=True).click()
    page.get_by_label("Find an option of any optimizer").fill("d_coef")
    expect(page.locator(".dwf-hit").first).to_contain_text("d_coef")
    page.keyboard.press("Enter")  # what is looked for unfolds the form
    expect(page.get_by_label("D coefficient").first).to_be_in_viewport()


def test_beside_the_form_stand_the_plots_and_under_them_runs_and_samples(notebook):
    nb = notebook([OPEN], width=1920, height=1080)
    nb.run_cell(0)
    pressed(nb, "Run")
    nb.until_python("bench.runs and len(bench.runs[0].samples) > 0")
    expect(nb.page.locator(".dw-samples img").first).to_be_attached()
    for screen in WIDE:
        on_screen(nb, *screen)
        places = nb.page.evaluate(PLACES)
        for name in ("bar", "plot", "table", "samples"):
            assert places[name]["x"] > places["left"]["right"]
        assert places["table"]["y"] - places["plot"]["bottom"] < 60  # only the line about the rates is between them
        assert places["left"]["bottom"] < screen[1]
        menu = "[...document.querySelectorAll('.dw-menu-buttons > button')].map((button) => button.offsetTop)"
        assert len(set(nb.page.evaluate(menu))) == 1  # the ready comparisons in one row
    tall = nb.page.locator(".dw-plot-area").bounding_box()["height"]
    assert tall > 350
    columns = "[2, 4].map((i) => document.querySelector('.dw-plot-graph').layout[`xaxis${i}`].domain[0])"
    assert min(nb.page.evaluate(columns)) > 0.5  # four panels, two in each row


OUTSIDE = """() => {
  const bench = document.querySelector('.dw-bench');
  const { left: from, right: to } = bench.getBoundingClientRect();
  const outside = to > innerWidth ? [`the bench ends at ${to}`] : [];
  for (const node of bench.querySelectorAll('*:not(.dw-plot-area *, .dw-plot-legend *, .dwf-sr, pre, svg *, option)')) {
    const { left, right, width } = node.getBoundingClientRect();
    const seen = width && node.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true });
    if (seen && (left < from - 1 || right > to + 1)) outside.push(`${node.className} ${left}-${right} of ${from}-${to}`);
  }
  return outside;
}"""
"""What ends beyond the bench, so that one would have to scroll in two directions; plots and their legend may scroll."""


def nothing_outside(page):
    try:
        page.wait_for_function(f"!({OUTSIDE})().length", timeout=10_000)
    except TimeoutError:
        assert page.evaluate(OUTSIDE) == []


def test_at_twice_and_four_times_the_size_nothing_is_cut_or_needs_scrolling_to_the_side(notebook):
    nb = notebook([OPEN.replace("100_000", "5")], app="notebook", width=1280, height=800)
    nb.run_cell(0)
    page, bench = nb.page, nb.page.locator(".dw-bench")
    for count in (1, 2):
        pressed(nb, "Run")
        nb.until_python(f"len(bench.runs) == {count} and bench.runs[-1].ended")
    pressed(nb, "Compare settings")
    page.set_viewport_size({"width": 640, "height": 400})
    pressed(nb, "Options")
    bench.get_by_role("button", name="Explain Schedule").click()
    bench.get_by_role("button", name="Show code").click()
    bench.get_by_text("What these fields mean").click()
    bench.locator(".dw-plot-save > summary").click()
    for width, height in ((640, 400), (400, 300), (320, 256)):  # 1280 x 800 and 1280 x 1024 at 200, 320 and 400 %
        page.set_viewport_size({"width": width, "height": height})
        nothing_outside(page)
        letters = "(document.querySelector('.dwf-help dd').getBoundingClientRect().width / 7)"
        assert page.evaluate(letters) > 15  # a line has more than a syllable
    bench.get_by_role("button", name="Present", exact=True).click()
    nothing_outside(page)
