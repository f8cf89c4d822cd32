"""The table of runs used as a person would, by mouse and by keyboard."""

import pytest
from playwright.sync_api import expect

MANY = "x" * 10_000

CELL = """
import diffopt_widgets as dw
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.runs.run import Run

def run_of(name, status="done", taken=10, **options):
    run = Run(RunPlan(dw.Settings("PRODIGY", **options), "swiss_roll", 10), name, status=status)
    run.history = History(("all",))
    step(run, taken)
    return run

def step(run, count=1):
    first = len(run.history) + 1
    run.history.extend(StepRecord(n, 0.1 * n, loss=1 / n, lr=(1.0,), applied_lr=(1e-3,)) for n in range(first, first + count))

heard = []
names = ("rename", "visible", "remove", "restore", "repeat", "continue")
tell = {f"on_{name}": lambda *values, name=name: heard.append([name, *values]) for name in names}
runs = [run_of("one", d_coef=0.5), run_of("two"), run_of("<b>three</b>", "running", 4, d_coef=2.0)]
table = dw.RunsTable(runs, **tell)
table
"""
VIEW_AGAIN = "table"


@pytest.fixture
def opened(notebook):
    found = notebook([CELL, VIEW_AGAIN])
    found.run_cell(0)
    view(found).wait_for()
    return found


def view(opened, cell=0):
    return opened.output(cell).locator(".dwr")


def row(opened, index, cell=0):
    return view(opened, cell).locator("tr[data-key]").nth(index)


def action(opened, index, name):
    return row(opened, index).get_by_role("button", name=name)


def name_of(opened, index, cell=0):
    return row(opened, index, cell).get_by_role("textbox")


def test_a_run_is_renamed_where_its_name_stands(opened):
    name = name_of(opened, 0)
    name.click()
    opened.page.keyboard.press("ControlOrMeta+a")
    opened.page.keyboard.type("my run")
    opened.page.keyboard.press("Enter")
    opened.until_python("runs[0].name == 'my run'")
    expect(row(opened, 0).get_by_role("button", name="Remove my run")).to_be_visible()
    expect(name).to_be_focused()
    name.fill("given up")
    name.press("Escape")
    expect(name).to_have_value("my run")
    name.fill("left")
    name.press("Tab")
    opened.until_python("runs[0].name == 'left'")
    assert [one[0] for one in opened.eval_python("heard")] == ["rename", "rename"]


@pytest.mark.parametrize(
    ("text", "reason"), [("", "needs a name"), (MANY, "this one has 10000")], ids=["empty", "long"]
)
def test_a_name_that_is_refused_is_marked_explained_and_kept(opened, text, reason):
    name = name_of(opened, 1)
    name.fill(text)
    name.press("Enter")
    expect(row(opened, 1).get_by_role("alert")).to_contain_text(reason)
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_value(text)
    name.press("Tab")
    expect(name).to_have_value(text)
    assert opened.eval_python("[runs[1].name, heard]") == ["two", []]
    name.press("Escape")
    expect(name).to_have_value("two")
    expect(name).not_to_have_attribute("aria-invalid", "true")
    expect(row(opened, 1).get_by_role("alert")).to_have_count(0)


def test_a_name_with_html_is_text(opened):
    expect(name_of(opened, 2)).to_have_value("<b>three</b>")
    expect(view(opened).locator("b")).to_have_count(0)
    expect(view(opened)).to_contain_text("<b>three</b>")


def test_what_is_being_typed_survives_the_numbers_of_a_training_run(opened):
    name = name_of(opened, 2)
    name.fill("half a na")
    opened.eval_python("[step(runs[2]), table.show(runs[2])]")
    expect(row(opened, 2)).to_contain_text("running 50")
    opened.eval_python("table.rename(runs[0].key, 'from code')")
    expect(name_of(opened, 0)).to_have_value("from code")
    expect(name).to_have_value("half a na")
    expect(name).to_be_focused()


