"""RunStore: what is put in comes out again, found, renamed, noted, deleted and brought back."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra.numpy import arrays

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.records import GROUPED, SINGLE, History
from diffopt_widgets.store import LoggedRun, RunSaver, run_writer
from diffopt_widgets.store.own_runs import about_run


@pytest.fixture
def store(tmp_path: Path) -> dw.RunStore:
    return dw.RunStore(tmp_path / "runs.sqlite")


def grow(history: History, rows: int) -> None:
    step = np.arange(len(history) + 1.0, len(history) + rows + 1)
    history.extend_columns(step, {"loss": 1 / step, "applied_lr": np.stack([step] * len(history.groups), axis=1)})


def same(one: History, other: History) -> None:
    assert one.groups == other.groups
    assert one.names() == other.names()
    for name, values in one.to_columns().items():
        np.testing.assert_array_equal(other.to_columns()[name], values)


METRICS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="["), min_size=1)
METRICS = METRICS.filter(
    lambda name: name not in {"step", *GROUPED, *SINGLE} and len(name) < 100 and name.isprintable()
)


@st.composite
def blocks(draw: st.DrawFn) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Pieces of a history with two groups, as publishes bring them: columns come later, NaN and infinity among them."""
    shapes: dict[str, tuple[int, ...]] = {"loss": (), "applied_lr": (2,), draw(METRICS): (), draw(METRICS): (2,)}
    found = []
    for _ in range(draw(st.integers(0, 8))):
        rows = draw(st.integers(0, 7))
        step = draw(arrays(np.int64, rows, elements=st.integers(-(2**62), 2**62)))
        names = draw(st.sets(st.sampled_from(sorted(shapes))))
        found.append((step, {n: draw(arrays(np.float64, (rows, *shapes[n]))) for n in sorted(names)}))
    return found


@pytest.mark.slow
@hypothesis.settings(max_examples=15)
@hypothesis.given(pieces=blocks())
def test_whatever_a_history_holds_comes_back(pieces: list, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = dw.RunStore(tmp_path_factory.mktemp("round") / "runs.sqlite")
    history = History(("a", "b"))
    saved = store.begin("random", history)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_writer, "SMALL_CHUNKS", 2)
        patch.setattr(run_writer, "FULL_ROWS", 8)
        for step, columns in pieces:
            history.extend_columns(step, columns)
            saved.save()
            saved.flush()
            same(history, store.load(saved.id).history)
        saved.end("done")
    same(history, store.load(saved.id).history)


@pytest.mark.slow
def test_many_saves_are_merged_into_few_chunks_and_nothing_is_there_twice(store: dw.RunStore) -> None:
    history = History(("a",))
    saved = store.begin("long", history)
    for _ in range(80):
        grow(history, 250)
        saved.save()
        saved.flush()
    assert chunks(store) == (run_writer.FULL_ROWS, 20_000)
    grow(history, 3)
    saved.end("done")
    assert chunks(store) == (run_writer.FULL_ROWS, 20_003)
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (2,)
    connection.close()
    same(history, store.load(saved.id).history)


def chunks(store: dw.RunStore) -> tuple[int, int]:
    connection = sqlite3.connect(store.path)
    found = connection.execute("SELECT max(rows), sum(rows) FROM chunks").fetchone()
    connection.close()
    return tuple(found)


def test_a_run_that_is_saved_after_its_end_goes_on(store: dw.RunStore) -> None:
    history = History(("a",))
    saved = store.begin("once more", history)
    grow(history, 10)
    saved.end("stopped", "by hand")
    grow(history, 10)
    saved.save()
    assert store.summary(saved.id).status == "running"
    saved.end("done")
    assert (store.summary(saved.id).status, store.summary(saved.id).steps) == ("done", 20)
    same(history, store.load(saved.id).history)


