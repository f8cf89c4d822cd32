"""Where runs are kept in a store: the bench and the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.cli.main import main
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.records import History
from diffopt_widgets.store import RunSaver
from diffopt_widgets.widgets.bench.bench import Bench


def bench_that_trained(path: Path, runs: int = 1) -> Bench:
    async def script() -> Bench:
        bench = dw.lab(dw.Settings("ADAMW", lr=4e-3), task="swiss_roll", steps=10, store=path)
        for _ in range(runs):
            bench.bar.run.click()
            await bench.wait()
        return bench

    return asyncio.run(script())


def on_row(bench: Bench, key: str, kind: str, **content: object) -> None:
    """Do in the table what a person would do in the page."""
    bench.table._handle_custom_msg({"k": kind, "key": key, **content}, [])


@pytest.mark.slow
def test_a_bench_keeps_its_runs_and_another_one_opens_them(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    first = bench_that_trained(path, runs=2)
    store = dw.RunStore(path)
    assert [(run.id, run.status, run.steps) for run in store.list()] == [
        (run.key, "done", 10) for run in reversed(first.runs)
    ]
    on_row(first, first.runs[0].key, "rename", name="of yesterday")
    second = dw.lab(task="swiss_roll", steps=10, store=store)
    second.add(store.load(first.runs[0].key))
    (shown,) = second.runs
    assert (shown.name, second.table.rows[0]["name"], second.table.rows[0]["status"]) == ("of yesterday",) * 2 + (
        "done",
    )
    assert [curve.name for curve in second.plot.curves()] == ["of yesterday"]
    np.testing.assert_array_equal(second.plot.curves()[0].history.column("loss"), first.runs[0].history.column("loss"))
    with pytest.raises(ValueError, match="is in the table already"):
        second.add(store.load(shown.key))
    assert len(second.runs) == 1
    on_row(second, shown.key, "rename", name="of today")
    on_row(second, shown.key, "remove")
    assert store.summary(shown.key).name == "of today"  # removed from this bench only


@pytest.mark.slow
def test_another_bench_continues_a_stopped_run(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    straight = bench_that_trained(path).runs[0]
    run, keeping = dw.Run(straight.plan), RunSaver(dw.RunStore(path))
    going = drive(run, on_publish=keeping.save)
    for _ in range(5):
        next(going)
    going.close()

    async def script() -> Bench:
        bench = dw.lab(task="swiss_roll", steps=10, store=path)
        bench.add(dw.RunStore(path).load(run.key))
        assert bench.table.rows[0]["cannot_continue"] == ""
        on_row(bench, run.key, "continue")
        await bench.wait()
        return bench

    bench = asyncio.run(script())
    assert [(row["status"], row["name"]) for row in bench.table.rows] == [("done", run.name)]
    (curve,) = bench.plot.curves()
    np.testing.assert_array_equal(curve.history.column("loss"), straight.history.column("loss"))
    np.testing.assert_array_equal(
        dw.RunStore(path).load(run.key).history.column("loss"), straight.history.column("loss")
    )
    assert [told.status for told in dw.RunStore(path).list()] == ["done", "done"]
    assert "before training" in bench.samples.strips[run.key].value


def test_a_bench_draws_what_others_recorded(tmp_path: Path) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("unet",))
    history.extend_columns([1, 2], {"loss": [2.0, 1.0], "applied_lr": [[0.1], [0.1]]})
    key = store.begin("their loop", history).id
    bench = dw.lab(task="swiss_roll")
    bench.add(store.load(key))
    assert [curve.name for curve in bench.plot.curves()] == ["their loop"]
    bench.plot.set_visible(key, visible=False)
    assert bench.runs == []
    with pytest.raises(ValueError, match="already a run with the key"):
        bench.add(store.load(key))


def test_the_bench_says_what_is_wrong_with_its_store(tmp_path: Path) -> None:
    with pytest.raises(dw.StoreError, match="there is no folder"):
        dw.lab(store=tmp_path / "missing" / "runs.sqlite")


@pytest.mark.slow
def test_the_command_keeps_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.sqlite"
    words = ["run", "--optimizer", "ADAMW", "--lr", "1e-3,1e-2", "--task", "swiss_roll", "--steps", "3"]
    words += ["--out", str(tmp_path / "out")]
    assert main([*words, "--store", str(path)]) == 0
    assert [run.name for run in dw.RunStore(path).list()] == ["ADAMW · lr 0.01", "ADAMW · lr 0.001"]
    capsys.readouterr()
    assert main([*words, "--store", str(tmp_path)]) == 2
    assert "--store" in (told := capsys.readouterr().err)
    assert "it is a folder" in told
