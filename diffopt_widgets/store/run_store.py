"""RunStore: runs in one SQLite file."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from diffopt_widgets.records import History
from diffopt_widgets.runs.run import Run
from diffopt_widgets.store.chunks import unpack
from diffopt_widgets.store.database import Database, Locking, StoreError, now
from diffopt_widgets.store.exports import write_runs
from diffopt_widgets.store.extras import extras_of, purge
from diffopt_widgets.store.liveness import is_gone, this_writer
from diffopt_widgets.store.logged_run import LoggedRun
from diffopt_widgets.store.own_runs import about_run, keep_beside, run_of
from diffopt_widgets.store.run_writer import RunWriter, about_text
from diffopt_widgets.store.summary import COLUMNS, INTERRUPTED, RunSummary, summary_of, words_of

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime


BIN_SECONDS = 86_400.0
"""How long a deleted run can be brought back."""


class RunStore:
    """Runs in one SQLite file: they survive the kernel, and several notebooks may read and write it at once.

    A run is written at each publish, in a thread, and one transaction each time: whenever the process is killed, the file
    is sound and at most the last publish is missing. Who opens the store next marks the run as interrupted. Every method
    opens the file anew, so that an object may be kept and shared between threads and forks.

    Args:
        path: the file, such as "runs.sqlite"; made when it is not there. Its folder must exist.
        locking: "auto"; "folder" for a folder without file locks where that is not noticed by itself. All who use a file at
            the same time must use the same.

    Raises:
        StoreError: it cannot be opened or made, is no store, or comes from a newer version; all methods raise it when the
            file cannot be used any more, and KeyError for a run that it has not got.

    >>> import tempfile, pathlib
    >>> from diffopt_widgets.records import History, StepRecord
    >>> store = RunStore(pathlib.Path(tempfile.mkdtemp()) / "runs.sqlite")
    >>> history = History(("unet",))
    >>> recording = store.begin("first try", history, {"batch": 4})
    >>> history.extend([StepRecord(1, 0.1, loss=2.0, lr=(0.1,), applied_lr=(0.1,))])
    >>> recording.save()
    >>> recording.end("done")
    >>> [(run.name, run.status, run.steps, run.final_loss) for run in store.list()]
    [('first try', 'done', 1, 2.0)]
    >>> store.load(recording.id).history
    History(1 steps: loss, lr, applied_lr, seconds)
    """

    def __init__(self, path: str | os.PathLike[str], locking: Locking = "auto") -> None:
        self._database = Database(path, locking)
        self._recordings: weakref.WeakSet[RunWriter] = weakref.WeakSet()
        self.path = self._database.path
        """The file, as an absolute path."""
        self._tidy()

    def __repr__(self) -> str:
        return f"RunStore({str(self.path)!r})"

    def begin(self, name: str, history: History, about: Mapping[str, Any] | None = None, *, id: str = "") -> RunWriter:
        """Begin to record a run.

        Args:
            name: shown in lists and legends, as plain text.
            history: shared with the caller, who goes on appending to it and then calls `save` of what is returned.
            about: whatever is to be kept with it: texts, numbers, lists, dicts.
            id: names it in the store; made up when empty.

        Raises:
            StoreError: it cannot be written, the id is taken, or `about` cannot be put as JSON.
        """
        return self._begin(name, history, about or {}, id, None)

    def _begin(
        self, name: str, history: History, about: Mapping[str, Any], id: str, started: datetime | None
    ) -> RunWriter:
        began = now() if started is None else started.timestamp()
        recording = RunWriter(self._database, id or uuid4().hex[:12], name, history, about_text(about), began)
        with self._database.read() as connection:
            if connection.execute("SELECT 1 FROM runs WHERE id = ?", (recording.id,)).fetchone():
                raise StoreError(f"{self.path} has a run with the id {recording.id!r} already. Choose another id.")
        return self._started(recording)

    def _started(self, recording: RunWriter) -> RunWriter:
        recording.begin()
        self._recordings.add(recording)
        return recording

    def has(self, id: str) -> bool:
        """Whether there is a run of this id, also one that was deleted and can be brought back."""
        with self._database.read() as connection:
            return connection.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone() is not None

    def resume(self, id: str, history: History) -> RunWriter:
        """Go on recording a run that was loaded from here.

        Args:
            id: names it in the store.
            history: its rows, to which the caller goes on appending.

        Raises:
            StoreError: another process is writing it, or it cannot be written.
            KeyError: there is no such run.
        """
        with self._database.read() as connection:
            name, about, started, status, writer, saved = self._row(
                connection, id, "name, about, started, status, writer, saved"
            )
        if status == "running" and writer != this_writer() and not is_gone(writer, now() - saved):
            raise StoreError(f"the run {name!r} in {self.path} is being written by another process.")
        return self._started(RunWriter(self._database, id, name, history, about, started))

    def add(self, run: Run | LoggedRun) -> str:
        """Keep a copy of a run as it is now, such as one of `read_logs`; returns its id in this store.

        Raises:
            StoreError: it is in the store already, or cannot be written.
        """
        if isinstance(run, Run):
            recording = self.begin(run.name, run.history, about_run(run), id=run.key)
            keep_beside(recording, run)
        else:
            recording = self._begin(run.name, run.history, run.about, run.id, run.started)
        recording.end(run.status, run.message)
        if recording.problem:
            raise StoreError(recording.problem)
        return recording.id

    def list(self) -> tuple[RunSummary, ...]:
        """All runs, the newest first."""
        return self._summaries("deleted IS NULL")

    def search(self, text: str) -> tuple[RunSummary, ...]:
        """The runs that have every word of a text in their name, note, id or what is known about them, or as their status."""
        words = text.casefold().split()
        return tuple(run for run in self.list() if all(word == run.status or word in words_of(run) for word in words))

    def summary(self, id: str) -> RunSummary:
        """What `list` tells of one run."""
        found = self._summaries("deleted IS NULL AND id = ?", id)
        if not found:
            raise self._missing(id)
        return found[0]

    def load(self, id: str) -> Run | LoggedRun:
        """A run with its history, as it is in the file now.

        Returns:
            A `Run` for one that `train`, `sweep` or the bench trained, with its plan and settings; for all others a
            `LoggedRun`.
        """
        summary = self.summary(id)
        with self._database.read() as connection:
            groups, rows = self._row(connection, id, "groups, rows")
            chunks = connection.execute(
                "SELECT rows, layout, data FROM chunks WHERE run = ? AND start < ? ORDER BY start", (id, rows)
            )
            try:
                history = unpack(json.loads(groups), chunks)
            except ValueError as error:
                raise StoreError(f"the rows of {summary.name!r} in {self.path} are damaged: {error}") from error
            extras = extras_of(connection, id)
        return run_of(summary, history, extras)

    def annotate(self, id: str, note: str) -> None:
        """Keep a note with a run; it replaces the one before."""
        self._update(id, "note = ?", note)

    def rename(self, id: str, name: str) -> None:
        """Give a run another name."""
        self._update(id, "name = ?", name)

    def delete(self, id: str) -> None:
        """Take a run out; for a day `restore` brings it back, and its room in the file is used again afterwards."""
        self._update(id, "deleted = ?", now())

    def restore(self, id: str) -> None:
        """Bring a deleted run back."""
        self._update(id, "deleted = ?", None, deleted=True)

    def export(self, ids: str | Sequence[str], path: str | os.PathLike[str]) -> Path:
        """Write runs for other programs; the suffix of `path` says how.

        `.csv` and `.parquet` (needs pyarrow) give one table with a row per step, beginning with the run's id and name. A
        path without a suffix becomes a folder for TensorBoard, with a folder for each run. A file of that name is replaced.

        Args:
            ids: which run, or which runs.
            path: where to.

        Returns:
            The path written.

        Raises:
            StoreError: there is no such form, pyarrow is missing, or the path cannot be written.
        """
        target = Path(path).expanduser()
        wanted = [ids] if isinstance(ids, str) else list(ids)
        write_runs([(id_, self.load(id_), self.summary(id_).started.timestamp()) for id_ in wanted], target)
        return target

    def _update(self, id: str, what: str, value: object, *, deleted: bool = False) -> None:
        self._flush()
        with self._database.write() as connection:
            which = "deleted IS NOT NULL" if deleted else "deleted IS NULL"
            changed = connection.execute(f"UPDATE runs SET {what} WHERE id = ? AND {which}", (value, id))  # noqa: S608  # our own words
            if not changed.rowcount:
                raise self._missing(id)

    def _summaries(self, which: str, *values: object) -> tuple[RunSummary, ...]:
        self._flush()
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM runs WHERE {which} ORDER BY started DESC, rowid DESC",  # noqa: S608  # our own words
                values,
            ).fetchall()
        return tuple(summary_of(*row) for row in rows)

    def _row(self, connection: sqlite3.Connection, id: str, what: str) -> tuple[Any, ...]:
        found = connection.execute(f"SELECT {what} FROM runs WHERE id = ?", (id,)).fetchone()  # noqa: S608  # our own words
        if found is None:
            raise self._missing(id)
        return tuple(found)

    def _missing(self, id: str) -> KeyError:
        return KeyError(f"{self.path} has no run with the id {id!r}; list() tells those that it has")

    def _flush(self) -> None:
        """Have what this store's own recordings saved be there when it is read."""
        for recording in tuple(self._recordings):
            recording.flush()

    def _tidy(self) -> None:
        """Mark runs whose process is gone, and let go of those that were deleted long ago; not in a read-only file."""
        with self._database.read() as connection:
            running = connection.execute("SELECT id, writer, saved FROM runs WHERE status = 'running'").fetchall()
            (old,) = connection.execute(
                "SELECT count(*) FROM runs WHERE deleted < ?", (now() - BIN_SECONDS,)
            ).fetchone()
        gone = [(id_, writer) for id_, writer, saved in running if is_gone(writer, now() - saved)]
        if not gone and not old:
            return
        try:
            with self._database.write() as connection:
                connection.executemany(
                    "UPDATE runs SET status = 'interrupted', message = ? WHERE id = ? AND writer = ? AND status = 'running'",
                    [(INTERRUPTED, *which) for which in gone],
                )
                _purge(connection)
        except StoreError:
            pass  # it can be read all the same; `list` tells what was found


def _purge(connection: sqlite3.Connection) -> None:
    old = (now() - BIN_SECONDS,)
    connection.execute("DELETE FROM chunks WHERE run IN (SELECT id FROM runs WHERE deleted < ?)", old)
    connection.execute("DELETE FROM runs WHERE deleted < ?", old)
    purge(connection)
