"""RunWriter: writes one run into a store while it trains, without delaying it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.plain_text import printable, printed_readably
from diffopt_widgets.records import History
from diffopt_widgets.store.chunks import Rows, pack
from diffopt_widgets.store.database import Database, StoreError, now
from diffopt_widgets.store.extras import Extra, Kind, write_extra
from diffopt_widgets.store.liveness import this_writer

if TYPE_CHECKING:
    import sqlite3
    from typing import Any

FULL_ROWS = 16_384
"""Number of rows from which a chunk is not merged any more."""
SMALL_CHUNKS = 64
"""Least number of small chunks that are merged at once."""
HELD_SECONDS = 1.0
"""Longest time for which new rows are not shown because the rows shown before are not in the file yet."""


class _ExtrasError(StoreError):
    """Error in writing the extras; the rows are in the file."""


@dataclass(frozen=True)
class _State:
    """State of a run that is written besides its rows."""

    name: str
    about: str
    status: str = "running"
    message: str = ""
    extras: Mapping[Kind, Extra | None] = field(default_factory=dict)
    """Samples and checkpoint; None for one that is to be deleted."""


@dataclass(frozen=True)
class _SavedRows:
    """Layout of a run's rows in the file."""

    rows: int = 0
    open: int = 0
    """First row of the chunks that may still be merged."""
    merged: int = 0
    """End of the first of those chunks if it was merged before, else the same as `open`."""
    small: int = 0
    """Number of chunks after that one."""


