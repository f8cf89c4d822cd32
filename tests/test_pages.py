"""The code of each widget's page, joined from its files."""

import re

import pytest

from diffopt_widgets.pages import page_code
from diffopt_widgets.plot import live
from diffopt_widgets.ui import comparison_menu, form, key_guard, runs_table

WIDGETS = {
    "form": (form.STATIC, form.SCRIPTS),
    "runs table": (runs_table.STATIC, runs_table.SCRIPTS),
    "comparison menu": (comparison_menu.STATIC, comparison_menu.SCRIPTS),
    "key guard": (key_guard.STATIC, key_guard.SCRIPTS),
    "live plot": (live.STATIC, live.MODULES),
}


@pytest.mark.parametrize("widget", WIDGETS)
def test_the_files_can_stand_in_one_module(widget):
    code = page_code(*WIDGETS[widget])
    names = re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", code, re.MULTILINE)
    assert len(names) == len(set(names)) > 1
    assert not re.search(r"^import |^export (?!default)", code, re.MULTILINE)
    assert len(re.findall(r"^export default ", code, re.MULTILINE)) == 1


def test_every_file_is_in_a_page():
    scripts = {name for _, names in WIDGETS.values() for name in names}
    styles = {*form.STYLES, *runs_table.STYLES, *comparison_menu.STYLES, "live.css", "bench.css"}
    present = {path.name for folder in (form.STATIC, live.STATIC) for path in folder.glob("*.*s")}
    assert present == scripts | styles