def test_every_action_is_reached_by_the_keyboard_alone(opened):
    name_of(opened, 0).focus()
    reached = []
    for key in ("Tab", "Tab", "Tab", "Tab"):
        opened.page.keyboard.press(key)
        reached.append(opened.page.evaluate("document.activeElement.ariaLabel"))
    assert reached == ["Show the curves of one", "Repeat one", "Continue one", "Remove one"]
    for button, key in (("Show the curves of one", "Space"), ("Repeat one", "Enter")):
        view(opened).get_by_role("button", name=button).focus()
        opened.page.keyboard.press(key)
    expect(action(opened, 0, "Show the curves of one")).to_have_attribute("aria-pressed", "false")
    opened.until_python("[one[0] for one in heard] == ['visible', 'repeat'] and not table.visible[runs[0].key]")
    for key in ("d", "d", "x", "a"):  # commands of the notebook
        opened.page.keyboard.press(key)
    assert opened.page.locator(".jp-Notebook .jp-Cell").count() == 2


def test_a_removal_is_undone_and_the_focus_is_never_lost(opened):
    action(opened, 1, "Remove two").focus()
    opened.page.keyboard.press("Enter")
    undo = view(opened).get_by_role("button", name="Undo: bring two back")
    expect(undo).to_be_focused()
    expect(view(opened)).to_contain_text("Removed two")
    action(opened, 0, "Remove one").click()
    expect(view(opened)).to_contain_text("Removed one")
    expect(view(opened).locator("tr[data-key]")).to_have_count(1)
    opened.page.keyboard.press("Enter")
    expect(undo).to_be_focused()
    opened.page.keyboard.press("Enter")
    expect(action(opened, 1, "Remove two")).to_be_focused()
    expect(view(opened).get_by_role("button", name="Undo")).to_have_count(0)
    assert opened.eval_python("[run.name for run in table.runs]") == ["one", "two", "<b>three</b>"]
    assert [one[0] for one in opened.eval_python("heard")] == ["remove", "remove", "restore", "restore"]


def test_what_cannot_be_done_says_why(opened):
    drop, go_on = action(opened, 2, "Remove"), action(opened, 0, "Continue")
    expect(drop).to_have_attribute("data-tip", "Cannot be removed: still running")
    expect(go_on).to_have_attribute("data-tip", "Cannot be continued: a finished run's schedule has ended")
    drop.focus()
    opened.page.keyboard.press("Enter")
    expect(view(opened).get_by_role("status")).to_have_text("<b>three</b> – cannot be removed: still running.")
    go_on.click(force=True)  # Playwright takes it for disabled; a person can click it
    expect(view(opened).get_by_role("status")).to_contain_text("schedule has ended")
    assert opened.eval_python("[len(table.runs), heard]") == [3, []]
    opened.eval_python("[setattr(runs[2], 'status', 'done'), table.show(runs[2])]")
    expect(drop).to_have_attribute("data-tip", "Remove this run")
    drop.click()
    opened.until_python("len(table.runs) == 2")


def test_settings_stand_side_by_side(opened):
    toggle = view(opened).get_by_role("button", name="Compare settings")
    toggle.click()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    panel = view(opened).get_by_role("region", name="Settings side by side")
    lines = panel.locator("tbody tr")
    expect(lines).to_have_count(1)
    expect(lines.first.get_by_role("rowheader")).to_contain_text("D coefficient")
    expect(lines.first.get_by_role("cell")).to_have_text(["0.5", "1", "2"], use_inner_text=True)
    expect(panel.locator(".dwr-whose").first).to_be_hidden()  # the columns have heads
    expect(panel.get_by_role("columnheader")).to_have_text(["Setting", "one", "two", "<b>three</b>"])
    action(opened, 0, "Show the curves").click()
    expect(lines.first.get_by_role("cell")).to_have_text(["1", "2"], use_inner_text=True)
    opened.eval_python("table.rename(runs[1].key, 'renamed')")
    expect(panel.get_by_role("columnheader").nth(1)).to_have_text("renamed")
    panel.get_by_label("all settings").check()
    expect(panel.get_by_role("rowheader", name="Seed")).to_be_visible()
    action(opened, 1, "Show the curves").click()
    expect(panel).to_contain_text("Show two runs or more")
    for left in (2, 1):
        action(opened, 0, "Remove").click()
        expect(view(opened).locator(".dwr-runs tr[data-key]")).to_have_count(left)
    expect(toggle).to_be_hidden()
    expect(panel).to_be_hidden()


