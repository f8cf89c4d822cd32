"""The code of each widget's page, joined from its files."""

import re

import pytest

from diffopt_widgets.pages import page_code
from diffopt_widgets.plot.live import LivePlot
from diffopt_widgets.ui.comparison_menu import ComparisonMenu
from diffopt_widgets.ui.form import Form
from diffopt_widgets.ui.key_guard import KeyGuard
from diffopt_widgets.ui.runs_table import RunsTable
from diffopt_widgets.ui.state_size import StateSize
from diffopt_widgets.ui.store_table import RunStoreTable

WIDGETS = (Form, RunsTable, RunStoreTable, StateSize, ComparisonMenu, KeyGuard, LivePlot)


@pytest.mark.parametrize("widget", WIDGETS)
def test_the_files_can_stand_in_one_module(widget):
    code = page_code(widget.FOLDER, widget.SCRIPTS)
    names = re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", code, re.MULTILINE)
    assert len(names) == len(set(names)) > 1
    assert not re.search(r"^import |^export (?!default)", code, re.MULTILINE)
    assert len(re.findall(r"^export default ", code, re.MULTILINE)) == 1


def test_every_file_is_in_a_page():
    used = {(widget.FOLDER / name).resolve() for widget in WIDGETS for name in (*widget.SCRIPTS, *widget.STYLES)}
    present = {path.resolve() for widget in WIDGETS for path in widget.FOLDER.glob("*.*s")}
    assert {path.name for path in present - used} == {"bench.css"}
