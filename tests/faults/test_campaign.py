"""The fault campaign in short: each scenario of `campaign.py`, a few times."""

from __future__ import annotations

import os
import shutil

import campaign
import connection
import failing
import growth
import killed
import operations
import pressed
import pytest
from tried import Tried

pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("ignore::DeprecationWarning:multiprocessing")]
SEED = 7

on_posix = pytest.mark.skipif(os.name != "posix", reason="forks, signals and limits as POSIX has them")
with_node = pytest.mark.skipif(shutil.which("node") is None, reason="the page's side needs node")


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(failing, "SHORT", True)


def test_operations() -> None:
    assert operations.operations(80, SEED).times >= 80


@pytest.mark.parametrize(
    "scenario",
    [
        lambda: pressed.run_pressed_often(3, SEED),
        lambda: pressed.stopped_while_starting(5, SEED),
        lambda: pressed.changed_while_it_trains(5, SEED),
        lambda: growth.benches(10, 6),
        lambda: growth.records(40_000),
        lambda: growth.hours(0.5, 8),
        lambda: failing.runs_that_fail(1),
        lambda: failing.exit_in_a_step(1),
        pytest.param(lambda: failing.interrupted(4, SEED)[0], marks=on_posix),
        pytest.param(lambda: failing.memory_runs_out(1), marks=on_posix),
        pytest.param(lambda: killed.kernels_killed(5, SEED), marks=on_posix),
        pytest.param(lambda: killed.workers_killed(1, SEED), marks=on_posix),
        pytest.param(lambda: killed.notebooks_share(1), marks=on_posix),
        pytest.param(lambda: killed.folder_read_only(1), marks=on_posix),
        pytest.param(lambda: killed.clock_set_back(1)),
    ],
    ids=[
        *("run pressed often", "stopped while starting", "changed while it trains"),
        *("benches", "records", "hours", "runs that fail", "exit in a step", "interrupted", "memory runs out"),
        *("kernels killed", "workers killed", "notebooks share", "folder read-only", "clock set back"),
    ],
)
def test_holds(scenario) -> None:
    assert isinstance(scenario(), Tried)


@on_posix
def test_a_full_disk() -> None:
    try:
        assert killed.disks_full(1, SEED).times == 1
    except killed.NotMountedError as error:
        pytest.skip(f"only a superuser may mount a small disk: {error}")


@with_node
@pytest.mark.parametrize("fault", ["dropped", "reloaded", "all"])
def test_a_page_over_a_bad_connection(fault: str) -> None:
    assert connection.one_course(fault, SEED, connection.Counter()) < connection.PATIENCE


def test_the_page_shows_what_was_tried() -> None:
    """What docs/faults.md says comes from runs that were done; `campaign.py --table` writes it anew."""
    assert campaign.BEGIN + campaign.table() + campaign.END in campaign.PAGE.read_text("utf-8")
