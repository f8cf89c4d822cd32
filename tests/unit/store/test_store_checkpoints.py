"""A run that was stopped, or whose process was killed, goes on in another process from the store."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from places import STORE_CHILDREN
from running import PATIENCE, assert_same, go_on

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.store import RunSaver, own_runs, run_saver
from diffopt_widgets.store.database import Database

STEPS = 12


@pytest.fixture
def store(tmp_path: Path) -> dw.RunStore:
    return dw.RunStore(tmp_path / "runs.sqlite")


def asked(steps: int = STEPS) -> dw.RunPlan:
    return dw.RunPlan(dw.Settings("PRODIGY", schedule="COSINE"), "swiss_roll", steps=steps)


def checkpoints(store: dw.RunStore) -> list[int]:
    connection = sqlite3.connect(store.path)
    found = connection.execute("SELECT step FROM extras WHERE kind = 'checkpoint'").fetchall()
    connection.close()
    return [step for (step,) in found]


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_another_process_as_if_it_had_not_been_stopped(store: dw.RunStore) -> None:
    run = dw.Run(asked())
    go_on(run, 5, RunSaver(store))
    loaded = dw.RunStore(store.path).load(run.key)
    assert (loaded.status, loaded.message, loaded.can_continue) == ("stopped", run.message, True)
    assert checkpoints(store) == [5]
    go_on(loaded, 3, RunSaver(store))
    again = dw.resume(store.load(run.key), progress=False, store=store.path)
    assert_same(again, straight := dw.train(asked().settings, "swiss_roll", STEPS, progress=False))
    assert_same(store.load(run.key), straight)
    assert len(store.list()) == 1
    assert checkpoints(store) == []  # what is over needs none
    with pytest.raises(ValueError, match="is done and cannot go on"):
        dw.resume(store.load(run.key))


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_run_whose_process_is_killed_again_and_again_ends_as_if_it_had_not_been(store: dw.RunStore) -> None:
    steps, seen = 600, 0
    for _ in range(2):
        child = subprocess.Popen([sys.executable, STORE_CHILDREN, "train", store.path, "auto", str(steps)])
        until = time.monotonic() + PATIENCE
        while not ((found := checkpoints(store)) and found[0] > seen) and child.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        (told,) = store.list()
        run = store.load(told.id)
        assert (told.status, run.status, run.can_continue) == ("interrupted", "stopped", True)
        assert seen < run.kept.step <= len(run.history) < steps
        assert len(run.history) == run.kept.step or run.message.endswith(f"It can go on from step {run.kept.step}.")
        seen = len(run.history)
    dw.resume(run, progress=False, store=store)
    assert_same(run, dw.train(asked().settings, "swiss_roll", steps, progress=False))
    assert store.summary(run.key).steps == steps


@pytest.mark.slow
def test_steps_after_the_checkpoint_are_taken_again_and_nothing_is_lost(
    store: dw.RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = dw.Run(asked())
    go_on(run, 4, RunSaver(store))
    copy = store.load(run.key)
    go_on(copy, 4)
    with monkeypatch.context() as patch:
        patch.setattr(own_runs, "_checkpoint", lambda run: None)
        RunSaver(store).save(copy)  # the rows of a process that was killed before its next checkpoint
    loaded = store.load(run.key)
    assert (len(loaded.history), loaded.kept.step) == (8, 4)
    assert loaded.message.endswith("It can go on from step 4.")
    go_on(loaded, 2, RunSaver(store))
    assert (loaded.status, loaded.message) == ("stopped", "Stopped at step 6, on its way back to the 8 taken before")
    assert (len(store.load(run.key).history), store.load(run.key).kept.step) == (8, 6)
    dw.resume(loaded, progress=False, store=store)
    assert_same(store.load(run.key), dw.train(asked().settings, "swiss_roll", STEPS, progress=False))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_what_cannot_go_on_here_stays_as_it_is(store: dw.RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = dw.Run(asked())
    go_on(run, 4, RunSaver(store))
    connection = sqlite3.connect(store.path)
    (data,) = connection.execute("SELECT data FROM extras WHERE kind = 'checkpoint'").fetchone()
    connection.execute("UPDATE extras SET data = substr(data, 1, 1000)")
    connection.commit()
    loaded = dw.resume(store.load(run.key), progress=False, store=store)
    assert (loaded.status, len(loaded.history), loaded.can_continue) == ("stopped", 4, True)
    assert "It cannot go on here: its checkpoint cannot be read" in loaded.message
    connection.execute("UPDATE extras SET data = ? WHERE kind = 'checkpoint'", (data,))  # as somewhere where it can
    connection.commit()
    connection.close()
    assert store.load(run.key).samples == {}  # they are damaged still
    assert dw.resume(store.load(run.key), progress=False).status == "done"


@pytest.mark.slow
def test_a_run_in_progress_elsewhere_is_not_taken_over(store: dw.RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run, elsewhere = dw.Run(asked()), RunSaver(store)
    monkeypatch.setattr(own_runs, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("diffopt_widgets.execution.driver.PUBLISH_SECONDS", 0.0)
    going = drive(run, on_publish=elsewhere.save)
    for _ in range(5):
        next(going)
    copy = store.load(run.key)
    assert checkpoints(store)
    assert not copy.can_continue
    assert "still being trained" in copy.message
    monkeypatch.setattr("diffopt_widgets.store.run_store.this_writer", lambda: "{}")
    with pytest.raises(dw.StoreError, match="is being written by another process"):
        store.resume(run.key, copy.history)
    going.close()
    assert store.load(run.key).can_continue


@pytest.mark.slow
def test_checkpoints_come_seldom_and_cost_little(store: dw.RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("diffopt_widgets.execution.driver.PUBLISH_SECONDS", 0.0)
    monkeypatch.setattr(own_runs, "_checkpoint", lambda run: made.append(len(run.history)))
    dw.train(asked().settings, "swiss_roll", 40, progress=False, store=store)
    assert made == []  # in less than CHECKPOINT_SECONDS none, and at the end none is needed
    monkeypatch.setattr(own_runs, "CHECKPOINT_SECONDS", 0.0)
    seconds, ticks = (
        count(0, 0.1),
        count(0, 0.01),
    )  # the first is looked at once at a publish, the second around the work
    clocks = SimpleNamespace(monotonic=lambda: next(seconds), perf_counter=lambda: next(ticks))
    monkeypatch.setattr(run_saver, "time", clocks)
    monkeypatch.setattr(own_runs, "time", clocks)
    dw.train(asked().settings, "swiss_roll", 40, progress=False, store=store)
    assert 1 < len(made) < 10  # each takes 0.01 s by these clocks, so the next one comes a second later
    assert np.diff(made).min() >= 8


@pytest.mark.slow
def test_where_it_finds_no_room_the_rows_are_safe(store: dw.RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Database._connect

    def limited(self: Database, *, create: bool, wait: float) -> sqlite3.Connection:
        connection = opened(self, create=create, wait=wait)
        connection.execute("PRAGMA max_page_count = 30")
        return connection

    run = dw.Run(asked())
    with monkeypatch.context() as patch:
        patch.setattr(Database, "_connect", limited)
        with pytest.warns(RuntimeWarning, match="is saved without its samples and checkpoint: .*the disk is full"):
            go_on(run, 4, keeping := RunSaver(store))
        assert (store.summary(run.key).steps, store.load(run.key).can_continue) == (4, False)
    keeping.save(run)
    assert store.load(run.key).can_continue


def test_a_store_of_former_days_has_room_for_them_too(store: dw.RunStore) -> None:
    connection = sqlite3.connect(store.path)
    connection.execute("DROP TABLE extras")
    connection.commit()
    connection.close()
    run = dw.train(asked().settings, "swiss_roll", 3, progress=False)
    key = store.add(run)
    assert store.load(key).samples.keys() == run.samples.keys()


@pytest.mark.slow
def test_what_was_deleted_takes_its_checkpoint_along(store: dw.RunStore) -> None:
    run = dw.Run(asked())
    go_on(run, 4, RunSaver(store))
    store.delete(run.key)
    store.restore(run.key)
    assert store.load(run.key).can_continue
    store.delete(run.key)
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE runs SET deleted = 0")
    connection.commit()
    connection.close()
    dw.RunStore(store.path)
    assert checkpoints(store) == []