def test_runs_are_listed_found_renamed_and_noted(store: dw.RunStore) -> None:
    history = History(("a",))
    grow(history, 40)
    first = store.begin("base line", history, {"model": "SDXL", "batch": 4})
    second = store.begin("<b>Größe</b>", history)
    second.end("done", "well")
    assert [run.name for run in store.list()] == ["<b>Größe</b>", "base line"]
    assert [run.id for run in store.search("GRÖSSE")] == [second.id]
    assert [run.id for run in store.search("sdxl base")] == [first.id]
    assert [run.id for run in store.search("done")] == [second.id]
    assert store.search("100%") == store.search("one") == ()  # what is done is not "one"
    store.annotate(first.id, "try 100% of the rate")
    assert [run.id for run in store.search("100%")] == [first.id]
    store.rename(first.id, "renamed")
    first.save()  # of the writer, which knows nothing of it
    told = store.summary(first.id)
    assert (told.name, told.note, told.status, told.steps) == ("renamed", "try 100% of the rate", "running", 40)
    assert told.about == {"model": "SDXL", "batch": 4}
    assert told.final_loss == pytest.approx((1 / 39 + 1 / 40) / 2)
    first.describe("again", {"batch": 8})
    first.save()
    assert (store.summary(first.id).name, store.summary(first.id).about) == ("again", {"model": "SDXL", "batch": 8})


def test_a_deleted_run_can_be_brought_back_with_what_it_got_meanwhile(store: dw.RunStore) -> None:
    history = History(("a",))
    grow(history, 5)
    saved = store.begin("gone", history)
    store.delete(saved.id)
    assert store.list() == ()
    for call in (store.load, store.delete, store.summary, lambda key: store.rename(key, "x")):
        with pytest.raises(KeyError, match="no run with the id"):
            call(saved.id)
    grow(history, 5)
    saved.end("done")
    assert store.list() == ()
    store.restore(saved.id)
    same(history, store.load(saved.id).history)
    with pytest.raises(KeyError, match="no run with the id"):
        store.restore(saved.id)


def test_what_was_deleted_a_day_ago_gives_its_room_back(store: dw.RunStore) -> None:
    history = History(("a",))
    grow(history, 5)
    old, new = store.begin("old", history), store.begin("new", history)
    old.end("done")
    new.end("done")
    store.delete(old.id)
    store.delete(new.id)
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE runs SET deleted = deleted - 90000 WHERE id = ?", (old.id,))
    connection.commit()
    dw.RunStore(store.path)
    assert connection.execute("SELECT run FROM chunks").fetchall() == [(new.id,)]
    connection.close()
    store.restore(new.id)
    with pytest.raises(KeyError):
        store.restore(old.id)


def test_about_must_be_json_and_an_id_is_used_once(store: dw.RunStore) -> None:
    history = History(("a",))
    with pytest.raises(dw.StoreError, match="cannot be written as JSON"):
        store.begin("x", history, {"model": object()})
    store.begin("x", history, id="mine")
    with pytest.raises(dw.StoreError, match="already has a run with the id 'mine'"):
        store.begin("y", history, id="mine")
    assert [run.name for run in store.list()] == ["x"]


@pytest.mark.slow
def test_a_run_of_ours_comes_back_as_a_run(store: dw.RunStore) -> None:
    settings = dw.Settings("PRODIGY", schedule="COSINE", d_coef=0.5, growth_rate=float("inf"))
    run = dw.train(settings, task="swiss_roll", steps=12, seed=3, progress=False, store=store)
    found = dw.RunStore(store.path).load(run.key)
    assert isinstance(found, dw.Run)
    assert (found.plan, found.name, found.status, found.message) == (run.plan, run.name, "done", run.message)
    assert (found.eval_before, found.eval_after, found.state_bytes) == (
        run.eval_before,
        run.eval_after,
        run.state_bytes,
    )
    same(run.history, found.history)
    assert store.summary(run.key).final_loss == pytest.approx(run.final_loss)
    assert [trace.name for trace in dw.compare([run, found]).data if trace.showlegend] == [run.name, run.name]


@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_a_run_whose_loss_is_no_number_from_the_start_comes_back(store: dw.RunStore) -> None:
    run = dw.train(dw.Settings("SGD", lr=1e30), task="swiss_roll", steps=5, progress=False, store=store)
    assert run.status == "failed"
    found = store.load(run.key)
    same(run.history, found.history)
    assert (found.status, found.message, found.fix) == ("failed", run.message, run.fix)


