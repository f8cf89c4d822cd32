"""The code of each widget's page, joined from its files."""

import re
import shutil
import threading
from pathlib import Path

import ipywidgets
import pytest

from diffopt_widgets import widgets
from diffopt_widgets.widgets.bench.comparison_menu import ComparisonMenu
from diffopt_widgets.widgets.bench.key_guard import KeyGuard
from diffopt_widgets.widgets.bench.present import PresentSwitch
from diffopt_widgets.widgets.bench.progress import Progress
from diffopt_widgets.widgets.bench.report_box import ReportBox
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.page.page_widget import joined_code, loader_code
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.state_size.card import StateSize
from diffopt_widgets.widgets.tables.runs_table import RunsTable
from diffopt_widgets.widgets.tables.store_table import RunStoreTable

WIDGETS = (
    *(Form, RunsTable, RunStoreTable, StateSize, ComparisonMenu),
    *(KeyGuard, PresentSwitch, Progress, ReportBox, LivePlot),
)


@pytest.mark.parametrize("widget", WIDGETS)
def test_the_files_can_stand_in_one_module(widget):
    code = joined_code(widget.scripts())
    names = re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", code, re.MULTILINE)
    assert len(names) == len(set(names)) > 1
    assert not re.search(r"^import |^export (?!default)", code, re.MULTILINE)
    assert len(re.findall(r"^export default ", code, re.MULTILINE)) == 1


def test_every_file_is_in_a_page():
    used = {path for widget in WIDGETS for path in (*widget.scripts(), *widget.styles())}
    present = set(Path(widgets.__file__).parent.glob("*/static/*.*s"))
    assert {path.name for path in present - used} == {"bench.css", "loader.js"}


@pytest.mark.parametrize("widget", [Form, RunsTable, LivePlot])
def test_a_closed_widget_says_so_where_it_is_put_into_a_page(widget):
    closed = widget()
    closed.close()
    with pytest.raises(RuntimeError, match=f"this {widget.__name__} was closed.*call its open"):
        ipywidgets.VBox([closed])
    closed.open()
    assert ipywidgets.VBox([closed]).children == (closed,)


def test_an_edit_of_a_file_is_shown_without_a_new_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("ANYWIDGET_HMR", "1")
    for name in (*ComparisonMenu.SCRIPTS, *ComparisonMenu.STYLES):
        if not name.startswith("page/"):
            shutil.copy(ComparisonMenu.FOLDER / name, tmp_path / name)

    class Edited(ComparisonMenu):
        FOLDER = tmp_path

    menu = Edited(())
    before, shown = menu._esm, threading.Event()
    menu.observe(lambda _: shown.set() if "edited here" in menu.page_code else None, ["_esm"])
    script = tmp_path / "comparison_menu.js"
    # The watch may begin after the first edit: it is edited until it is seen; what is no text yet is passed over.
    for number in range(600):
        text = script.read_bytes()
        script.write_bytes(b"\xff")
        assert not shown.wait(0.1)
        script.write_bytes(text + f"\n// edited here {number}\n".encode())
        if shown.wait(0.2):
            break
    assert "edited here" in menu.page_code
    assert menu._esm == loader_code(menu.page_code) != before
