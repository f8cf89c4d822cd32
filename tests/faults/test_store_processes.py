"""RunStore among processes: killed at any moment, several at once, and who is known to be alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from places import STORE_CHILDREN

from diffopt_widgets.records import History
from diffopt_widgets.store import RunStore
from diffopt_widgets.store import liveness as writers

pytestmark = [pytest.mark.faults, pytest.mark.skipif(os.name != "posix", reason="forks, and kills with SIGKILL")]


def drive(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, STORE_CHILDREN, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("locking", "rounds"), [("auto", 24), ("folder", 8)])
def test_a_writer_killed_at_any_moment_loses_at_most_its_last_save(tmp_path: Path, locking: str, rounds: int) -> None:
    drive("kill", tmp_path / "runs.sqlite", locking, rounds)


@pytest.mark.parametrize("locking", ["auto", "folder"])
def test_three_write_and_two_read_at_once(tmp_path: Path, locking: str) -> None:
    drive("crowd", tmp_path / "runs.sqlite", locking)


@pytest.fixture(params=[True, False], ids=["as on Linux", "as elsewhere"])
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not psutil.LINUX:
        pytest.skip("only Linux has /proc")
    monkeypatch.setattr(writers, "LINUX", request.param)


@pytest.mark.usefixtures("_system")
def test_a_writer_on_this_machine_is_gone_when_its_process_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        writer = writers.this_writer().replace(f'"pid": {os.getpid()}', f'"pid": {child.pid}')
        writer = writer.replace(writers._began(os.getpid()), writers._began(child.pid))
        assert not writers.is_gone(writer, silent=1e9)  # a step may take long
        child.communicate(b"\n")
    assert writers.is_gone(writer, silent=0.0)


def test_a_writer_elsewhere_is_gone_when_it_was_silent_for_long() -> None:
    writer = writers.this_writer().replace('"host": "', '"host": "another ')
    assert not writers.is_gone(writer, silent=10)
    assert writers.is_gone(writer, silent=1000)


@pytest.mark.usefixtures("_system")
def test_another_process_with_the_same_number_is_not_the_writer() -> None:
    writer = writers.this_writer()
    assert writers.is_gone(writer.replace(writers._began(os.getpid()), "1"), silent=0.0)


def test_where_the_system_does_not_tell_the_silence_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writers.this_writer()

    def refuse(pid: int) -> str:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(writers, "_began", refuse)
    assert not writers.is_gone(writer, silent=10)
    assert writers.is_gone(writer, silent=1000)


def test_a_writer_that_was_taken_for_gone_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, history = RunStore(tmp_path / "runs.sqlite"), History(("a",))
    with monkeypatch.context() as patch:
        patch.setattr("diffopt_widgets.store.run_writer.this_writer", lambda: "{}")
        writer = store.begin("slow", history)
        patch.setattr(writers, "SILENT_SECONDS", -1.0)
        assert RunStore(store.path).list()[0].status == "interrupted"
        assert "ended without closing it" in store.load(writer.id).message
    writer.save()
    assert store.list()[0].status == "running"
    writer.end("done")
    assert RunStore(store.path).list()[0].status == "done"
