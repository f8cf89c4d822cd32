"""RunSaver: writes runs of the bench into a store as they go, with what they need to go on in another process."""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import TYPE_CHECKING

from diffopt_widgets.store import own_runs
from diffopt_widgets.store.database import StoreError

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.store.run_store import RunStore
    from diffopt_widgets.store.run_writer import RunWriter


class RunSaver:
    """Writes runs of the bench into a store at each publish; nothing that goes wrong there reaches the training.

    A checkpoint is made when a run is stopped, and meanwhile from time to time (`CHECKPOINT_SECONDS`, `CHECKPOINT_COST`).
    The store keeps the last one of each run, until the run is done or has failed.

    Args:
        store: where to.

    >>> import pathlib, tempfile
    >>> from diffopt_widgets import Run, RunPlan, RunStore, Settings
    >>> from diffopt_widgets.execution.driver import drive
    >>> store = RunStore(pathlib.Path(tempfile.mkdtemp()) / "runs.sqlite")
    >>> run = Run(RunPlan(Settings("PRODIGY"), "swiss_roll", steps=2))
    >>> for _ in drive(run, on_publish=RunSaver(store).save):
    ...     pass
    >>> store.load(run.key).settings == run.settings, len(store.load(run.key).history)
    (True, 2)
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._recordings: dict[str, RunWriter] = {}
        self._names: dict[str, str] = {}
        self._ends: dict[str, tuple[str, str, str, int]] = {}
        self._next: dict[str, float] = {}
        """When the next checkpoint of a run is due."""
        self._told = ""

    def save(self, run: Run) -> None:
        """Write what is new of a run; call it at each publish, and once more when the run has ended."""
        if not run.history.groups:
            return  # it has not begun
        recording = self._recordings.get(run.key)
        if recording is None:
            recording = self._begin(run)
        if recording is None:
            return
        renamed = run.name if run.name != self._names[run.key] else ""
        self._names[run.key] = run.name
        if not run.ended:
            recording.describe(renamed)
            if time.monotonic() >= self._next[run.key]:
                self._next[run.key] = time.monotonic() + own_runs.keep_beside(recording, run)
            recording.save()
        elif recording.problem or self._ends.get(run.key) != _end(run):
            self._ends[run.key] = _end(run)
            own_runs.keep_beside(recording, run)
            recording.describe(renamed, own_runs.about_run(run))
            recording.end(run.status, run.message)

    def rename(self, run: Run) -> None:
        """Give a run in the store the name that it has here, whoever put it there; nothing where it is not in the store.

        Raises:
            StoreError: it cannot be written.
        """
        with contextlib.suppress(KeyError):
            self._store.rename(run.key, run.name)

    def _begin(self, run: Run) -> RunWriter | None:
        try:
            if self._store.has(run.key):
                recording = self._store.resume(run.key, run.history)
            else:
                recording = self._store.begin(run.name, run.history, own_runs.about_run(run), id=run.key)
        except StoreError as error:
            if str(error) != self._told:
                self._told = str(error)
                warnings.warn(
                    f"The run {run.name!r} is not being saved: {error} It goes on, and every publish tries again.",
                    RuntimeWarning,
                    stacklevel=3,
                )
            return None
        self._recordings[run.key], self._names[run.key] = recording, run.name
        self._next[run.key] = time.monotonic() + own_runs.CHECKPOINT_SECONDS
        return recording


def _end(run: Run) -> tuple[str, str, str, int]:
    """What tells one end of a run from another: a stopped one may go on."""
    return run.status, run.message, run.name, len(run.history)
