"""Files that are damaged or cannot be written: what is whole is given, what is not is named, and in time."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.interop.event_files import Event, event_record, first_record
from diffopt_widgets.records import History


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with forty runs, so that they lie in several pages."""
    path = tmp_path_factory.mktemp("whole") / "runs.sqlite"
    store = dw.RunStore(path)
    for number in range(40):
        store.begin(f"run-{number:02}", History(("a",)), {"text": "x" * 400}, id=f"id-{number:02}").end("done")
    return path


@pytest.fixture
def path(whole, tmp_path):
    return Path(shutil.copy(whole, tmp_path))


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.slow
def test_a_flipped_byte_in_a_text_costs_that_text_only(path):
    flip(path, path.read_bytes().rindex(b"run-07") + 1)
    names = {run.name for run in dw.RunStore(path).list()}
    assert len(names) == 40
    assert {f"run-{number:02}" for number in range(40)} - names == {"run-07"}


@pytest.mark.slow
@pytest.mark.parametrize("column", ["started", "name", "rows", "saved"])
def test_a_value_of_another_kind_costs_that_run_only(path, column):
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE runs SET {column} = ? WHERE id = 'id-07'", (b"\x00\xff",))  # noqa: S608
    connection.close()
    store = dw.RunStore(path)
    runs = {run.id: run for run in store.list()}
    assert len(runs) == 40
    assert [run.id for run in runs.values() if run.status == "damaged"] == ["id-07"]
    with pytest.raises(dw.StoreError, match="damaged"):
        store.load("id-07")
    assert store.load("id-08").name == "run-08"


def test_a_damaged_page_costs_the_runs_in_it_only(path):
    start = path.read_bytes().index(b"run-20") // 4096 * 4096  # the first byte of a page is its kind
    flip(path, start)
    runs = dw.RunStore(path).list()
    assert {run.id for run in runs} == {f"id-{number:02}" for number in range(40)}
    whole = [run for run in runs if run.status == "done"]
    assert 20 < len(whole) < 40
    assert all("is damaged" in run.message for run in runs if run.status == "damaged")


@pytest.mark.slow
def test_wherever_a_byte_is_flipped_the_list_or_a_plain_error_comes(path):
    data = path.read_bytes()
    for place in np.random.default_rng(0).integers(100, len(data), 60).tolist():
        path.write_bytes(data)
        flip(path, place)
        try:
            assert len(dw.RunStore(path).list()) >= 20
        except dw.StoreError as error:
            assert place < 4096, error  # noqa: PT017  # the page with the tables' definitions


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of POSIX")
def test_a_store_that_cannot_be_written_is_refused_before_the_training():
    folder = Path(tempfile.mkdtemp())
    dw.RunStore(folder / "runs.sqlite")
    (folder / "runs.sqlite").chmod(0o444)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:  # who may write always
        os.seteuid(65534)
    try:
        with pytest.raises(dw.StoreError, match="read-only"):
            dw.train(dw.Settings("ADAMW"), "swiss_roll", 2, progress=False, store=folder / "runs.sqlite")
        assert dw.RunStore(folder / "runs.sqlite").list() == ()
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_damaged_event_file_hides_no_other(tmp_path):
    names = ["one/events.out.tfevents.1", "two/events.out.tfevents.1", "two/events.out.tfevents.2"]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        event = Event(number, 1e9, {"loss": 0.5})
        (tmp_path / name).write_bytes(first_record(1e9) + event_record(event))
    (tmp_path / names[1]).write_bytes(b"\x01" * 60)
    with pytest.warns(RuntimeWarning, match=r"two.*is not an event file"):
        one, two = dw.read_logs(tmp_path)
    assert (len(one.history), one.message) == (1, "")
    assert (len(two.history), two.message) == (1, "events.out.tfevents.1 could not be read.")
    with pytest.raises(ValueError, match="not an event file"):
        dw.read_logs(tmp_path / names[1])


_LOOP = """
import sys, torch
import diffopt_widgets as dw
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.1)
w = dw.watch(optimizer, store=sys.argv[1])
for _ in range(20):
    loss = weight.square().sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    w.log(loss=loss)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise ValueError", "w.close()"])
def test_a_watch_that_nobody_closed_keeps_its_last_rows(tmp_path, end):
    subprocess.run([sys.executable, "-c", _LOOP + end, tmp_path / "s.sqlite"], capture_output=True, check=False)
    (run,) = dw.RunStore(tmp_path / "s.sqlite").list()
    closed = end == "w.close()"
    assert (run.steps, run.status) == (20, "done" if closed else "stopped")
    assert ("ended before the watch was closed" in run.message) == (not closed)
