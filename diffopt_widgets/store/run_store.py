"""RunStore: runs in one SQLite file."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.plain_text import printable, printed_readably
from diffopt_widgets.records import History
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.arguments import check_kind, check_text, checked_list, checked_path, wrong_kind
from diffopt_widgets.store.chunks import unpack
from diffopt_widgets.store.database import VERSION, Database, Locking, StoreError, now
from diffopt_widgets.store.exports import write_runs
from diffopt_widgets.store.extras import delete_orphans, read_extras
from diffopt_widgets.store.liveness import is_gone, this_writer
from diffopt_widgets.store.logged_run import LoggedRun
from diffopt_widgets.store.own_runs import about_run, plan_values, run_of, update_extras
from diffopt_widgets.store.run_writer import RunWriter, about_text
from diffopt_widgets.store.summary import (
    COLUMNS,
    DAMAGED,
    INTERRUPTED,
    RunSummary,
    Summaries,
    damaged,
    is_whole,
    search_text,
    summary_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from diffopt_widgets.settings.plan import RunPlan


BIN_SECONDS = 86_400.0
"""Time for which a deleted run can be restored."""


@printed_readably
class RunStore:
    """Runs in one SQLite file: they survive the kernel, and several notebooks may read and write it at once.

    A run is written at each publish, in a thread, and in one transaction each time: whenever the process is killed, the
    file is sound and at most the last publish is missing. The next process that opens the store marks the run as
    interrupted. Every method opens the file anew, so a store may be shared between threads and forks.

    Args:
        path: the file, such as "runs.sqlite"; made when it does not exist. Its folder must exist.
        locking: "auto", or "folder" for a folder without file locks where "auto" does not notice that. All processes that
            use a file at the same time must use the same value.

    Raises:
        StoreError: the file cannot be opened or made, is not a store, or comes from a newer version. All methods raise it
            when the file cannot be used any more, and KeyError for a run that the store does not have.

    >>> import tempfile, pathlib
    >>> from diffopt_widgets.records import History, StepRecord
    >>> store = RunStore(pathlib.Path(tempfile.mkdtemp()) / "runs.sqlite")
    >>> history = History(("unet",))
    >>> writer = store.begin("first try", history, {"batch": 4})
    >>> history.extend([StepRecord(1, 0.1, loss=2.0, lr=(0.1,), applied_lr=(0.1,))])
    >>> writer.save()
    >>> writer.end("done")
    >>> [(run.name, run.status, run.steps, run.final_loss) for run in store.list()]
    [('first try', 'done', 1, 2.0)]
    >>> store.load(writer.id).history
    History(1 steps: loss, lr, applied_lr, seconds)
    """

    def __init__(self, path: str | os.PathLike[str], locking: Locking = "auto") -> None:
        self._database = Database(checked_path("path", path), locking)
        self._writers: weakref.WeakSet[RunWriter] = weakref.WeakSet()
        self.path = self._database.path
        """Absolute path of the file."""
        self._tidy()

    def __repr__(self) -> str:
        return f"RunStore({str(self.path)!r})"

    def begin(self, name: str, history: History, about: Mapping[str, Any] | None = None, *, id: str = "") -> RunWriter:
        """Begin to record a run.

        Args:
            name: shown in lists and legends, as plain text.
            history: shared with the caller, who appends to it and then calls `save` of the returned writer.
            about: facts to store with the run: texts, numbers, lists, dicts.
            id: its id in the store; a new one when empty.

        Raises:
            StoreError: the store cannot be written, the id is taken, or `about` cannot be written as JSON.
        """
        check_text("name", name, 'Write a name, such as "first try".')
        check_kind("history", history, History, "a History", 'Write dw.History(["unet"]).')
        check_kind("about", about, (Mapping, type(None)), "a dict of facts", 'Write {"batch": 4}.')
        check_text("id", id, "Leave it out, and the store chooses one.")
        return self._begin(name, history, about or {}, id, None)

    def _begin(
        self, name: str, history: History, about: Mapping[str, Any], id: str, started: datetime | None
    ) -> RunWriter:
        began = now() if started is None else started.timestamp()
        writer = RunWriter(self._database, id or uuid4().hex[:12], name, history, about_text(about), began)
        with self._database.read() as connection:
            if connection.execute("SELECT 1 FROM runs WHERE id = ?", (writer.id,)).fetchone():
                raise StoreError(f"{self.path} already has a run with the id {writer.id!r}. Choose another id.")
        return self._start(writer)

    def _start(self, writer: RunWriter) -> RunWriter:
        try:
            writer.begin()
            self._writers.add(writer)
            return writer  # noqa: TRY300  # Ctrl-C may come here too
        except KeyboardInterrupt:  # nobody will have the writer to end the run with
            writer.end("stopped", "Interrupted before it began.")
            raise

    def has(self, id: str) -> bool:
        """Return whether there is a run with this id, including a deleted one that can be restored."""
        with self._database.read() as connection:
            return connection.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone() is not None

    def resume(self, id: str, history: History) -> RunWriter:
        """Continue to record a run that was loaded from this store.

        Args:
            id: its id in the store.
            history: its rows, to which the caller appends.

        Raises:
            StoreError: another process is writing it, or the store cannot be written.
            KeyError: the store has no such run.
        """
        check_kind("history", history, History, "a History", "Give store.load(id).history.")
        with self._database.read() as connection:
            name, about, started, status, writer, saved = self._row(
                connection, id, "name, about, started, status, writer, saved"
            )
        if status == "running" and writer != this_writer() and not is_gone(writer, now() - saved):
            raise StoreError(f"the run {name!r} in {self.path} is being written by another process.")
        return self._start(RunWriter(self._database, id, name, history, about, started))

    def add(self, run: Run | LoggedRun) -> str:
        """Store a copy of a run as it is now, such as one of `read_logs`; return its id in this store.

        Raises:
            StoreError: the run is in the store already, or cannot be written.
        """
        if not isinstance(run, Run | LoggedRun):
            raise wrong_kind("run", run, "a run", "Give what dw.train(…) returned, or one of dw.read_logs(…).")
        if isinstance(run, Run):
            writer = self.begin(run.name, run.history, about_run(run), id=run.key)
            update_extras(writer, run)
        else:
            writer = self._begin(run.name, run.history, run.about, run.id, run.started)
        writer.end(run.status, run.message)
        if writer.problem:
            raise StoreError(writer.problem)
        return writer.id

    def list(self) -> Summaries:
        """Return summaries of all runs, the newest first; a run whose entry is damaged has the status "damaged".

        They print as a table; `to_frame()` gives a pandas DataFrame.
        """
        return self._summaries("deleted IS NULL")

    def search(self, text: str) -> Summaries:
        """Return the runs that have every word of a text in their name, note, id or `about`, or as their status."""
        check_text("text", text, 'Write words to look for, such as "PRODIGY digits".')
        words = text.casefold().split()
        return Summaries(
            run for run in self.list() if all(word == run.status or word in search_text(run) for word in words)
        )

    def summary(self, id: str) -> RunSummary:
        """Return the summary of one run, as in `list`."""
        summaries = self._summaries("deleted IS NULL AND id = ?", id)
        if not summaries:
            raise self._missing(id)
        return summaries[0]

    def load(self, id: str) -> Run | LoggedRun:
        """Load a run with its history, as it is in the file now.

        Returns:
            A `Run` with its plan and settings for a run of `train`, `sweep` or the bench, a `LoggedRun` for all others.
        """
        summary = self.summary(id)
        if summary.status == DAMAGED:
            raise StoreError(summary.message)
        with self._database.read() as connection:
            groups, rows = self._row(connection, id, "groups, rows")
            chunks = connection.execute(
                "SELECT rows, layout, data FROM chunks WHERE run = ? AND start < ? ORDER BY start", (id, rows)
            )
            try:
                history = unpack(json.loads(groups), chunks)
            except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
                raise StoreError(f"the rows of {safe_repr(summary.name)} in {self.path} are damaged.") from error
            extras = read_extras(connection, id)
        return run_of(summary, history, extras)

    def find(self, plans: Iterable[RunPlan]) -> dict[RunPlan, Run]:
        """Return the runs of the bench that have these plans, by plan: one that is done before others, then the newest.

        A run that cannot be read is left out, with a warning.
        """
        wanted = {json.dumps(plan_values(plan), sort_keys=True): plan for plan in plans}
        found: dict[RunPlan, Run] = {}
        for summary in sorted(self.list(), key=lambda run: run.status != "done"):
            plan = wanted.get(json.dumps(summary.about.get("plan"), sort_keys=True))
            if plan is None or plan in found or summary.status in {"running", DAMAGED}:
                continue
            try:
                run = self.load(summary.id)
            except (StoreError, KeyError) as error:
                warnings.warn(f"{summary.name!r} is left out: {error}", RuntimeWarning, stacklevel=2)
                continue
            if isinstance(run, Run):
                found[plan] = run
        return found

    def annotate(self, id: str, note: str) -> None:
        """Store a note with a run; it replaces the last one."""
        self._update(id, "note = ?", note)

    def rename(self, id: str, name: str) -> None:
        """Give a run another name."""
        self._update(id, "name = ?", name)

    def delete(self, id: str) -> None:
        """Delete a run; `restore` brings it back for a day, after which its room in the file is used again."""
        self._update(id, "deleted = ?", now())

    def restore(self, id: str) -> None:
        """Bring a deleted run back."""
        self._update(id, "deleted = ?", None, deleted=True)

    def export(self, ids: str | Sequence[str], path: str | os.PathLike[str]) -> Path:
        """Write runs for other programs; the suffix of `path` names the format.

        `.csv` and `.parquet` (needs pyarrow) give one table with a row per step, beginning with the run's id and name and, for
        runs of the bench, with optimizer, task, steps, batch size, seed and precision. A
        path without a suffix becomes a folder for TensorBoard, with a folder for each run. A file of that name is replaced.

        Args:
            ids: the id of a run, or several.
            path: the file or folder to write.

        Returns:
            The path written.

        Raises:
            StoreError: the format is not known, pyarrow is missing, or the path cannot be written.
        """
        target = checked_path("path", path, 'Write a file or folder, such as "runs.csv".').expanduser()
        all_ids = (
            [ids] if isinstance(ids, str) else checked_list("ids", ids, ("upper",), "ids", "Write store.list()[0].id.")
        )
        write_runs([(id_, self.load(id_), self.summary(id_).started.timestamp()) for id_ in all_ids], target)
        return target

    def _update(self, id: str, change: str, value: object, *, deleted: bool = False) -> None:
        self._flush()
        with self._database.write() as connection:
            condition = "deleted IS NOT NULL" if deleted else "deleted IS NULL"
            changed = connection.execute(f"UPDATE runs SET {change} WHERE id = ? AND {condition}", (value, id))  # noqa: S608  # constant text
            if not changed.rowcount:
                raise self._missing(id)

    def check_writable(self) -> None:
        """Check that something can be written; a file that others keep busy passes, since each save tries again.

        Raises:
            StoreError: the file or its folder is read-only, or the disk is full.
        """
        try:
            with self._database.write() as connection:
                connection.execute(f"PRAGMA user_version = {VERSION}")  # it has that value already
        except StoreError as error:
            if "locked" not in str(error.__cause__):
                raise

    def _summaries(self, condition: str, *values: object) -> Summaries:
        self._flush()
        query = f"SELECT {COLUMNS} FROM runs WHERE {condition}"  # noqa: S608  # constant text
        with self._database.read() as connection:
            try:
                rows = connection.execute(f"{query} ORDER BY started DESC, rowid DESC", values).fetchall()
            except sqlite3.DatabaseError as error:
                rows = _row_by_row(connection, query, values)
                if not rows:
                    raise error from None
        return Summaries(summary_of(*row) if is_whole(row) else damaged(row[0], row[1], self.path) for row in rows)

    def _row(self, connection: sqlite3.Connection, id: str, columns: str) -> tuple[Any, ...]:
        row = connection.execute(f"SELECT {columns} FROM runs WHERE id = ?", (id,)).fetchone()  # noqa: S608  # constant text
        if row is None:
            raise self._missing(id)
        return tuple(row)

    def _missing(self, id: str) -> KeyError:
        return KeyError(printable(f"{self.path} has no run with the id {id!r}; list() shows the runs that it has"))

    def _flush(self) -> None:
        """Wait until the saves of this store's own writers are in the file."""
        for writer in tuple(self._writers):
            writer.flush()

    def _tidy(self) -> None:
        """Mark runs whose process is gone, and purge those deleted long ago; a read-only or damaged file stays as it is."""
        try:
            with self._database.read() as connection:
                running = connection.execute(
                    "SELECT id, writer, saved FROM runs WHERE status = 'running' AND typeof(saved) = 'real'"
                ).fetchall()
                (old,) = connection.execute(
                    "SELECT count(*) FROM runs WHERE deleted < ?", (now() - BIN_SECONDS,)
                ).fetchone()
        except StoreError as error:
            if "malformed" not in str(error.__cause__):
                raise
            return
        gone = [(id_, writer) for id_, writer, saved in running if is_gone(writer, now() - saved)]
        if not gone and not old:
            return
        try:
            with self._database.write() as connection:
                connection.executemany(
                    "UPDATE runs SET status = 'interrupted', message = ? WHERE id = ? AND writer = ? AND status = 'running'",
                    [(INTERRUPTED, *id_and_writer) for id_and_writer in gone],
                )
                _purge(connection)
        except StoreError:
            pass  # the file can still be read, and `list` shows such runs as interrupted


def _row_by_row(connection: sqlite3.Connection, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    """Read each run by itself, by the index of the ids, which lies elsewhere; of a run that cannot be read only the id."""
    rows: list[tuple[Any, ...]] = []
    with contextlib.suppress(sqlite3.DatabaseError):  # the index may be damaged too
        for (id_,) in connection.execute("SELECT id FROM runs INDEXED BY sqlite_autoindex_runs_1"):
            try:
                rows += connection.execute(f"{query} AND id = ?", (*values, id_)).fetchall()
            except sqlite3.DatabaseError:
                if not values or id_ in values:
                    rows.append((id_, None))
    return sorted(rows, key=lambda row: row[4] if is_whole(row) else 0.0, reverse=True)


def _purge(connection: sqlite3.Connection) -> None:
    old = (now() - BIN_SECONDS,)
    connection.execute("DELETE FROM chunks WHERE run IN (SELECT id FROM runs WHERE deleted < ?)", old)
    connection.execute("DELETE FROM runs WHERE deleted < ?", old)
    delete_orphans(connection)