def test_a_reloaded_page_and_a_second_view_show_the_present_state(opened):
    opened.eval_python("[step(runs[2]), table.show(runs[2])]")  # only the row is sent
    expect(row(opened, 2)).to_contain_text("running 50")
    opened.run_cell(1)
    expect(row(opened, 2, cell=1)).to_contain_text("running 50")
    name_of(opened, 0, cell=1).fill("in the second")
    name_of(opened, 0, cell=1).press("Enter")
    expect(name_of(opened, 0)).to_have_value("in the second")
    action(opened, 1, "Remove").click()
    expect(view(opened, 1)).to_contain_text("Removed two")
    opened.eval_python("[step(runs[2]), table.show(runs[2])]")
    for cell in (0, 1):
        expect(row(opened, 1, cell)).to_contain_text("running 60")
    opened.save()
    opened.reload()
    for cell in (0, 1):
        expect(name_of(opened, 0, cell)).to_have_value("in the second")
        expect(row(opened, 1, cell)).to_contain_text("running 60")
        expect(view(opened, cell)).to_contain_text("Removed two")
    opened.eval_python("[step(runs[2]), table.show(runs[2])]")
    expect(row(opened, 1)).to_contain_text("running 70")


def test_columns_give_way_and_nothing_sticks_out(patched_page):
    found = patched_page([CELL])
    found.run_cell(0)
    found.eval_python("[table.rename(run.key, word * 30) for run, word in zip(runs, ('wide ', 'W', '宽'))]")
    expect(name_of(found, 2)).to_have_value("宽" * 30)
    view(found).get_by_role("button", name="Compare settings").click()
    action(found, 1, "Continue").click(force=True)  # says why it cannot, with the name
    expect(view(found).get_by_role("status")).to_contain_text("W" * 30)
    inside = """root => {
      const right = root.getBoundingClientRect().right + 0.5;
      const seen = [...root.querySelectorAll('*')].filter(node => !node.closest('.dwf-sr, thead') && node.getClientRects().length);
      return seen.filter(node => node.getBoundingClientRect().right > right).map(node => node.outerHTML);
    }"""
    for width, font, heads in ((1400, 13, 9), (700, 13, 6), (480, 13, 2), (480, 20, 2), (700, 20, 2), (1400, 20, 9)):
        found.page.set_viewport_size({"width": width, "height": 1000})
        found.page.add_style_tag(content=f"body {{ --jp-ui-font-size1: {font}px !important; }}")
        expect(view(found).locator(".dwr-runs thead").get_by_role("columnheader")).to_have_count(heads)
        assert name_of(found, 1).evaluate("node => node.clientWidth") > 10 * font
        assert view(found).evaluate(inside) == []
        assert view(found).evaluate("root => root.scrollWidth - root.clientWidth") == 0


def test_a_name_is_edited_with_the_whole_of_it_in_sight(notebook):
    found = notebook([CELL], width=480)
    found.run_cell(0)
    found.eval_python("table.rename(runs[1].key, 'some words ' * 18)")
    name = name_of(found, 1)
    expect(name).to_have_value("some words " * 17 + "some words")
    assert name.evaluate("node => node.scrollHeight > node.clientHeight")  # two lines, when one does not write there
    name.focus()
    assert name.evaluate("node => [node.scrollHeight - node.clientHeight, node.scrollTop]") == [0, 0]


def test_where_settings_are_stacked_each_value_says_whose_it_is(notebook):
    found = notebook([CELL], width=480)
    found.run_cell(0)
    view(found).get_by_role("button", name="Compare settings").click()
    expect(view(found).locator(".dwr-whose")).to_have_text(["one", "two", "<b>three</b>"])
    for index in range(3):
        expect(view(found).locator(".dwr-whose").nth(index)).to_be_visible()


def test_an_empty_table_is_one_calm_line(notebook):
    found = notebook(["import diffopt_widgets as dw\ntable = dw.RunsTable()\ntable"])
    found.run_cell(0)
    expect(view(found)).to_have_text("Runs appear here", use_inner_text=True)
    expect(view(found).get_by_role("button")).to_have_count(0)


def test_without_callbacks_there_is_nothing_to_repeat_or_continue(notebook):
    found = notebook([CELL.replace("**tell", "")])
    found.run_cell(0)
    expect(row(found, 0).get_by_role("button")).to_have_count(2)
