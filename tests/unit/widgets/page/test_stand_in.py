"""What a saved or exported notebook shows in place of the widgets."""

import asyncio
import importlib
import pkgutil
import re

import ipywidgets
import pytest
from displays import saved, shown
from histories import NASTY

import diffopt_widgets as dw
from diffopt_widgets import widgets
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.widgets.page.page_widget import PageWidget
from diffopt_widgets.widgets.page.stand_in import still_table
from diffopt_widgets.widgets.state_size.card import StateSize


def kinds(base=ipywidgets.Widget):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.slow
def test_every_widget_says_in_a_line_what_it_is():
    for module in pkgutil.walk_packages(widgets.__path__, f"{widgets.__name__}."):
        importlib.import_module(module.name)
    own = {kind for kind in kinds() if kind.__module__.startswith(widgets.__name__)}
    leaves = {kind for kind in own if not any(issubclass(other, kind) for other in own - {kind})}
    for kind in leaves - {PageWidget}:
        assert kind.__repr__.__module__ == kind.__module__, kind
        assert kind.__repr__.__qualname__ == f"{kind.__name__}.__repr__"
    bench = dw.lab(dw.Settings("LION", lr=1e-4))
    parts = [bench, bench.form, bench.size, bench.bar, bench.menu, bench.plot, bench.table, bench.samples]
    words = [repr(part) for part in parts]
    assert words[0] == "Bench(Settings('LION', lr=0.0001))"
    assert words[1] == "Form(Settings('LION', lr=0.0001))"
    assert all(len(word) < 100 and "<" not in word and " at 0x" not in word for word in words), words


def test_a_form_is_saved_as_a_table_of_its_settings_now():
    form = dw.Form(dw.Settings("PRODIGY", schedule="COSINE"))
    with shown() as outputs:
        form._ipython_display_()
        form._ipython_display_()
        before = len(outputs)
        form.settings = form.settings.replace(d_coef=0.25)
        assert len(outputs) == before + 1  # one message for both displays
        form.type("beta1", "2")
        views = saved(outputs)
    assert [next(iter(view)) for view in views] == ["text/plain", "text/html"] * 2
    for view in views[1::2]:
        assert f"dw-for-{form.stand_in_id}" in view["text/html"]
        assert "<td>0.25</td><td>1</td>" in view["text/html"]
        assert "1 typed text is wrong" in view["text/html"]
        assert "D coefficient (d_coef)  0.25    1" in view["text/plain"]


def test_a_form_inside_another_widget_sends_no_table():
    form = dw.Form("LION")
    with shown() as outputs:
        ipywidgets.VBox([form])
        form.type("beta1", "0.5")
        assert outputs == []


@pytest.mark.parametrize("rows", [[], [(NASTY, "0.5")]])
def test_a_table_is_text_whatever_it_holds(rows):
    still = still_table(NASTY, ("Run", "Loss"), rows, below=NASTY)
    assert "<img" not in still.html
    assert still.text.splitlines()[2].startswith("Run")


@pytest.mark.slow
def test_a_bench_that_is_shown_again_keeps_its_picture():
    async def script():
        bench = dw.lab(dw.Settings("PRODIGY"), task="swiss_roll", steps=3)
        with shown() as outputs:
            bench._ipython_display_()
            assert "<img" not in saved(outputs)[1]["text/html"]
            bench.start([Run(RunPlan(dw.Settings("PRODIGY", d_coef=d), task="swiss_roll", steps=3)) for d in (1, 2)])
            await bench.wait()
            trained = saved(outputs)[1]
            bench._ipython_display_()
            return trained, saved(outputs), bench.plot.plot_id

    trained, views, plot_id = asyncio.run(script())
    assert "<img" in trained["text/html"]
    assert "image/png" in trained
    name = "PRODIGY · d_coef 2"
    assert re.search(f'alt="Curves of [^"]*{name}"', trained["text/html"])
    assert f">{name}</td>" in trained["text/html"]  # its row of losses
    assert f">{name}</th>" in trained["text/html"]  # and of samples
    assert f'class="dw-saved-picture dw-for-{plot_id} ' in trained["text/html"]
    assert [views[1], views[3]] == [trained, trained]


@pytest.mark.slow
def test_many_renamed_or_removed_runs_are_one_new_picture():
    async def script():
        bench = dw.lab(dw.Settings("PRODIGY"), task="swiss_roll", steps=3)
        with shown() as outputs:
            bench._ipython_display_()
            bench.start([Run(RunPlan(dw.Settings("PRODIGY", d_coef=d), task="swiss_roll", steps=3)) for d in (1, 2, 3)])
            await bench.wait()
            before = len(outputs)
            for run in bench.runs:
                bench.table._receive(None, {"k": "rename", "key": run.key, "name": f"my {run.name}"}, [])
            bench.table._receive(None, {"k": "remove", "key": bench.runs[0].key}, [])
            await asyncio.sleep(0)
            return outputs[before:]

    (update,) = asyncio.run(script())
    assert "my PRODIGY · d_coef 3" in update["data"]["text/html"]


@pytest.mark.slow
def test_waiting_brings_the_picture_up_to_date_where_updates_between_cells_get_lost():
    """Nbclient ignores what comes from the background between two cells, and what is sent for a cell that has ended."""

    async def script():
        bench = dw.lab(dw.Settings("PRODIGY"), task="swiss_roll", steps=3)
        with shown() as outputs:
            bench._ipython_display_()
        bench.start([Run(RunPlan(dw.Settings("PRODIGY"), task="swiss_roll", steps=3))])
        while bench._session.busy:
            await asyncio.sleep(0)
        with shown() as outputs:
            await bench.wait()
            return list(outputs)

    (update,) = asyncio.run(script())
    assert update["update"]
    assert "<img" in update["data"]["text/html"]
    assert update["data"]["image/png"]


def test_the_size_of_the_state_is_saved_as_its_sentence():
    size = StateSize(dw.Settings("ADAMW"))
    with shown() as outputs:
        size._ipython_display_()
        size.count()
        assert saved(outputs)[1]["text/plain"].startswith("ADAMW: 743 MB of state")