@printed_readably
class RunWriter:
    """Writer of one run; `RunStore.begin` makes it.

    `save` returns at once: a thread does the writing, because a disk takes 5 to 20 ms to confirm a write, and a network
    folder far more. While one save is being written, the next ones wait and are then written together. A fault of the
    disk does not raise: it gives one RuntimeWarning, the rows stay in the history, and the next save writes them too.
    """

    def __init__(self, database: Database, id: str, name: str, history: History, about: str, started: float) -> None:
        self.id = id
        """Id of the run in its store."""
        self._database = database
        self._history = history
        self._started = started
        self._state = _State(name, about)
        self._name = name  # as last written: the run may be renamed in the store meanwhile
        self._saved = _SavedRows()
        self._saved_extras: Mapping[Kind, Extra | None] = {}
        """Extras that have been written to the file, or deleted from it."""
        self._lock = threading.Lock()
        self._pending: tuple[Rows, _State] | None = None
        self._thread: threading.Thread | None = None
        self._shown, self._shown_at = 0, 0.0
        self._problem, self._effect = "", "is not being saved"
        self._last_warning = ""

    def __repr__(self) -> str:
        return f"RunWriter({self._state.name!r}, {self.saved} rows saved)"

    @property
    def saved(self) -> int:
        """Number of rows of the history that are in the file for certain."""
        return self._saved.rows

    @property
    def problem(self) -> str:
        """Error of the last save; empty when it was written."""
        return self._problem

    def begin(self) -> None:
        """Write the run's first state into the file.

        Raises:
            StoreError: the file cannot be written.
        """
        self._write(Rows.of(self._history), self._state)

    def describe(self, name: str = "", about: Mapping[str, Any] | None = None) -> None:
        """Give the run another name, or add facts about it; written with the next save.

        Raises:
            StoreError: `about` cannot be written as JSON.
        """
        known = json.loads(self._state.about)
        self._state = replace(
            self._state,
            name=name or self._state.name,
            about=about_text({**known, **about}) if about else self._state.about,
        )

    def set_extra(self, kind: Kind, extra: Extra | None) -> None:
        """Set the samples or the checkpoint in place of the last ones; written with the next save."""
        self._state = replace(self._state, extras={**self._state.extras, kind: extra})

    def save(self) -> None:
        """Start to write the rows that are new in the history since the last call."""
        self._state = replace(self._state, status="running", message="")
        self._submit()
        self._warn()

    def may_show(self) -> bool:
        """Return whether to show the present rows; if so, they count as shown.

        While the rows that were shown before are still being written, the answer is no, so that a kill costs at most what
        was shown last. After `HELD_SECONDS`, and when the last save failed, which was told, the answer is yes all the same.
        """
        held = self.saved < self._shown and not self._problem
        if held and time.monotonic() - self._shown_at < HELD_SECONDS:
            return False
        self._shown, self._shown_at = len(self._history), time.monotonic()
        return True

    def flush(self) -> None:
        """Wait until all saves are written or have failed."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._warn()

    def end(self, status: str, message: str = "") -> None:
        """Write the remaining rows and the final status, such as "done", "stopped" or "failed"; wait until it is written.

        A run that is saved again afterwards is running again. If the write failed, call this method again.
        """
        self._state = replace(self._state, status=status, message=message)
        self._submit()
        self.flush()

    def _submit(self) -> None:
        with self._lock:
            self._pending = (Rows.of(self._history), self._state)
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._work, name=f"saves run {self.id}")
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending and starts no threads
                self._thread = None
            except BaseException:  # Ctrl-C, with the thread begun or not
                self._thread = thread if thread.is_alive() else None
                raise
            else:
                return
        self._work()

    def _work(self) -> None:
        while True:
            with self._lock:
                pending, self._pending = self._pending, None
                if pending is None:
                    self._thread = None
                    return
            try:
                self._write(*pending)
                self._problem = ""
            except StoreError as error:
                only_extras = isinstance(error, _ExtrasError)
                self._effect = "is saved without its samples and checkpoint" if only_extras else "is not being saved"
                self._problem = str(error)
            except Exception as error:  # noqa: BLE001  # an error in a thread is not seen: `_warn` shows it
                self._problem = f"{type(error).__name__}: {error}"

    def _warn(self) -> None:
        """Warn of the last problem once, in the caller's thread, where it is seen."""
        problem, before = self._problem, self._last_warning
        self._last_warning = problem
        if problem and problem != before:
            warnings.warn(
                printable(
                    f"The run {self._state.name!r} {self._effect}: {problem} "
                    "The training goes on, its history is kept, and every save tries again."
                ),
                RuntimeWarning,
                stacklevel=3,
            )

    def _write(self, rows: Rows, state: _State) -> None:
        with self._database.write(create=True) as connection:
            saved = self._find_or_insert(connection, rows, state)
            if len(rows) > saved.rows:
                insert_chunks(connection, self.id, rows, saved.rows, len(rows))
                saved = replace(saved, rows=len(rows), small=saved.small + 1)
            connection.execute(
                "UPDATE runs SET name = coalesce(?, name), status = ?, message = ?, saved = ?, writer = ?, groups = ?, rows = ?, "
                "final_loss = ?, about = ? WHERE id = ?",
                (
                    state.name if state.name != self._name else None,
                    state.status,
                    state.message,
                    now(),
                    this_writer(),
                    json.dumps(rows.groups),
                    saved.rows,
                    final_loss(rows),
                    state.about,
                    self.id,
                ),
            )
        self._saved, self._name = saved, state.name
        with contextlib.suppress(StoreError):  # merging needs room of its own; the next save tries again
            self._merge(rows, ended=state.status != "running")
        self._write_extras(state.extras)

    def _write_extras(self, extras: Mapping[Kind, Extra | None]) -> None:
        """Write new extras in a transaction of their own: if there is no room for them, the rows are safe."""
        saved = self._saved_extras
        new = {kind: extra for kind, extra in extras.items() if kind not in saved or saved[kind] is not extra}
        if new:
            try:
                with self._database.write() as connection:
                    for kind, extra in new.items():
                        write_extra(connection, self.id, kind, extra)
            except StoreError as error:
                raise _ExtrasError(str(error)) from error
            self._saved_extras = extras

    def _find_or_insert(self, connection: sqlite3.Connection, rows: Rows, state: _State) -> _SavedRows:
        """Return the rows that the file has: fewer than were saved if it was replaced by an older copy or a new file."""
        row = connection.execute("SELECT rows FROM runs WHERE id = ?", (self.id,)).fetchone()
        if row is None:
            connection.execute(
                "INSERT INTO runs (id, name, status, message, started, saved, writer, groups, rows, about) "
                "VALUES (?, ?, ?, '', ?, ?, ?, ?, 0, ?)",
                (
                    self.id,
                    state.name,
                    state.status,
                    self._started,
                    now(),
                    this_writer(),
                    json.dumps(rows.groups),
                    state.about,
                ),
            )
            self._saved_extras = {}
            return _SavedRows()
        if row[0] == self._saved.rows:
            return self._saved
        return _SavedRows(row[0], row[0], row[0])

    def _merge(self, rows: Rows, *, ended: bool) -> None:
        """Merge small chunks into one when there are many and they have as many rows as the last merged one, or at the end.

        So each row is rewritten only a few times in all.
        """
        saved = self._saved
        fresh, grown = saved.rows - saved.merged, saved.merged - saved.open
        many = saved.small >= SMALL_CHUNKS and fresh >= grown
        full = saved.rows - saved.open >= FULL_ROWS
        if not (many or full or (ended and saved.small > (grown == 0))):
            return
        with self._database.write() as connection:
            if connection.execute("SELECT rows FROM runs WHERE id = ?", (self.id,)).fetchone() != (saved.rows,):
                return  # the file has been replaced this moment
            connection.execute("DELETE FROM chunks WHERE run = ? AND start >= ?", (self.id, saved.open))
            insert_chunks(connection, self.id, rows, saved.open, saved.rows)
        rest = (saved.rows - saved.open) % FULL_ROWS
        self._saved = _SavedRows(saved.rows, saved.rows - rest, saved.rows)


def insert_chunks(connection: sqlite3.Connection, id: str, rows: Rows, start: int, stop: int) -> None:
    """Write rows start…stop as chunks of at most `FULL_ROWS`."""
    for first in range(start, stop, FULL_ROWS):
        last = min(stop, first + FULL_ROWS)
        layout, blob = pack(rows, first, last)
        connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", (id, first, last - first, layout, blob))


def final_loss(rows: Rows) -> float | None:
    """Return the mean of the finite values in the last twentieth of the losses; None when there are none."""
    if "loss" not in rows.columns:
        return None
    loss = rows.columns["loss"]
    tail = loss[-max(1, len(loss) // 20) :]
    finite = tail[np.isfinite(tail)]
    return float(finite.mean()) if len(finite) else None


def about_text(about: Mapping[str, Any]) -> str:
    """Return the facts about a run as JSON.

    Raises:
        StoreError: a value cannot be written as JSON.
    """
    try:
        return json.dumps(dict(about), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"about cannot be written as JSON: {error}. Use text, numbers, True, False, None, lists and dicts"
        ) from None
