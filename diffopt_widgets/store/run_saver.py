"""RunSaver: writes runs of the bench into a store while they train, with checkpoints to resume from."""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import TYPE_CHECKING

from diffopt_widgets.plain_text import printable
from diffopt_widgets.store import own_runs
from diffopt_widgets.store.database import StoreError

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.store.run_store import RunStore
    from diffopt_widgets.store.run_writer import RunWriter


class RunSaver:
    """Writes runs of the bench into a store at each publish; errors of the store never reach the training.

    A checkpoint is made when a run is stopped, and before that from time to time (`CHECKPOINT_SECONDS`,
    `CHECKPOINT_COST`). The store keeps the last one of each run until the run is done or has failed.

    Args:
        store: the store to write to.

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
        self._writers: dict[str, RunWriter] = {}
        self._names: dict[str, str] = {}
        self._ends: dict[str, tuple[str, str, str, int]] = {}
        self._next: dict[str, float] = {}
        """Time (`time.monotonic`) of each run's next checkpoint."""
        self._last_warning = ""

    def save(self, run: Run) -> bool:
        """Start to write the new rows of a run; call it at each publish, and once more when the run has ended.

        Returns:
            Whether to show the run. False while the rows that were shown before are still being written: the training does
            not wait for the disk, but what is shown does, so that a killed process loses at most what was shown last.
        """
        if not run.history.groups:
            return True  # it has not begun
        writer = self._writers.get(run.key)
        if writer is None:
            writer = self._begin(run)
        if writer is None:
            return True
        renamed = run.name if run.name != self._names[run.key] else ""
        self._names[run.key] = run.name
        if not run.ended:
            self._ends.pop(run.key, None)  # it goes on: its next end is written also where it equals the last one
            writer.describe(renamed)
            if time.monotonic() >= self._next[run.key]:
                self._next[run.key] = time.monotonic() + own_runs.update_extras(writer, run)
            writer.save()
        elif writer.problem or self._ends.get(run.key) != _end(run):
            own_runs.update_extras(writer, run)
            writer.describe(renamed, own_runs.about_run(run))
            writer.end(run.status, run.message)
            self._ends[run.key] = _end(run)
        return writer.may_show() or run.status != "running"

    def rename(self, run: Run) -> None:
        """Write the run's present name to the store; do nothing when the store does not have the run.

        Raises:
            StoreError: the store cannot be written.
        """
        with contextlib.suppress(KeyError):
            self._store.rename(run.key, run.name)

    def _begin(self, run: Run) -> RunWriter | None:
        try:
            if self._store.has(run.key):
                writer, name = self._store.resume(run.key, run.history), ""  # its name in the store may be another
            else:
                writer = self._store.begin(run.name, run.history, own_runs.about_run(run), id=run.key)
                name = run.name
        except StoreError as error:
            if str(error) != self._last_warning:
                self._last_warning = str(error)
                warnings.warn(
                    printable(
                        f"The run {run.name!r} is not being saved: {error} It goes on, and every publish tries again."
                    ),
                    RuntimeWarning,
                    stacklevel=3,
                )
            return None
        self._writers[run.key], self._names[run.key] = writer, name
        self._next[run.key] = time.monotonic() + own_runs.CHECKPOINT_SECONDS
        return writer


def _end(run: Run) -> tuple[str, str, str, int]:
    """Return the facts that identify one end of a run: a stopped run may go on and end again."""
    return run.status, run.message, run.name, len(run.history)
