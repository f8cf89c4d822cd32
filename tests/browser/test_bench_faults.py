"""What goes wrong in the bench is told where it arose, fixed with one click, and takes nothing else with it."""

from __future__ import annotations

from playwright.sync_api import expect

expect.set_options()

MISSING = "import sys\nsys.modules['bitsandbytes'] = None  # what import then raises for\n"
OPEN = "import diffopt_widgets as dw\nbench = dw.lab({}task='swiss_roll', steps=30)\nbench"
NASTY = "<img src=x onerror='window.hacked = 1'>"
MANY = 10_000


def opened(notebook, settings="", first="", **options):
    nb = notebook([first + OPEN.format(settings)], **options)
    nb.run_cell(0)
    expect(nb.page.locator(".dw-bench .dwf-optimizer")).to_be_visible()
    expect(button(nb, "Run")).to_be_enabled()
    return nb


def button(nb, name):
    return nb.page.locator(".dw-bench").get_by_role("button", name=name, exact=True)


def entry(nb, name):
    return nb.page.locator(f".dwf [data-name={name}] .dwf-field > :is(input:not([type=range]), select)")


def field(nb, title):
    return nb.page.locator(".dw-run-bar").get_by_label(title, exact=True)


def write(nb, control, text):
    """Put a text over what a control holds, as pasting does."""
    control.focus()
    nb.page.keyboard.press("ControlOrMeta+a")
    nb.page.keyboard.insert_text(text)


def color(found):
    return found.evaluate("node => getComputedStyle(node).color")


def test_a_back_end_that_is_missing_breaks_nothing(fresh_notebook):
    nb = opened(fresh_notebook, first=MISSING)
    menu, page = nb.page.get_by_label("Optimizer", exact=True), nb.page
    for key in nb.eval_python("dw.list_optimizers()"):
        menu.select_option(key)
        expect(page.locator(".dwf-head .dwf-name")).to_have_text(key)
        expect(entry(nb, "lr")).to_be_visible()
        expect(page.locator(".dwf-notice")).to_be_hidden()
    menu.select_option("ADAM_8BIT")
    entry(nb, "beta1").fill("0.8")
    nb.until_python("bench.form.settings == dw.Settings('ADAM_8BIT', beta1=0.8)")
    expect(page.locator(".dwf-absence")).to_contain_text('pip install --upgrade "bitsandbytes')
    expect(menu.locator("option:checked")).to_have_text("Adam (8-bit) – not installed")
    assert color(menu.locator("option[value=LION_8BIT]")) != color(menu.locator("option[value=LION]"))
    expect(button(nb, "Run")).to_be_disabled()
    expect(page.locator(".dw-words")).to_contain_text("bitsandbytes is not installed")
    find = page.get_by_label("Find an option of any optimizer")
    find.fill("alpha")
    expect(page.locator(".dwf-results .dwf-missing").first).to_contain_text("– not installed")
    find.fill("")
    page.keyboard.press("Escape")
    menu.select_option("ADAMW")
    nb.until_python("bench.form.settings.optimizer == 'ADAMW'")
    button(nb, "Run").click()
    nb.until_python("[run.status for run in bench.runs] == ['done']")
    expect(page.locator(".dwf-absence")).to_be_hidden()
    menu.select_option("ADAM_8BIT")
    expect(entry(nb, "beta1")).to_have_value("0.8")
    menu.select_option("ADAMW")
    expect(page.locator(".dw-words")).to_contain_text("Evaluation loss")


def test_a_failed_run_offers_its_fix_and_the_form_takes_it_back(notebook):
    nb = opened(notebook, "dw.Settings('SGD', lr=1e20), ")
    button(nb, "Run").click()
    failure = nb.page.locator(".dw-run-bar .dw-failure")
    expect(failure).to_contain_text("the loss was no longer a finite number")
    expect(failure).to_contain_text("try a learning rate of 0.03")
    button(nb, "Set Learning rate to 0.03").click()
    expect(entry(nb, "lr")).to_have_value("0.03")
    nb.until_python("bench.form.settings.lr == 0.03")
    expect(nb.page.locator(".dw-words")).to_contain_text("Press Run to try again")
    nb.page.locator(".dwf-presets").get_by_role("button", name="Undo: ").click()
    expect(entry(nb, "lr")).to_have_value("1e20")
    nb.until_python("bench.form.settings.lr == 1e20")
    entry(nb, "lr").fill("0.1")
    nb.until_python("bench.form.settings.lr == 0.1")
    button(nb, "Run").click()
    nb.until_python("[run.status for run in bench.runs] == ['failed', 'done']")
    expect(failure).to_have_count(0)
    expect(button(nb, "Set Learning rate to 0.03")).to_be_hidden()


def test_what_is_typed_just_before_run_is_in_the_run(notebook):
    wait = "def wait(_):\n    while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    nb = opened(notebook, "dw.Settings('SGD'), ", first=f"import pathlib, time\n{wait}")
    nb.eval_python("bench.form.observe(wait, 'settings')")  # as slow to answer as a kernel far away
    entry(nb, "lr").fill("0.05")
    entry(nb, "schedule").select_option("COSINE")
    entry(nb, "warmup").fill("7")
    field(nb, "Steps").focus()
    nb.page.keyboard.press("ControlOrMeta+a")
    nb.page.keyboard.type("12", delay=100)  # letter by letter: the first one is under way when the second one comes
    button(nb, "Run").click()
    go = nb.path.parent / "go"
    go.touch()
    nb.until_python("[run.status for run in bench.runs] == ['done']")
    go.unlink()
    assert nb.eval_python("bench.runs[0].plan.steps") == 12
    assert nb.eval_python("bench.runs[0].settings.to_json()") == nb.eval_python(
        "dw.Settings('SGD', lr=0.05, schedule='COSINE', warmup=7).to_json()"
    )  # said when it fails


