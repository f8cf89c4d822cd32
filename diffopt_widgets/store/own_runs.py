"""Runs of the bench's own tasks, as a store keeps them: their plan and settings as JSON beside the history."""

from __future__ import annotations

import contextlib
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from diffopt_widgets.records import History
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.store.extras import Extra, pack_samples, unpack_samples
from diffopt_widgets.store.logged_run import LoggedRun
from diffopt_widgets.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from diffopt_widgets.store.run_writer import RunWriter
    from diffopt_widgets.store.summary import RunSummary

RESULTS = ("device", "output", "trace", "eval_before", "eval_after", "state_bytes", "fix")
"""What is kept of a run besides plan, name, status, message, history, samples and checkpoint."""
CHECKPOINT_SECONDS = 30.0
"""Shortest time between two checkpoints of a run: what a killed process has to train again."""
CHECKPOINT_COST = 1 / 100
"""Most that making them may take, as a part of the time."""
LARGEST_CHECKPOINT = 64 * 2**20
"""Bytes of a checkpoint above which it is not kept."""


def about_run(run: Run) -> dict[str, Any]:
    """What a store keeps about a run, as plain values."""
    plan = {field.name: getattr(run.plan, field.name) for field in fields(RunPlan)}
    plan["settings"] = json.loads(run.settings.to_json())
    results = {name: getattr(run, name) for name in RESULTS}
    results["fix"] = dict(run.fix)
    return {"optimizer": run.settings.optimizer, "task": run.plan.task, "plan": plan, "results": results}


def run_of(summary: RunSummary, history: History, extras: Mapping[str, Extra]) -> Run | LoggedRun:
    """The run that a store has: a `Run` where its plan is known and can be read by this version."""
    plan = summary.about.get("plan")
    if isinstance(plan, dict):
        # Else an option or a class of former days: what was recorded can be shown all the same.
        with contextlib.suppress(SettingsError, AttributeError, TypeError, KeyError, ValueError):
            run = _own_run(summary, history, plan, summary.about.get("results", {}))
            _give(run, summary.status, extras)
            return run
    return LoggedRun(
        *(summary.name, history, summary.id, summary.status, summary.message),
        *(summary.about, summary.note, summary.started),
    )


def _own_run(summary: RunSummary, history: History, plan: Mapping[str, Any], results: Mapping[str, Any]) -> Run:
    settings = Settings.from_json(json.dumps(plan["settings"]))
    run = Run(RunPlan(**{**plan, "settings": settings}), summary.name, key=summary.id, history=history)
    results = {"fix": results.get("mend", {}), **results}  # stores of version 0.1 say `mend`
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


def _give(run: Run, status: str, extras: Mapping[str, Extra]) -> None:
    """Give a run its samples, and what it needs to go on unless another process is training it."""
    if samples := extras.get("samples"):
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile):  # damaged: the run is whole without them
            run.samples, run.wanted = unpack_samples(samples.data)
    checkpoint = extras.get("checkpoint")
    if checkpoint and run.status == "stopped" and status != "running" and checkpoint.step <= len(run.history):
        run.keep(Checkpoint(checkpoint.step, checkpoint.data))
        if checkpoint.step < len(run.history):
            run.message += f" It can go on from step {checkpoint.step}."


def keep_beside(recording: RunWriter, run: Run) -> float:
    """Have a run's samples and what it needs to go on be written with the next save; gives the seconds to the next time.

    Nothing is kept to go on with where that cannot be: after the end, of some optimizers outside the catalogue, and above
    `LARGEST_CHECKPOINT`.
    """
    began = time.perf_counter()
    if run.samples:
        recording.attach("samples", Extra(max(run.samples), pack_samples(run.samples, run.wanted)))
    if run.status in {"done", "failed"}:
        recording.attach("checkpoint", None)
    elif checkpoint := _checkpoint(run):
        recording.attach("checkpoint", Extra(checkpoint.step, checkpoint.data))
    return max(CHECKPOINT_SECONDS, (time.perf_counter() - began) / CHECKPOINT_COST)


def _checkpoint(run: Run) -> Checkpoint | None:
    """What a run needs to go on from here; None where there is nothing, or where rows up to there are still to come."""
    training = run.kept
    if training is None or isinstance(training, Checkpoint):
        return training
    if training.taken > len(run.history):
        return None
    try:
        checkpoint = Checkpoint.of(training)
    except Exception:  # noqa: BLE001  # too little memory, an optimizer without a form: the training goes on all the same
        return None
    return checkpoint if len(checkpoint.data) <= LARGEST_CHECKPOINT else None
