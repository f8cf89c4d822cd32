"""RunStore when something is wrong with the file: a clear message, and nothing recorded is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from places import STORE_CHILDREN

import diffopt_widgets as dw
from diffopt_widgets.records import History
from diffopt_widgets.store import database
from diffopt_widgets.store.database import Database

pytestmark = pytest.mark.faults


def grow(history: History, rows: int) -> None:
    step = np.arange(len(history) + 1.0, len(history) + rows + 1)
    history.extend_columns(step, {"loss": 1 / step})


@contextlib.contextmanager
def at_most(pages: int) -> Iterator[None]:
    """SQLite's files cannot grow beyond that, as on a full disk."""
    opened = Database._connect

    def limited(self: Database, *, create: bool, wait: float) -> sqlite3.Connection:
        connection = opened(self, create=create, wait=wait)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "_connect", limited)
        yield


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """A folder that one may read but not write; the superuser, who may always, is somebody else meanwhile."""
    folder = Path(tempfile.mkdtemp())
    dw.RunStore(folder / "runs.sqlite")
    (folder / "runs.sqlite").chmod(0o444)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_full_disk_is_told_once_and_what_was_recorded_is_written_later(tmp_path: Path) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    saved = store.begin("full", history)
    with at_most(20):
        grow(history, 10_000)
        saved.save()
        with pytest.warns(RuntimeWarning, match=r"'full' is not being saved: .*the disk is full. Make room"):
            saved.flush()
        assert (saved.saved, store.list()[0].steps) == (0, 0)
        grow(history, 10_000)
        saved.save()  # a second warning would be an error here
        saved.flush()
        with pytest.raises(dw.StoreError, match="the disk is full"):
            store.annotate(saved.id, "x" * 100_000)
    saved.save()
    saved.flush()
    assert (saved.saved, saved.problem) == (20_000, "")
    np.testing.assert_array_equal(store.load(saved.id).history.column("loss"), history.column("loss"))


def test_without_room_to_merge_what_was_written_a_run_ends_all_the_same(tmp_path: Path) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    saved = store.begin("tight", history)
    for _ in range(20):
        grow(history, 500)
        saved.save()
        saved.flush()
    with sqlite3.connect(store.path) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.close()
    with at_most(pages + 1):
        grow(history, 1)
        saved.end("done")
    assert [(told.status, told.steps) for told in store.list()] == [("done", 10_001)]
    np.testing.assert_array_equal(store.load(saved.id).history.column("loss"), history.column("loss"))


