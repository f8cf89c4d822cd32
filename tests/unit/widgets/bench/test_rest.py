"""Benches that no page shows any more: their models go, and come back when they are displayed again."""

import asyncio
import gc
import weakref

import ipywidgets
import pytest
from displays import shown
from IPython.display import display
from wires import keep_messages, kept

import diffopt_widgets as dw
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.widgets.bench import rest


class Cells:
    """A page with cells: what they show, and the cell that is running."""

    def __init__(self, monkeypatch):
        self.execution = 0
        self.shown = {}
        self.running = ("", "")
        monkeypatch.setattr(rest, "_running_cell", lambda: self.running)

    def run(self, cell, *benches):
        """Run a cell that displays benches; its former output goes, as the page says after the cell has ended."""
        self.execution += 1
        self.running = (cell, str(self.execution)) if cell else ("", "")
        with shown():
            for bench in benches:
                bench._ipython_display_()
        self.running = ("", "")
        former, self.shown[cell] = self.shown.get(cell, ()), benches
        for bench in benches:
            count(bench, +1)
        for bench in former:
            count(bench, -1)


def count(bench, more):
    """Tell the kernel how many views there are, as a page does."""
    parts = (bench.form, bench.size, bench.bar, bench.present, bench.menu, bench.plot, bench.table, bench.samples)
    for part in (bench, *parts):
        if part.comm is not None:
            part._handle_msg(message(part, {"_view_count": part._view_count + more}))


def message(part, state):
    data = {"method": "update", "state": state}
    return {"content": {"comm_id": part.model_id, "data": data}, "metadata": {}, "buffers": []}


@pytest.fixture
def cells(monkeypatch):
    keep_messages(monkeypatch)
    return Cells(monkeypatch)


@pytest.mark.slow
def test_a_bench_whose_cell_is_run_again_leaves_nothing_open(cells):
    first = dw.lab()
    cells.run("a", first)
    inside = [part for part in rest._everything(first) if part.comm is not None]
    told = kept(first.bar.guard.comm)
    ids = [part.model_id for part in inside]
    assert len(inside) > 50
    second = dw.lab()
    cells.run("a", second)
    assert all(part.comm is None for part in inside)
    assert [data["content"]["release"] for _, data, _ in told if "release" in data.get("content", {})] == [ids]
    assert second.comm is not None
    assert first.plot._bundle.comm is not None  # which all plots share
    gone = weakref.ref(first)
    del first, inside, told
    gc.collect()
    assert gone() is None


@pytest.mark.slow
def test_a_bench_that_rested_is_displayed_again_as_it_was(cells):
    bench = dw.lab(dw.Settings("PRODIGY"))
    cells.run("a", bench)
    ids = [part.model_id for part in rest._everything(bench)]
    cells.run("a", dw.lab())
    bench.form.type("lr", "0.5")
    cells.run("b", bench)
    assert [part.model_id for part in rest._everything(bench)] == ids
    (opened,) = [data for kind, data, _ in kept(bench.form.comm) if kind == "comm_open"]
    assert opened["state"]["state"]["controls"]["lr"]["text"] == "0.5"
    cells.run("b", dw.lab())
    assert bench.comm is None


PARTS = ("form", "size", "bar", "present", "menu", "plot", "applied", "table", "samples")


def rested(cells):
    """A bench with a run that rests since another has taken its place."""

    async def script():
        bench = dw.lab(dw.Settings("PRODIGY"), task="swiss_roll", steps=2)
        cells.run("a", bench)
        bench.bar.run.click()
        await bench.wait()
        return bench

    bench = asyncio.run(script())
    cells.run("a", dw.lab())
    return bench


@pytest.mark.slow
def test_what_a_resting_bench_knows_can_be_read_and_it_takes_another_run(cells):
    bench = rested(cells)
    (run,) = bench.runs
    assert run.status == "done"
    assert bench.form.value == bench.form.settings == dw.Settings("PRODIGY")
    assert [curve.name for curve in bench.plot.curves()] == ["PRODIGY"]
    assert len(bench.figure().data)
    assert bench.table.rows[0]["name"] == bench.plot.runs[0]["name"] == "PRODIGY"
    assert "before training" in next(iter(bench.samples.strips.values())).value
    bench.add(dw.train(dw.Settings("ADAM"), "swiss_roll", 2, progress=False))
    assert [curve.name for curve in bench.plot.curves()] == ["PRODIGY", "ADAM"]
    assert bench.comm is None  # nobody sees it


@pytest.mark.slow
@pytest.mark.parametrize("use", ["display", "inside"])
def test_a_part_of_a_resting_bench_that_is_shown_wakes_it(cells, use):
    bench = rested(cells)
    kinds = {name: type(getattr(bench, name)).__name__ for name in PARTS}
    for name in PARTS:
        part = getattr(bench, name)
        if use == "display":
            with shown() as outputs:
                display(part)
            ids = [output["data"].get("application/vnd.jupyter.widget-view+json") for output in outputs]
            assert ids[0]["model_id"] == part.model_id
        else:
            assert ipywidgets.VBox([part]).get_state()["children"] == [f"IPY_MODEL_{part.model_id}"]
        assert part.comm is not None
        assert bench.comm is not None
        assert type(part).__name__ == kinds[name]
        count(bench, +1)
        count(bench, -1)
        assert part.comm is None


@pytest.mark.slow
@pytest.mark.parametrize("why", ["another cell", "a part", "the same execution", "no id", "not counted"])
def test_a_bench_that_may_be_seen_stays_open(cells, why):
    bench = dw.lab()
    cell = "" if why == "no id" else "a"
    if why == "the same execution":
        cells.run(cell, bench, dw.lab())
    elif why == "not counted":
        cells.running = ("a", "x")
        with shown():
            bench._ipython_display_()
    else:
        cells.run(cell, bench)
    if why == "another cell":
        cells.run("b", bench)
    if why == "a part":
        bench.plot._handle_msg(message(bench.plot, {"_view_count": 2}))
    if why != "the same execution":
        cells.run(cell, dw.lab())
    assert bench.comm is not None


@pytest.mark.slow
def test_a_bench_at_work_rests_when_its_runs_have_ended(cells):
    async def script():
        bench = dw.lab(task="swiss_roll", steps=3)
        cells.run("a", bench)
        bench.start([Run(RunPlan(dw.Settings("PRODIGY"), task="swiss_roll", steps=3))])
        cells.run("a", dw.lab())
        assert bench.comm is not None
        await bench.wait()
        return bench

    assert asyncio.run(script()).comm is None