def test_a_wrong_text_in_the_run_bar_is_marked_explained_and_kept(notebook):
    nb = opened(notebook)
    words = nb.page.locator(".dw-words")
    for title, good in (("Steps", "7"), ("Seed", "3")):
        for text in (NASTY, "1e999", "-1", "٣", "9" * MANY, "x" * MANY):
            write(nb, field(nb, title), text)
            expect(nb.page.locator(".dw-wrong")).to_have_count(1)
            expect(words).to_contain_text(f"{title}: ")
            expect(words).to_contain_text("a whole number, from ")
            expect(button(nb, "Run")).to_be_disabled()
            expect(field(nb, title)).to_have_value(text)
            assert len(words.inner_text()) < 400
        assert nb.eval_python("(bench.bar.values['steps'], bench.bar.values['seed'])") == [
            30 if title == "Steps" else 7,
            0,
        ]
        write(nb, field(nb, title), good)
        expect(nb.page.locator(".dw-wrong")).to_have_count(0)
        expect(button(nb, "Run")).to_be_enabled()
    button(nb, "Run").click()
    nb.until_python("bench.runs and bench.runs[0].ended")
    assert nb.eval_python("[bench.runs[0].status, bench.runs[0].plan.steps, bench.runs[0].plan.seed]") == ["done", 7, 3]
    assert nb.page.evaluate("window.hacked") is None
    inside = "bench => bench.scrollWidth <= bench.clientWidth"
    assert nb.page.locator(".dw-bench").evaluate(inside)


def test_a_name_is_text_wherever_the_bench_shows_it(notebook):
    nb = opened(notebook)
    page = nb.page
    button(nb, "Run").click()
    nb.until_python("bench.runs and bench.runs[0].ended")
    name = page.locator(".dwr-runs").get_by_role("textbox").first
    write(nb, name, "x" * MANY)
    name.press("Enter")
    expect(page.locator(".dwr-runs").get_by_role("alert")).to_contain_text("has 10000")
    field(nb, "Steps").fill("100000")
    nb.until_python("bench.bar.values['steps'] == 100000")
    button(nb, "Run").click()
    nb.until_python("len(bench.runs) == 2 and len(bench.runs[1].history) > 20")
    expect(name).to_have_value("x" * MANY)
    write(nb, name, NASTY)
    name.press("Enter")
    nb.until_python(f"bench.runs[0].name == {NASTY!r}")
    other = page.locator(".dwr-runs").get_by_role("textbox").nth(1)
    write(nb, other, f"{NASTY} too")
    button(nb, "Compare settings").click()  # leaves the name, which is one line less from then on
    expect(page.get_by_role("columnheader", name=NASTY, exact=True)).to_be_visible()
    legend, strips = page.locator(".dw-plot-legend"), page.locator(".dw-strip-name")
    expect(legend.get_by_role("button", name=NASTY, exact=True)).to_be_visible()
    expect(strips.first).to_have_text(NASTY)
    expect(page.locator(".dw-words")).to_contain_text(f"{NASTY} too: step")
    button(nb, "Stop").click()
    expect(page.locator(".dw-words")).to_contain_text(f"{NASTY} too: Stopped")
    page.get_by_role("button", name=f"Remove {NASTY}", exact=True).click()
    expect(page.locator(".dwr-removed")).to_contain_text(f"Removed {NASTY}")
    nb.until_python("len(bench.runs) == 1")
    saved = page.locator(".dw-saved-picture")
    saved.wait_for(state="attached")
    assert page.locator("[src=x], [onerror]").count() == 0
    assert page.evaluate("window.hacked") is None


WAYS = """
import threading
ways = []
bench.form.observe(lambda _: ways.append(threading.current_thread().name), "settings")
bench.table.observe(lambda _: ways.append(threading.current_thread().name), "rows")
"""
BLOCK = """
import pathlib, time
while not pathlib.Path("asked_meanwhile").exists():
    time.sleep(0.02)
"""


def test_what_is_asked_while_a_cell_blocks_is_done_afterwards_in_the_thread_of_the_cells(fresh_notebook):
    nb = fresh_notebook([OPEN.format("") + "\n", WAYS, BLOCK])
    nb.run_cell(0)
    expect(nb.page.locator(".dw-bench .dwf-optimizer")).to_be_visible()
    nb.run_cell(1)
    nb.run_cell(2, wait=False)
    entry(nb, "lr").fill("0.02")
    button(nb, "Run").click()
    nb.path.with_name("asked_meanwhile").touch()
    nb.until_python("[run.status for run in bench.runs] == ['done'] and bench.runs[0].settings.lr == 0.02")
    # Some kernels take messages in another thread from the first cell that has blocked on.
    entry(nb, "lr").fill("0.03")
    nb.until_python("bench.form.settings.lr == 0.03")
    button(nb, "Run").click()
    nb.until_python("[run.status for run in bench.runs] == ['done'] * 2")
    assert nb.eval_python("sorted(set(ways))") == ["MainThread"]
