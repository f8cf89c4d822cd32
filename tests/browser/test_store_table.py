"""The table of stored runs used as a person would, by keyboard."""

from playwright.sync_api import expect

CELL = """
import pathlib, tempfile
import ipywidgets
import diffopt_widgets as dw
from diffopt_widgets.records import History

store = dw.RunStore(pathlib.Path(tempfile.mkdtemp()) / "runs.sqlite")
for name in ("first", "<b>two</b>"):
    history = History(("all",))
    history.extend_columns([1, 2], {"loss": [2.0, 1.0], "applied_lr": [[0.1], [0.1]]})
    store.begin(name, history, id=name).end("done")
table = dw.RunStoreTable(store)
ipywidgets.VBox([table, table.plot])
"""


def test_runs_are_found_named_noted_drawn_and_deleted_by_keyboard(notebook):
    opened = notebook([CELL])
    opened.run_cell(0)
    page, view = opened.page, opened.output(0).locator(".dws")
    rows = view.locator("tr[data-key]")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("<b>two</b>")
    view.get_by_label("Search the runs").focus()
    page.keyboard.type("first")
    expect(rows).to_have_count(1)
    expect(view.get_by_label("Search the runs")).to_be_focused()
    view.get_by_label("Draw first").focus()
    page.keyboard.press("Space")
    expect(opened.output(0).locator(".js-plotly-plot").first).to_be_visible()
    for key in ("Tab", "Control+A"):
        page.keyboard.press(key)
    page.keyboard.type("first of many")
    page.keyboard.press("Enter")
    view.get_by_label("Note on first of many").fill("the better one")
    page.keyboard.press("Tab")
    opened.until_python("store.summary('first').note == 'the better one'")
    expect(view.get_by_role("button", name="Delete first of many")).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows).to_have_count(0)
    undo = view.get_by_role("button", name="Undo: bring first of many back")
    expect(undo).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    expect(view.get_by_label("Search the runs")).to_be_focused()
    assert opened.eval_python("[(run.name, run.note) for run in store.list()]") == [
        ["<b>two</b>", ""],
        ["first of many", "the better one"],
    ]
