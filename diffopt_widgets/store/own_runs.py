"""Runs of the bench's own tasks, as a store keeps them: their plan and settings as JSON beside the history."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from diffopt_widgets.plan import RunPlan
from diffopt_widgets.records import History
from diffopt_widgets.runs import Run
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.store.database import StoreError
from diffopt_widgets.store.recorded import RecordedRun

if TYPE_CHECKING:
    from diffopt_widgets.store.recording import Recording
    from diffopt_widgets.store.run_store import RunStore, RunSummary

RESULTS = ("device", "output", "trace", "eval_before", "eval_after", "state_bytes", "mend")
"""What is kept of a run besides plan, name, status, message and history. Samples are not."""


def about_run(run: Run) -> dict[str, Any]:
    """What a store keeps about a run, as plain values."""
    plan = {field.name: getattr(run.plan, field.name) for field in fields(RunPlan)}
    plan["settings"] = json.loads(run.settings.to_json())
    results = {name: getattr(run, name) for name in RESULTS}
    results["mend"] = dict(run.mend)
    return {"optimizer": run.settings.optimizer, "task": run.plan.task, "plan": plan, "results": results}


def run_of(summary: RunSummary, history: History) -> Run | RecordedRun:
    """The run that a store has: a `Run` where its plan is known and can be read by this version."""
    about = summary.about
    plan = about.get("plan")
    if isinstance(plan, dict):
        try:
            return _own_run(summary, history, plan, about.get("results", {}))
        except (SettingsError, TypeError, KeyError, ValueError):
            pass  # an option or a class of former days; what was recorded can be shown all the same
    return RecordedRun(
        summary.name, history, summary.id, summary.status, summary.message, about, summary.note, summary.started
    )


def _own_run(summary: RunSummary, history: History, plan: Mapping[str, Any], results: Mapping[str, Any]) -> Run:
    settings = Settings.from_json(json.dumps(plan["settings"]))
    run = Run(RunPlan(**{**plan, "settings": settings}), summary.name, key=summary.id, history=history)
    for name in RESULTS:
        if name in results:
            setattr(run, name, results[name])
    match summary.status:
        case "done" | "stopped" | "failed":
            run.status, run.message = summary.status, summary.message
        case "running":
            run.status, run.message = "stopped", f"A copy after {len(history)} steps: it was still being trained."
        case _:
            run.status, run.message = "stopped", f"{summary.message} {len(history)} of {run.plan.steps} steps are here."
    return run


class RunRecorder:
    """Writes runs of the bench into a store at each publish; nothing that goes wrong there reaches the training.

    Args:
        store: where to.

    >>> import pathlib, tempfile
    >>> from diffopt_widgets.driver import carry_out
    >>> from diffopt_widgets.store import RunStore
    >>> store = RunStore(pathlib.Path(tempfile.mkdtemp()) / "runs.sqlite")
    >>> run = Run(RunPlan(Settings("PRODIGY"), "swiss_roll", steps=2))
    >>> for _ in carry_out(run, on_publish=RunRecorder(store).save):
    ...     pass
    >>> store.load(run.key).settings == run.settings, len(store.load(run.key).history)
    (True, 2)
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._recordings: dict[str, Recording] = {}
        self._names: dict[str, str] = {}
        self._ends: dict[str, tuple[str, str, str, int]] = {}
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
            recording.save()
        elif recording.problem or self._ends.get(run.key) != _end(run):
            self._ends[run.key] = _end(run)
            recording.describe(renamed, about_run(run))
            recording.end(run.status, run.message)

    def rename(self, run: Run) -> None:
        """Give a run in the store the name that it has here, whoever put it there; nothing where it is not in the store.

        Raises:
            StoreError: it cannot be written.
        """
        with contextlib.suppress(KeyError):
            self._store.rename(run.key, run.name)

    def _begin(self, run: Run) -> Recording | None:
        try:
            recording = self._store.begin(run.name, run.history, about_run(run), id=run.key)
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
        return recording


def _end(run: Run) -> tuple[str, str, str, int]:
    """What tells one end of a run from another: a stopped one may go on."""
    return run.status, run.message, run.name, len(run.history)