def test_a_table_of_runs_says_what_was_trained(store: dw.RunStore, tmp_path: Path) -> None:
    run = dw.train(dw.Settings("ADAMW"), "swiss_roll", 1, seed=3, progress=False, store=store)
    logged = store.begin("logged", History(("a",)))
    logged.end("done")
    head, row = store.export([run.key, logged.id], tmp_path / "runs.csv").read_text("utf-8").splitlines()
    said = dict(zip(head.split(","), row.split(","), strict=True))
    assert list(said)[:2] == ["id", "run"]
    own = {
        "optimizer": "ADAMW",
        "task": "swiss_roll",
        "steps": "1",
        "batch_size": "256",
        "seed": "3",
        "dtype": "float32",
    }
    assert own.items() <= said.items()


def test_what_an_older_store_called_mend_is_the_fix_of_a_run(store: dw.RunStore) -> None:
    run = dw.Run(dw.RunPlan(dw.Settings("ADAMW")))
    history = dw.History(("all",))
    about = about_run(run)
    about["results"]["mend"] = {"lr": 1e-4}
    del about["results"]["fix"]
    saved = store.begin("old", history, about)
    saved.end("failed", "It diverged.")
    assert store.load(saved.id).fix == {"lr": 1e-4}


@pytest.mark.slow
def test_a_plan_that_this_version_cannot_read_still_shows_what_was_recorded(store: dw.RunStore) -> None:
    history = History(("a",))
    grow(history, 3)
    about = {"plan": {"settings": {"optimizer": "OF_FORMER_DAYS"}, "task": "digits"}}
    saved = store.begin("old", history, about)
    saved.end("done")
    found = store.load(saved.id)
    assert isinstance(found, LoggedRun)
    same(history, found.history)
    assert found.about == about
    assert list(found.to_frame().columns) == ["loss", "applied_lr"]
    assert len(found.figure().data) > 0


@pytest.mark.slow
def test_a_stopped_run_that_goes_on_is_one_run_in_the_store(store: dw.RunStore) -> None:
    run = dw.Run(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", steps=10))
    recorder = RunSaver(store)
    steps = drive(run, on_publish=recorder.save)
    for _ in range(5):
        next(steps)
    steps.close()
    assert store.load(run.key).status == "stopped"
    run.rename("mine")
    for _ in drive(run, on_publish=recorder.save):
        pass
    assert [(told.name, told.status, told.steps) for told in store.list()] == [("mine", "done", 10)]


def test_no_second_publish_is_shown_before_the_first_is_in_the_file(
    store: dw.RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a kill costs at most what was shown last; a disk that is slow for long does not keep the page waiting."""
    monkeypatch.setattr(run_writer, "HELD_SECONDS", 1000.0)
    history = History(("a",))
    writer = store.begin("shown", history)

    def publish() -> bool:
        grow(history, 1)
        writer.save()
        return writer.may_show()

    busy = sqlite3.connect(store.path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")  # another program writes
    assert [publish(), publish(), publish()] == [True, False, False]
    monkeypatch.setattr(run_writer, "HELD_SECONDS", 0.0)
    assert publish()
    busy.execute("COMMIT")
    busy.close()
    monkeypatch.setattr(run_writer, "HELD_SECONDS", 1000.0)
    writer.flush()
    assert writer.saved == len(history) == 4
    assert publish()
    writer.end("done")


@pytest.mark.slow
def test_a_sweep_is_kept_also_by_an_executor_that_knows_only_the_path(store: dw.RunStore) -> None:
    settings, over = dw.Settings("ADAMW"), {"lr": [1e-3, 1e-2]}
    runs = dw.sweep(settings, over, "swiss_roll", 3, progress=False, store=store)
    with ThreadPoolExecutor(1) as executor:
        runs += dw.sweep(settings, over, "swiss_roll", 3, executor=executor, store=store)
    assert {run.key: run.name for run in runs} == {told.id: told.name for told in store.list()}
    assert {told.status for told in store.list()} == {"done"}
