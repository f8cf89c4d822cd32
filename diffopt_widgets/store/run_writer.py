"""RunWriter: writes one run into a store while it goes on, without holding it up."""

from __future__ import annotations

import contextlib
import json
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.records import History
from diffopt_widgets.store.chunks import Rows, pack
from diffopt_widgets.store.database import Database, StoreError, now
from diffopt_widgets.store.extras import Extra, Kind, put
from diffopt_widgets.store.liveness import this_writer

if TYPE_CHECKING:
    import sqlite3
    from typing import Any

FULL_ROWS = 16_384
"""Rows of a chunk that is not merged any more."""
SMALL_CHUNKS = 64
"""How many small chunks are merged at once, at least."""


class _BesideError(StoreError):
    """The rows are in the file, what stands beside them is not."""


@dataclass(frozen=True)
class _State:
    """What is to be written of a run besides its rows."""

    name: str
    about: str
    status: str = "running"
    message: str = ""
    extras: Mapping[Kind, Extra | None] = field(default_factory=dict)
    """What is kept beside the rows; None where it is to be taken away."""


@dataclass(frozen=True)
class _Written:
    """How a run's rows lie in the file."""

    rows: int = 0
    open: int = 0
    """Where the chunks begin that may still be merged."""
    merged: int = 0
    """Where the first of those ends, that was merged already; the same as `open` when there is none."""
    small: int = 0
    """How many came after that one."""


