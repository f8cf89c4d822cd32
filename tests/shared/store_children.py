"""Processes that write a store and are killed, or write and read one at once; run by test_store_processes.py.

    python store_children.py kill STORE LOCKING ROUNDS
    python store_children.py crowd STORE LOCKING
    python store_children.py train STORE LOCKING STEPS

Each forks its children from one interpreter, since starting one takes longer than what is tried. The exit status is 0 when
everything was as it must be.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import time
import traceback

import numpy as np

import diffopt_widgets as dw
from diffopt_widgets.execution import driver
from diffopt_widgets.records import History
from diffopt_widgets.store import RunStore, database, own_runs, run_writer

GROUPS = ("unet", "text_encoder")


def values(step: np.ndarray) -> dict[str, np.ndarray]:
    """What every run has at a step, so that anyone can check what was read."""
    return {"loss": 1.0 / step, "applied_lr": np.stack([step * 1e-3, step * 2e-3], axis=1), "d": np.sqrt(step)}


def grow(history: History, rows: int) -> None:
    step = np.arange(len(history) + 1, len(history) + rows + 1)
    history.extend_columns(step, values(step.astype(float)))


def check(history: History) -> None:
    np.testing.assert_array_equal(history.step, np.arange(1, len(history) + 1))
    if len(history):
        for name, expected in values(history.step.astype(float)).items():
            np.testing.assert_array_equal(history.column(name), expected)


def check_file(path: str, locking: str) -> None:
    """With "refused", SQLite itself must be told to go without locks."""
    lockless = "&vfs=unix-none" if locking == "refused" else ""
    connection = sqlite3.connect(f"file:{path}?mode=rw{lockless}", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def opened(path: str, locking: str) -> RunStore:
    """The store; with "refused" it has to find out by itself that there are no locks on files."""
    return RunStore(path, "auto" if locking == "refused" else locking)


def write_until_killed(path: str, locking: str, report: int) -> None:
    """Tells the id, and after each save how many rows are confirmed: 8 bytes each time."""
    store = opened(path, locking)
    history = History(GROUPS)
    written = store.begin("killed", history)
    os.write(report, written.id.encode().ljust(16))
    while True:
        grow(history, random.randint(1, 30))  # noqa: S311  # no secret
        written.save()
        written.flush()
        assert not written.problem, written.problem
        os.write(report, written.saved.to_bytes(8, "little"))


def kill(path: str, locking: str, rounds: int) -> None:
    before: dict[str, int] = {}
    for _ in range(rounds):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            write_until_killed(path, locking, write)
        os.close(write)
        key = os.read(read, 16).decode().strip()
        time.sleep(random.random() * 0.1)  # noqa: S311  # the moment of the kill is left to chance; nothing is waited for
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        told = b""
        while part := os.read(read, 65536):
            told += part
        os.close(read)
        confirmed = int.from_bytes(told[len(told) // 8 * 8 - 8 :][:8], "little")
        store = opened(path, locking)
        check_file(path, locking)
        summary = store.summary(key)
        assert summary.status == "interrupted", summary
        history = store.load(key).history
        check(history)
        assert confirmed <= len(history) <= confirmed + 30, (confirmed, len(history))
        for old, rows in before.items():  # those of former rounds are as they were
            assert store.summary(old).steps == rows
        before[key] = len(history)
    assert sum(before.values()) > rounds, "the runs were killed before they had written anything"


def write_to_the_end(path: str, locking: str) -> None:
    history = History(GROUPS)
    written = opened(path, locking).begin("crowd", history)
    for _ in range(30):
        grow(history, 5)
        written.save()
        written.flush()
        assert not written.problem, written.problem
    written.end("done")


def read_all_along(path: str, locking: str) -> None:
    store = opened(path, locking)
    while len(runs := store.list()) < 3 or any(run.status == "running" for run in runs):
        for run in runs:
            assert run.status in {"running", "done"}, run  # an open writer is never taken for a dead one
            check(store.load(run.id).history)
    assert [run.steps for run in store.list()] == [150, 150, 150]


def crowd(path: str, locking: str) -> None:
    children = []
    for work in (write_to_the_end, write_to_the_end, write_to_the_end, read_all_along, read_all_along):
        pid = os.fork()
        if pid == 0:
            try:
                work(path, locking)
            except BaseException:  # noqa: BLE001  # the parent is to know of any
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(pid)
    for _ in range(5):
        pid, status = os.wait()
        children.remove(pid)
        if status:  # the others would wait for it
            for other in children:
                os.kill(other, signal.SIGKILL)
            sys.exit(1)
    check_file(path, locking)


def train(path: str, steps: int) -> None:
    """Train a run, or take up the one that is there, with many checkpoints, until it is killed."""
    driver.PUBLISH_SECONDS, own_runs.CHECKPOINT_SECONDS, own_runs.CHECKPOINT_COST = 0.02, 0.05, 1.0
    store = RunStore(path)
    if runs := store.list():
        dw.resume(store.load(runs[0].id), progress=False, store=store)
    else:
        dw.train(dw.Settings("PRODIGY", schedule="COSINE"), "swiss_roll", steps, progress=False, store=store)


if __name__ == "__main__":
    run_writer.SMALL_CHUNKS, run_writer.FULL_ROWS = 3, 50  # so that chunks are merged all the time
    if sys.argv[3] == "folder":
        database.STALE_SECONDS, database.BUSY_SECONDS = 0.1, 0.2  # else each killed owner of a lock would cost a minute
    if sys.argv[1] == "train":
        train(sys.argv[2], int(sys.argv[4]))
    elif sys.argv[1] == "kill":
        kill(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        database.BUSY_SECONDS = 10.0
        database.STALE_SECONDS = 60.0
        crowd(sys.argv[2], sys.argv[3])
