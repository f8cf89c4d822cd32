"""Outcome of a run as text, and the values that would fix a failed one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.catalogue.values import Value, format_value, short, two_digits
from diffopt_widgets.execution.observations import causes_of_start
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.runs.found_rate import risen_losses

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from diffopt_widgets.catalogue.schema import OptimizerSpec
    from diffopt_widgets.records import StepRecord
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings import Settings

SETTLED = 0.05
"""Largest relative distance from the last value at which an estimate counts as settled."""

_TOLD = 10
"""Most failed runs in a warning."""
_USUAL_RATE = 1e-3
"""Learning rate to suggest where neither the catalogue nor a signature names one."""


@printed_readably
class Diverged(ArithmeticError):
    """Error for a loss that is no longer finite; its message says when, as in "at step 7"."""


class RunFailed(RuntimeWarning):
    """Warning that a run has failed; its text says why, and what to try."""


def warn_of_failed(runs: Sequence[Run], *, stacklevel: int = 3) -> None:
    """Warn of the runs that failed, if any; by default in the name of the caller's caller."""
    failed = [run for run in runs if run.status == "failed"]
    if not failed:
        return
    texts = [_failure_text(run) for run in failed[:_TOLD]]
    if len(failed) > _TOLD:
        texts.append(f"and {len(failed) - _TOLD} more")
    text = texts[0] if len(runs) == 1 else "\n".join([f"{len(failed)} of {len(runs)} runs failed.", *texts])
    warnings.warn(text, RunFailed, stacklevel=stacklevel)


def _failure_text(run: Run) -> str:
    """Say why a run failed, and how to go on."""
    more = " `run.trace` has the traceback." if run.trace and "Diverged" not in run.trace else ""
    todo = f" In code: settings.replace({', '.join(f'{n}={v!r}' for n, v in run.fix.items())})." if run.fix else ""
    message = run.message if run.message.endswith((".", "!", "?")) else f"{run.message}."
    return f"{run.name}: {message}{todo}{more}"


def until_not_finite(records: Sequence[StepRecord]) -> Sequence[StepRecord]:
    """Records up to and including the first non-finite loss.

    The number of steps taken after it depends on the machine, and these steps mean nothing.
    """
    ends = (count for count, record in enumerate(records, 1) if not math.isfinite(float(record.loss)))
    return records[: next(ends, len(records))]


def summary(run: Run) -> str:
    """Summary of a run that is done or stopped, in one line.

    >>> from diffopt_widgets import Settings, train
    >>> summary(train(Settings("PRODIGY"), task="swiss_roll", steps=60, device="cpu", progress=False))
    'Evaluation loss 0.57... → ..., d settled at ... by step ..., ... steps/s on the CPU'
    """
    parts = []
    if run.status == "stopped":
        steps = len(run.history)
        parts.append(f"Stopped after {steps} of {run.plan.steps} steps" if steps else "Stopped before the first step")
    if len(run.history) and run.eval_before is not None and run.eval_after is not None:
        parts.append(f"evaluation loss {run.eval_before:.3g} → {run.eval_after:.3g}")
    if "d" in run.history.names():
        parts.append(_d_text(run))
    if run.steps_per_second:
        parts.append(f"{run.steps_per_second:.3g} steps/s on the {run.device.upper()}")
    text = ", ".join(parts)
    worse = risen(run)
    return text[:1].upper() + text[1:] + (f". {worse}" if worse else "")


def risen(run: Run) -> str:
    """Sentences about a run whose loss ended far above where it began, and what to try; empty for any other run."""
    losses = risen_losses(run)
    if losses is None:
        return ""
    advice, _ = _advice(run.settings)
    return f"The loss ended far above where it began ({losses[0]:.3g} → {losses[1]:.3g}). {advice}"


def settled_at(values: ArrayLike) -> int:
    """Index of the first value from which on all lie within `SETTLED` of the last one.

    >>> settled_at([0.1, 0.5, 0.97, 1.04, 1.0])
    2
    """
    array = np.asarray(values, dtype=np.float64)
    away = np.abs(array - array[-1]) > SETTLED * abs(array[-1])
    return int(np.flatnonzero(away)[-1]) + 1 if away.any() else 0


def _d_text(run: Run) -> str:
    d = run.history.column("d")
    if d.ndim == 1:
        return _course_text(run, "d", d)
    return ", ".join(_course_text(run, f"d of {group}", d[:, i]) for i, group in enumerate(run.history.groups))


def _course_text(run: Run, name: str, d: NDArray[np.float64]) -> str:
    last = short(d[-1])
    if (d == d[0]).all():
        return f"{name} never left d0 ({last}){_cause_text(run)}"
    first = settled_at(d)
    if first < len(d) - math.ceil(len(d) / 20):
        return f"{name} settled at {last} by step {run.history.step[first]}"
    return f"{name} still moving, at {last}"


def _cause_text(run: Run) -> str:
    """Known causes, in this run, of an estimate that stays at its start; empty where there is none."""
    causes = causes_of_start(run)
    return f" with {' and '.join(causes)}" if causes else ""


def explain(run: Run, error: Exception) -> tuple[str, Mapping[str, Value]]:
    """Message on why a run failed, and values to set so that it would go better; no values where none are known."""
    if isinstance(error, Diverged):
        advice, fix = _advice(run.settings)
        return f"Failed {error} of {run.plan.steps}: the loss was no longer a finite number. {advice}", fix
    text = " ".join(str(error).split()) or "no message"
    if text.endswith("without overflow"):  # torch's words for a factor of a step, such as d, that is too large
        advice, fix = _advice(run.settings)
        return (
            f"Failed after {len(run.history)} steps of {run.plan.steps}: the size of a step was too large for a 32-bit number. {advice}",
            fix,
        )
    fix = getattr(
        error, "fix", {}
    )  # SettingsError and MissingBackend have one; importing MissingBackend would load torch
    return f"{type(error).__name__} after {len(run.history)} steps: {text}", fix


def _advice(settings: Settings) -> tuple[str, Mapping[str, Value]]:
    """Advice that keeps the same run from diverging, and its values."""
    values, spec = settings.values(), settings.spec
    remedy = next((remedy for remedy in spec.remedies if remedy.applies(values)), None)
    usual, gentler = _usual_rate(spec), two_digits(settings.lr / (3 if spec.estimates_rate else 10))
    too_high = usual < gentler and not (remedy and remedy.ignores_lr)
    if too_high and not (remedy and remedy.any_rate):
        advice = f"try a learning rate of {format_value(usual)}, the one to begin with"
        return f"The rate is far too high: {advice}.", {"lr": usual}
    if remedy:
        better = {**remedy.values(values), **({"lr": usual} if too_high else {})}
        advice = remedy.advice.format_map({name: format_value(value) for name, value in better.items()})
        also = f", and the learning rate, which is high too, at {format_value(usual)}" if too_high else ""
        return f"{remedy.cause}: {advice}{also}.", better
    advice = f"try a tenth of it (learning rate {format_value(gentler)})"
    return f"The rate is probably too high: {advice}.", {"lr": gentler}


def _usual_rate(spec: OptimizerSpec) -> float:
    """Learning rate to begin with: the recommended preset's, which suits models of the bench's size, or else the default."""
    presets = (preset.values["lr"] for preset in spec.presets if preset.key == "recommended" and "lr" in preset.values)
    usual = next(presets, spec.lr.default)
    return float(usual) if isinstance(usual, float | int) else _USUAL_RATE