class RunWriter:
    """One run that is being written; `RunStore.begin` makes it.

    `save` returns at once: a thread does the writing, because a disk takes 5 to 20 ms to confirm that it has something,
    and a network folder far more. While one save is being written the next ones wait and are then written together.
    Nothing here raises: a fault of the disk is told once as a RuntimeWarning, the rows stay in the history, and the next
    save writes them too.
    """

    def __init__(self, database: Database, id: str, name: str, history: History, about: str, started: float) -> None:
        self.id = id
        """Names the run in its store."""
        self._database = database
        self._history = history
        self._started = started
        self._state = _State(name, about)
        self._name = name  # as last written: somebody may rename the run in the store meanwhile
        self._written = _Written()
        self._put: Mapping[Kind, Extra | None] = {}
        """Of the extras those that are in the file, or have been taken out of it."""
        self._lock = threading.Lock()
        self._pending: tuple[Rows, _State] | None = None
        self._thread: threading.Thread | None = None
        self._problem, self._what = "", "is not being saved"
        self._told = ""

    def __repr__(self) -> str:
        return f"RunWriter({self._state.name!r}, {self.saved} rows saved)"

    @property
    def saved(self) -> int:
        """How many rows of the history are in the file for certain."""
        return self._written.rows

    @property
    def problem(self) -> str:
        """Why the last save could not be written; empty when it was."""
        return self._problem

    def begin(self) -> None:
        """Put the run into the file.

        Raises:
            StoreError: that cannot be done.
        """
        self._write(Rows.of(self._history), self._state)

    def describe(self, name: str = "", about: Mapping[str, Any] | None = None) -> None:
        """Give the run another name, or add to what is known about it; written with the next save.

        Raises:
            StoreError: `about` cannot be put as JSON.
        """
        known = json.loads(self._state.about)
        self._state = replace(
            self._state,
            name=name or self._state.name,
            about=about_text({**known, **about}) if about else self._state.about,
        )

    def attach(self, kind: Kind, extra: Extra | None) -> None:
        """Keep something beside the rows, in the place of the last of its kind; written with the next save."""
        self._state = replace(self._state, extras={**self._state.extras, kind: extra})

    def save(self) -> None:
        """Have the rows written that the history has got since the last call."""
        self._state = replace(self._state, status="running", message="")
        self._hand_over()
        self._tell()

    def flush(self) -> None:
        """Wait until what was saved is written, or could not be."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._tell()

    def end(self, status: str, message: str = "") -> None:
        """Write what is left and how the run ended, such as "done", "stopped" or "failed", and wait until it is written.

        A run that is saved again afterwards goes on. When it could not be written, call it again.
        """
        self._state = replace(self._state, status=status, message=message)
        self._hand_over()
        self.flush()

    def _hand_over(self) -> None:
        with self._lock:
            self._pending = (Rows.of(self._history), self._state)
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._work, name=f"saves run {self.id}")
            with contextlib.suppress(RuntimeError):  # the interpreter is ending and starts no threads
                thread.start()
                self._thread = thread
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
                beside = isinstance(error, _BesideError)
                self._what = "is saved without its samples and checkpoint" if beside else "is not being saved"
                self._problem = str(error)
            except Exception as error:  # noqa: BLE001  # nobody would see it in a thread; `_tell` does
                self._problem = f"{type(error).__name__}: {error}"

    def _tell(self) -> None:
        """Say once what went wrong, in the caller's thread, where it is seen."""
        problem, before = self._problem, self._told
        self._told = problem
        if problem and problem != before:
            warnings.warn(
                f"The run {self._state.name!r} {self._what}: {problem} "
                "It goes on, what it has recorded is kept, and every save tries again.",
                RuntimeWarning,
                stacklevel=3,
            )

    def _write(self, rows: Rows, state: _State) -> None:
        with self._database.write(create=True) as connection:
            written = self._known(connection, rows, state)
            if len(rows) > written.rows:
                insert(connection, self.id, rows, written.rows, len(rows))
                written = replace(written, rows=len(rows), small=written.small + 1)
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
                    written.rows,
                    last_loss(rows),
                    state.about,
                    self.id,
                ),
            )
        self._written, self._name = written, state.name
        with contextlib.suppress(StoreError):  # it needs room of its own; the next save tries again
            self._merge(rows, over=state.status != "running")
        self._put_extras(state.extras)

    def _put_extras(self, wanted: Mapping[Kind, Extra | None]) -> None:
        """Write what is new beside the rows, in a transaction of its own: where it finds no room, the rows are safe."""
        new = {kind: extra for kind, extra in wanted.items() if kind not in self._put or self._put[kind] is not extra}
        if new:
            try:
                with self._database.write() as connection:
                    for kind, extra in new.items():
                        put(connection, self.id, kind, extra)
            except StoreError as error:
                raise _BesideError(str(error)) from error
            self._put = wanted

    def _known(self, connection: sqlite3.Connection, rows: Rows, state: _State) -> _Written:
        """What the file has of the run: less than was written when it has been replaced by an older copy or a new file."""
        found = connection.execute("SELECT rows FROM runs WHERE id = ?", (self.id,)).fetchone()
        if found is None:
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
            self._put = {}
            return _Written()
        if found[0] == self._written.rows:
            return self._written
        return _Written(found[0], found[0], found[0])

    def _merge(self, rows: Rows, *, over: bool) -> None:
        """Put many small chunks into one, each row a few times in all: when there are many, or as many rows as merged before."""
        written = self._written
        fresh, grown = written.rows - written.merged, written.merged - written.open
        many = written.small >= SMALL_CHUNKS and fresh >= grown
        full = written.rows - written.open >= FULL_ROWS
        if not (many or full or (over and written.small > (grown == 0))):
            return
        with self._database.write() as connection:
            if connection.execute("SELECT rows FROM runs WHERE id = ?", (self.id,)).fetchone() != (written.rows,):
                return  # the file has been replaced this moment
            connection.execute("DELETE FROM chunks WHERE run = ? AND start >= ?", (self.id, written.open))
            insert(connection, self.id, rows, written.open, written.rows)
        rest = (written.rows - written.open) % FULL_ROWS
        self._written = _Written(written.rows, written.rows - rest, written.rows)


def insert(connection: sqlite3.Connection, id: str, rows: Rows, start: int, stop: int) -> None:
    """Write rows start…stop as chunks of at most `FULL_ROWS`."""
    for first in range(start, stop, FULL_ROWS):
        last = min(stop, first + FULL_ROWS)
        layout, blob = pack(rows, first, last)
        connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", (id, first, last - first, layout, blob))


def last_loss(rows: Rows) -> float | None:
    """Mean of the last twentieth of the losses, those left out that are no finite numbers; None when none is."""
    if "loss" not in rows.columns:
        return None
    loss = rows.columns["loss"]
    tail = loss[-max(1, len(loss) // 20) :]
    finite = tail[np.isfinite(tail)]
    return float(finite.mean()) if len(finite) else None


def about_text(about: Mapping[str, Any]) -> str:
    """What is known about a run, as JSON.

    Raises:
        StoreError: it holds something that JSON has no form for.
    """
    try:
        return json.dumps(dict(about), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"about cannot be put as JSON: {error}. Give text, numbers, True, False, None, lists and dicts"
        ) from None
