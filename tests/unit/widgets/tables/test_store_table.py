"""The table of stored runs without a browser: what a page asks is done in the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.records import History


@pytest.fixture
def store(tmp_path: Path) -> dw.RunStore:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("unet",))
    history.extend_columns([1, 2], {"loss": [2.0, 1.0], "applied_lr": [[0.1], [0.1]]})
    for name in ("first", "<b>second</b>"):
        store.begin(name, history, {"model": "SDXL"}, id=f"id-{len(name)}").end("done")
    return store


def ask(table: dw.RunStoreTable, kind: str, **content: object) -> None:
    """Do in the table what a person would do in the page."""
    table._handle_custom_msg({"k": kind, **content}, [])
    assert not table.notice, table.notice


def test_runs_are_found_renamed_and_noted(store: dw.RunStore) -> None:
    table = dw.RunStoreTable(store)
    assert [row["name"] for row in table.rows] == ["<b>second</b>", "first"]
    assert (table.rows[1]["steps"], table.rows[1]["loss"], table.rows[1]["status"]) == (2, 1.0, "done")
    table.query = "first sdxl"
    assert [row["key"] for row in table.rows] == ["id-5"]
    sent = []
    table.send = sent.append
    ask(table, "rename", key="id-5", name="  ")
    ask(table, "rename", key="id-5", name=" base \n line")
    assert [message["wrong"] for message in sent] == ["a run needs a name", ""]
    assert table.rows == []  # it is not found by its old name any more
    table.query = ""
    ask(table, "note", key="id-5", note="to be <i>tried</i> again")
    assert (store.summary("id-5").name, store.summary("id-5").note) == ("base line", "to be <i>tried</i> again")
    assert table.rows[1]["note"] == "to be <i>tried</i> again"


def test_a_ticked_run_is_drawn_and_follows_what_is_recorded(store: dw.RunStore) -> None:
    table = dw.RunStoreTable(store)
    other = dw.RunStore(store.path)
    history = History(("all",))
    writer = other.begin("live", history)
    ask(table, "refresh")
    assert table.rows[0]["status"] == "running"
    ask(table, "draw", key=writer.id, shown=True)
    assert [row["shown"] for row in table.rows] == [True, False, False]
    history.extend_columns([1, 2, 3], {"loss": [3.0, 2.0, 1.0]})
    writer.end("done")
    ask(table, "refresh")
    (curve,) = table.plot.curves()
    np.testing.assert_array_equal(curve.history.column("loss"), [3, 2, 1])
    ask(table, "rename", key=writer.id, name="over")
    assert table.plot.curves()[0].name == "over"
    ask(table, "draw", key=writer.id, shown=False)
    assert (table.plot.curves(), [row["shown"] for row in table.rows]) == ([], [False] * 3)


def test_a_refresh_keeps_what_is_hidden_its_colour_and_its_place(store: dw.RunStore) -> None:
    table, other = dw.RunStoreTable(store), dw.RunStore(store.path)
    history = History(("all",))
    writer = other.begin("live", history)
    for key in (writer.id, "id-5", "id-13"):
        ask(table, "draw", key=key, shown=True)
    table.plot.set_visible(writer.id, visible=False)
    table.query = "first"  # the others are not listed, and still drawn
    before = [dict(shown) for shown in table.plot.runs]
    history.extend_columns([1, 2], {"loss": [3.0, 2.0], "grad_norm": [1.0, 1.0]})
    writer.save()
    writer.flush()
    other.rename(writer.id, "alive")
    ask(table, "refresh")
    (total,) = [shown["total"] for shown in table.plot.runs if shown["key"] == writer.id]
    assert total == 2
    unlike = {"total", "name"}
    assert [{k: v for k, v in shown.items() if k not in unlike} for shown in table.plot.runs] == [
        {k: v for k, v in shown.items() if k not in unlike} for shown in before
    ]
    assert [shown["name"] for shown in table.plot.runs] == ["alive", "first", "<b>second</b>"]
    table.plot.set_visible(writer.id, visible=True)
    np.testing.assert_array_equal(table.plot.curves()[0].history.column("grad_norm"), [1, 1])
    other.delete("id-5")
    ask(table, "refresh")
    assert [shown["name"] for shown in table.plot.runs] == ["alive", "<b>second</b>"]


def test_a_run_whose_file_was_replaced_is_drawn_anew_as_it_looked(store: dw.RunStore) -> None:
    table = dw.RunStoreTable(store)
    for key in ("id-5", "id-13"):
        ask(table, "draw", key=key, shown=True)
    table.plot.set_visible("id-5", visible=False)
    color = next(shown["color"] for shown in table.plot.runs if shown["key"] == "id-5")
    store.path.unlink()
    fresh, history = dw.RunStore(store.path), History(("all",))
    history.extend_columns([5, 6, 7], {"loss": [3.0, 2.0, 1.0]})
    fresh.begin("first", history, id="id-5").end("done")
    ask(table, "refresh")
    (shown,) = table.plot.runs
    assert (shown["color"], shown["visible"], shown["total"]) == (color, False, 3)


def test_a_deletion_is_undone(store: dw.RunStore) -> None:
    table = dw.RunStoreTable(store)
    ask(table, "draw", key="id-5", shown=True)
    ask(table, "remove", key="id-5")
    assert ([row["key"] for row in table.rows], table.removed, table.plot.curves()) == (["id-13"], "first", [])
    assert [run.id for run in store.list()] == ["id-13"]
    ask(table, "remove", key="id-13")
    assert (table.rows, table.removed) == ([], "<b>second</b>")
    ask(table, "restore")
    ask(table, "restore")
    ask(table, "restore")
    assert ([row["key"] for row in table.rows], table.removed) == (["id-13", "id-5"], "")


def test_a_fault_is_told_above_the_table(store: dw.RunStore) -> None:
    table = dw.RunStoreTable(store)
    table._handle_custom_msg({"k": "note", "key": "nobody", "note": "x"}, [])
    assert "has no run with the id 'nobody'" in table.notice
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    table._handle_custom_msg({"k": "remove", "key": "id-5"}, [])
    assert "newer version" in table.notice
    table._handle_custom_msg({"k": "dismiss"}, [])
    assert (table.notice, len(table.rows)) == ("", 2)