def test_training_goes_on_while_its_store_is_full(tmp_path: Path) -> None:
    store = dw.RunStore(tmp_path / "runs.sqlite")
    with at_most(5), pytest.warns(RuntimeWarning, match="is not being saved") as told:
        run = dw.train(dw.Settings("ADAMW"), task="swiss_roll", steps=200, progress=False, store=store)
    assert (run.status, len(run.history), len(told)) == ("done", 200, 1)


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX does")
def test_a_write_that_the_system_refuses_is_told(tmp_path: Path) -> None:
    import resource

    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    saved = store.begin("too large", history)
    grow(history, 10_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        saved.save()
        with pytest.warns(RuntimeWarning, match="'too large' is not being saved"):
            saved.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    saved.end("done")
    assert store.list()[0].steps == 10_000


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_read_only_folder_can_be_read_and_says_so_when_written(locked_folder: Path) -> None:
    store = dw.RunStore(locked_folder / "runs.sqlite")
    assert store.list() == ()
    with pytest.raises(dw.StoreError, match="is read-only"):
        store.begin("x", History(("a",)))
    with pytest.raises(dw.StoreError, match="nothing can be written into"):
        dw.RunStore(locked_folder / "new.sqlite")


def test_what_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("not a database, but long enough to be taken for one\n" * 20)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE books (title)")
    connection.commit()
    connection.close()
    before = text.read_bytes(), other.read_bytes()
    with pytest.raises(dw.StoreError, match=r"notes.txt is not a SQLite database"):
        dw.RunStore(text)
    with pytest.raises(dw.StoreError, match=r"other.sqlite is a SQLite file of another program"):
        dw.RunStore(other)
    assert (text.read_bytes(), other.read_bytes()) == before
    with pytest.raises(dw.StoreError, match="it is a folder"):
        dw.RunStore(tmp_path)
    with pytest.raises(dw.StoreError, match="there is no folder"):
        dw.RunStore(tmp_path / "missing" / "runs.sqlite")
    with pytest.raises(dw.StoreError, match="locking cannot be 'none'"):
        dw.RunStore(tmp_path / "runs.sqlite", locking="none")  # type: ignore[arg-type]  # on purpose


def test_a_store_of_a_newer_version_says_what_to_do(tmp_path: Path) -> None:
    store = dw.RunStore(tmp_path / "runs.sqlite")
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    for use in (lambda: dw.RunStore(store.path), store.list, lambda: store.begin("x", History(("a",)))):
        with pytest.raises(dw.StoreError, match=r"newer version .*format 7; this one reads 1.*update diffopt_widgets"):
            use()


def test_a_file_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    saved = store.begin("kept", history, {"batch": 4})
    grow(history, 100)
    saved.save()
    saved.flush()
    store.path.unlink()
    for use in (store.list, lambda: store.begin("x", history), lambda: store.load(saved.id)):
        with pytest.raises(dw.StoreError, match="it does not exist any more"):
            use()
    grow(history, 100)
    saved.save()  # what is recorded is all here still, and goes into a new file
    assert store.summary(saved.id).steps == 200
    assert store.summary(saved.id).about == {"batch": 4}
    np.testing.assert_array_equal(store.load(saved.id).history.column("loss"), history.column("loss"))


def test_a_file_that_is_replaced_by_an_older_copy_gets_what_it_lacks(tmp_path: Path) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    saved = store.begin("kept", history)
    grow(history, 100)
    saved.save()
    saved.flush()
    old = store.path.read_bytes()
    grow(history, 100)
    saved.save()
    saved.flush()
    store.path.write_bytes(old)
    grow(history, 100)
    saved.save()
    np.testing.assert_array_equal(store.load(saved.id).history.column("loss"), history.column("loss"))


def test_a_folder_that_is_gone_meanwhile_is_told_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    store, history = dw.RunStore(folder / "runs.sqlite"), History(("a",))
    saved = store.begin("away", history)
    grow(history, 10)
    folder.rename(tmp_path / "unmounted")
    with pytest.warns(RuntimeWarning, match="there is no folder"):
        saved.end("done")
    (tmp_path / "unmounted").rename(folder)
    saved.end("done")
    assert [(told.status, told.steps) for told in store.list()] == [("done", 10)]


def test_a_busy_file_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    saved = store.begin("busy", history)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    grow(history, 10)
    with pytest.warns(RuntimeWarning, match="kept busy by another process"):
        saved.end("done")
    with pytest.raises(dw.StoreError, match="kept busy"):
        store.list()
    other.execute("ROLLBACK")
    other.close()
    saved.end("done")
    assert store.list()[0].steps == 10


def test_damaged_rows_are_told(tmp_path: Path) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    grow(history, 10)
    saved = store.begin("cut", history)
    saved.end("done")
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE chunks SET data = substr(data, 1, 50)")
    connection.commit()
    connection.close()
    with pytest.raises(dw.StoreError, match=r"the rows of 'cut' .* are damaged"):
        store.load(saved.id)


@pytest.mark.parametrize("about", ["{broken", "[1, 2]"])
def test_one_damaged_run_does_not_hide_the_others(tmp_path: Path, about: str) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    grow(history, 3)
    for name in ("whole", "damaged"):
        store.begin(name, history, {"batch": 4}, id=name).end("done")
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE runs SET about = ? WHERE id = 'damaged'", (about,))
    connection.commit()
    connection.close()
    assert [(run.name, dict(run.about)) for run in store.list()] == [("damaged", {}), ("whole", {"batch": 4})]
    assert len(store.load("damaged").history) == 3


def test_a_half_copied_file_is_told(tmp_path: Path) -> None:
    store, history = dw.RunStore(tmp_path / "runs.sqlite"), History(("a",))
    grow(history, 2000)
    store.begin("whole", history, id="whole").end("done")
    whole, half = store.path.read_bytes(), tmp_path / "half.sqlite"
    for size in (99, 1000, 4096, 4097, len(whole) // 2):
        half.write_bytes(whole[:size])
        with pytest.raises(dw.StoreError, match=r"half.sqlite is (damaged|not a SQLite database)"):
            dw.RunStore(half).load("whole")
        assert half.read_bytes() == whole[:size]


NO_LOCKS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
static int is_lock(int c) {
  return c == F_SETLK || c == F_SETLKW || c == F_GETLK || c == F_OFD_SETLK || c == F_OFD_SETLKW || c == F_OFD_GETLK;
}
static int call(const char *name, int fd, int c, void *p) {
  if (is_lock(c)) { errno = atoi(getenv("LOCK_ERRNO")); return -1; }
  return ((int (*)(int, int, ...))dlsym(RTLD_NEXT, name))(fd, c, p);
}
int fcntl(int fd, int c, ...) { va_list a; va_start(a, c); void *p = va_arg(a, void *); va_end(a); return call("fcntl", fd, c, p); }
int fcntl64(int fd, int c, ...) { va_list a; va_start(a, c); void *p = va_arg(a, void *); va_end(a); return call("fcntl64", fd, c, p); }
int flock(int fd, int op) { errno = atoi(getenv("LOCK_ERRNO")); return -1; }
"""
"""A library that makes the system refuse every lock on a file, as some network and FUSE folders do."""


@pytest.fixture(scope="module")
def refused_locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("needs a C compiler on Linux")
    library = tmp_path_factory.mktemp("preload") / "refused_locks.so"
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-o", library, "-", "-ldl"],
        check=False,
        input=NO_LOCKS,
        text=True,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip(f"the C compiler cannot make a library: {made.stderr[-200:]}")
    return library


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EPERM])
def test_where_the_system_refuses_locks_three_write_and_two_read_at_once(
    tmp_path: Path, refused_locks: Path, number: int
) -> None:
    done = subprocess.run(
        [sys.executable, STORE_CHILDREN, "crowd", tmp_path / "runs.sqlite", "refused"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "LD_PRELOAD": str(refused_locks), "LOCK_ERRNO": str(number)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [run.steps for run in dw.RunStore(tmp_path / "runs.sqlite").list()] == [150, 150, 150]


def test_without_locks_on_files_a_folder_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that SQLite cannot get, where no file of the folder can be locked: folders are used from then on."""
    assert database.locks_work(tmp_path)
    store = dw.RunStore(tmp_path / "runs.sqlite")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(database, "locks_work", lambda folder: False)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")  # stands for a file system that refuses every lock
    history = History(("a",))
    grow(history, 10)
    saved = store.begin("x", history)
    lock = Path(f"{store.path}.lock")
    lock.mkdir()
    with pytest.raises(dw.StoreError, match="kept busy"):
        store.list()
    os.utime(lock, (0, 0))  # whoever made it was killed long ago
    saved.end("done")
    assert not lock.exists()
    assert [told.steps for told in store.list()] == [10]
    other.close()
