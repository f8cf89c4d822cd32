"""Runs of the bench's own tasks in a store: their plan and settings as JSON, beside the history."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from diffopt_widgets.records import History
from diffopt_widgets.runs.run import Run, Status
from diffopt_widgets.settings import Settings, SettingsError
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.store.extras import Extra, pack_samples, unpack_samples
from diffopt_widgets.store.logged_run import LoggedRun
from diffopt_widgets.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from diffopt_widgets.store.run_writer import RunWriter
    from diffopt_widgets.store.summary import RunSummary
    from diffopt_widgets.tasks import Samples

RESULTS = ("device", "output", "trace", "eval_before", "eval_after", "state_bytes", "fix", "trained_with")
"""Attributes of a run that are stored besides plan, name, status, message, history, samples and checkpoint."""
CHECKPOINT_SECONDS = 30.0
"""Shortest time between two checkpoints of a run: a killed process loses about as much training."""
CHECKPOINT_COST = 1 / 100
"""Largest share of the training time that making checkpoints may take."""
LARGEST_CHECKPOINT = 64 * 2**20
"""Size in bytes above which a checkpoint is not stored."""


def about_run(run: Run) -> dict[str, Any]:
    """Return the facts that a store keeps about a run, as plain values."""
    plan = plan_values(run.plan)
    results = {name: getattr(run, name) for name in RESULTS}
    results["fix"] = dict(run.fix)
    results["trained_with"] = dict(run.trained_with)
    return {"optimizer": run.settings.optimizer, "task": run.plan.task, "plan": plan, "results": results}


def plan_values(plan: RunPlan) -> dict[str, Any]:
    """Return a plan as plain values, as a store keeps it."""
    values = {field.name: getattr(plan, field.name) for field in fields(RunPlan)}
    return values | {"settings": json.loads(plan.settings.to_json())}


def run_of(summary: RunSummary, history: History, extras: Mapping[str, Extra]) -> Run | LoggedRun:
    """Build the run from a store's data: a `Run` when its plan can be read here, else a `LoggedRun` that says why not."""
    plan, message = summary.about.get("plan"), summary.message
    if isinstance(plan, dict):
        # The plan may have an option or a class of an older version; its history can still be shown.
        try:
            return _own_run(summary, history, plan, extras)
        except SettingsError as error:
            message = f"{message} Its plan cannot be used here: {error}".strip()
        except (AttributeError, TypeError, KeyError, ValueError, OverflowError, RecursionError):
            message = f"{message} Its plan cannot be read.".strip()
    return LoggedRun(
        *(summary.name, history, summary.id, summary.status, message),
        *(summary.about, summary.note, summary.started),
    )


def _own_run(summary: RunSummary, history: History, plan: Mapping[str, Any], extras: Mapping[str, Extra]) -> Run:
    settings = Settings.from_json(json.dumps(plan["settings"]))
    planned = RunPlan(**{**plan, "settings": settings})
    results = summary.about.get("results", {})
    results = {"fix": results.get("mend", {}), **results}  # older stores say `mend`
    _check_results(results)
    status, message = _ending(summary, len(history), planned.steps)
    checkpoint = _usable_checkpoint(summary, status, len(history), extras)
    if checkpoint and checkpoint.step < len(history):
        message += f" It can go on from step {checkpoint.step}."
    samples, wanted = _samples(extras)
    run = Run(
        planned,
        summary.name,
        key=summary.id,
        status=status,
        message=message,
        history=history,
        samples=samples,
        wanted=wanted,
        **{name: results[name] for name in RESULTS if name in results},
    )
    run.keep(checkpoint)
    return run


def _check_results(results: Mapping[str, Any]) -> None:
    """Raise TypeError for results of another kind than `about_run` writes."""
    kinds = dict.fromkeys(("device", "output", "trace"), str) | dict.fromkeys(("fix", "trained_with"), dict)
    for name in RESULTS:
        value = results.get(name)
        if value is not None and not isinstance(value, kinds.get(name, (int, float))):
            raise TypeError(name)
    if not all(isinstance(text, str) for text in (results.get("trained_with") or {}).values()):
        raise TypeError("trained_with")


def _ending(summary: RunSummary, taken: int, planned: int) -> tuple[Status, str]:
    """Status and message of a copy: nothing here is training it."""
    match summary.status:
        case "done" | "stopped" | "failed":
            return summary.status, summary.message
        case "running":
            return "stopped", f"A copy after {taken} steps: it was still being trained."
        case _:
            return "stopped", f"{summary.message} {taken} of {planned} steps are here."


def _samples(extras: Mapping[str, Extra]) -> tuple[Mapping[int, Samples], Samples | None]:
    if samples := extras.get("samples"):
        with contextlib.suppress(ValueError):  # damaged samples: the run is shown without
            return unpack_samples(samples.data)
    return {}, None


def _usable_checkpoint(
    summary: RunSummary, status: Status, taken: int, extras: Mapping[str, Extra]
) -> Checkpoint | None:
    """Checkpoint with which a copy can go on; None where there is none, or while another process is training the run."""
    kept = extras.get("checkpoint")
    usable = kept and status == "stopped" and summary.status != "running" and kept.step <= taken
    return Checkpoint(kept.step, kept.data) if kept and usable else None


def update_extras(writer: RunWriter, run: Run) -> float:
    """Hand a run's samples and checkpoint to its writer for the next save; return the seconds until the next call is due.

    There is no checkpoint after the end, for some optimizers outside the catalogue, and above `LARGEST_CHECKPOINT`.
    """
    began = time.perf_counter()
    if run.samples:
        writer.set_extra("samples", Extra(max(run.samples), pack_samples(run.samples, run.wanted)))
    if run.status in {"done", "failed"}:
        writer.set_extra("checkpoint", None)
    elif checkpoint := _checkpoint(run):
        writer.set_extra("checkpoint", Extra(checkpoint.step, checkpoint.data))
    return max(CHECKPOINT_SECONDS, (time.perf_counter() - began) / CHECKPOINT_COST)


def _checkpoint(run: Run) -> Checkpoint | None:
    """Make a checkpoint of a run; None when it has no training to resume or its last rows are not published yet."""
    training = run.kept
    if training is None or isinstance(training, Checkpoint):
        return training
    if training.taken > len(run.history):
        return None
    try:
        checkpoint = Checkpoint.of(training)
    except Exception:  # noqa: BLE001  # too little memory, or an optimizer that cannot be saved: the training goes on
        return None
    return checkpoint if len(checkpoint.data) <= LARGEST_CHECKPOINT else None
