"""Database: one SQLite file, opened anew for each transaction.

A connection is never kept open. So a deleted or replaced file is noticed, and forked processes and threads do not share a
connection. Opening costs a tenth of a millisecond.

There is no write-ahead log, since that needs memory shared between processes, which network and FUSE folders (Google Drive)
do not have. The rollback journal is truncated, not deleted: Drive would keep every deleted file in its bin.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from diffopt_widgets.plain_text import printed_readably

Locking: TypeAlias = Literal["auto", "file", "folder"]

VERSION = 1
"""Version of the tables below; the file stores its own."""
APPLICATION = 0x646F7077
"""Mark of our SQLite files ("dopw")."""
BUSY_SECONDS = 10.0
"""Longest wait while others write."""
TRIAL_SECONDS = 1.0
"""First wait, after which it is tried whether locks on files work at all: some file systems without them only say "busy"."""
STALE_SECONDS = 60.0
"""Age from which a lock folder counts as left by a dead process; a transaction takes far less."""

EXTRAS_TABLE = (
    "CREATE TABLE IF NOT EXISTS extras (run TEXT NOT NULL, kind TEXT NOT NULL, step INTEGER NOT NULL, "
    "data BLOB NOT NULL, PRIMARY KEY (run, kind))"
)
"""Table of the data beside a run's rows. The first stores have none: it is made when it is needed."""

_TABLES = f"""
CREATE TABLE runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL, started REAL NOT NULL,
    saved REAL NOT NULL, writer TEXT NOT NULL, groups TEXT NOT NULL, rows INTEGER NOT NULL, final_loss REAL,
    about TEXT NOT NULL, note TEXT NOT NULL DEFAULT '', deleted REAL
);
CREATE TABLE chunks (
    run TEXT NOT NULL, start INTEGER NOT NULL, rows INTEGER NOT NULL, layout TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (run, start)
);
{EXTRAS_TABLE};
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""


@printed_readably
class StoreError(Exception):
    """Error of opening, reading or writing a store; the message says why and what to do."""


class Database:
    """Transactions on one file.

    Args:
        path: the file; made when it does not exist.
        locking: the kind of lock between processes. "file" uses the system's locks on the file, "folder" a folder beside
            it, for file systems without locks; "auto" changes to folders when locks on files turn out to fail.

    Raises:
        StoreError: the file cannot be opened or made, is not a store, or has a newer version.
    """

    def __init__(self, path: str | os.PathLike[str], locking: Locking = "auto") -> None:
        if locking not in {"auto", "file", "folder"}:
            raise StoreError(f"locking cannot be {locking!r}: use 'auto', 'file' or 'folder'")
        self.path = Path(path).expanduser().absolute()
        self._lock_folder = locking == "folder"
        self._may_change = locking == "auto"
        with self.read(create=True):
            pass

    @contextlib.contextmanager
    def read(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield a connection to read with; `create` makes the file when it does not exist."""
        with self._explained(), contextlib.closing(self._open(create=create)) as connection:
            connection.execute("BEGIN")
            yield connection

    @contextlib.contextmanager
    def write(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield a transaction: all of it is written, or nothing if an exception leaves it."""
        with self._explained(), contextlib.closing(self._open(create=create)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _open(self, *, create: bool) -> sqlite3.Connection:
        """Open a connection to the file, which must be a store."""
        wait = min(TRIAL_SECONDS, BUSY_SECONDS) if self._may_change and not self._lock_folder else BUSY_SECONDS
        try:
            return self._connect(create=create, wait=wait)
        except sqlite3.OperationalError as error:
            only_busy = "locked" in str(error) and wait < BUSY_SECONDS
            if not (self._other_locks_help(error) or only_busy):
                raise
        return self._connect(create=create, wait=BUSY_SECONDS)

    def _connect(self, *, create: bool, wait: float) -> sqlite3.Connection:
        if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
            raise StoreError(f"{self.path} is not an ordinary file. Give another path.")
        mode, vfs = "rwc" if create else "rw", "&vfs=unix-dotfile" if self._lock_folder else ""
        uri = f"{self.path.as_uri()}?mode={mode}{vfs}"
        connection = sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)
        connection.text_factory = _text
        try:
            connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from anybody
            connection.execute("BEGIN")  # all reads see one moment: another process may be making the tables
            version = _version(connection, self.path)
            connection.execute("COMMIT")
            if version == 0 and create:
                _make_tables(connection, self.path)
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_SECONDS)}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _other_locks_help(self, error: sqlite3.OperationalError) -> bool:
        """Return whether to try again: with folders as locks, or because a stale lock has been removed."""
        if self._lock_folder:
            return "locked" in str(error) and _remove_stale(Path(f"{self.path}.lock"))
        failed = any(
            part in str(error) for part in ("locked", "disk I/O error", "locking protocol", "access permission denied")
        )
        if not (failed and self._may_change) or os.name != "posix" or locks_work(self.path.parent):
            return False
        self._lock_folder = True
        return True

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(_explanation(self.path, error)) from error
        except UnicodeDecodeError as error:  # of SQLite's own message about a table with a damaged name
            raise StoreError(_explanation(self.path, sqlite3.DatabaseError("malformed"))) from error


def _text(data: bytes) -> str:
    """Decode a text; a damaged one is read with marks in it, instead of making all others unreadable."""
    return data.decode("utf-8", "replace")


def locks_work(folder: Path) -> bool:
    """Return whether files in a folder can be locked; True when this cannot be tried.

    The test uses a file of its own: closing the store's file here would release SQLite's locks on it.
    """
    import fcntl

    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True
    except OSError:
        return True


def _remove_stale(lock: Path) -> bool:
    """Remove a lock folder whose owner was killed; return whether it makes sense to try again.

    Ages are by the clock of the file system, which on a network may differ from ours.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=lock.parent) as file:
            age = Path(file.name).stat().st_mtime - lock.stat().st_mtime
        if age < STALE_SECONDS:
            return False
        lock.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a store's tables, 0 for an empty file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application not in {0, APPLICATION} or (application == 0 and _has_tables(connection)):
        raise StoreError(f"{path} is a SQLite file of another program, not a store of runs. Give another path.")
    if application and _has_code(connection):
        raise StoreError(f"{path} has views or triggers, which no store of runs has. Give another path.")
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer version of diffopt_widgets (format {version}; this one reads {VERSION}). "
            "To fix it: update diffopt_widgets (in a clone: git pull)"
        )
    return int(version) if application else 0


def _has_code(connection: sqlite3.Connection) -> bool:
    """Return whether the file has views or triggers, which are code that reading or writing would execute."""
    query = "SELECT count(*) FROM sqlite_master WHERE type NOT IN ('table', 'index')"
    return bool(connection.execute(query).fetchone()[0])


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection, path) == 0:  # else another process was quicker
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
    connection.execute("COMMIT")


def _explanation(path: Path, error: sqlite3.Error) -> str:
    """Describe an error and its remedy; SQLite's own text is in the exception that this one is raised from."""
    text = str(error)
    for part, description in (
        ("not a database", "is not a SQLite database. Give another path; the file was left as it is."),
        ("malformed", "is damaged. Copy the readable part with: sqlite3 FILE .recover | sqlite3 NEW"),
        ("is full", "cannot grow: the disk is full. Make room, or take a path on another disk."),
        (
            "readonly",
            "cannot be written to: the file or its folder is read-only. Choose a path that can be written to.",
        ),
        ("no such table", "has no runs: it was replaced by another file. Open it again."),
        ("locked", f"was kept busy by another process for {BUSY_SECONDS:g} s. Try again, or close the other one."),
    ):
        if part in text:
            return f"{path} {description}"
    if "unable to open" in text:
        return f"{path} cannot be opened: {_open_problem(path)}."
    return f"{path} cannot be used: {text}. Try a path on a local disk."


def _open_problem(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if not os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return f"nothing can be written into {path.parent}"
    return "you have no permission to read it" if path.exists() else "it does not exist any more"


def now() -> float:
    """Return seconds since 1970, the unit of times in the file."""
    return time.time()
