"""How a run ended, in words, and the values that would fix it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffopt_widgets.catalogue.schedules import warmup_steps
from diffopt_widgets.catalogue.values import Value, format_value

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from diffopt_widgets.catalogue.schema import OptimizerSpec
    from diffopt_widgets.records import StepRecord
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.settings import Settings

SETTLED = 0.05
"""How far from its last value an estimate may be, as a part of it, and count as settled."""


_USUAL_RATE = 1e-3
"""A rate at which Adafactor trains like AdamW."""


class Diverged(ArithmeticError):
    """The loss is no longer a finite number; the message says when, as in "at step 7"."""


def while_finite(records: Sequence[StepRecord]) -> Sequence[StepRecord]:
    """The records up to the first whose loss is no number, that one kept.

    How many steps more were taken before anyone looked depends on the machine, and they say nothing.
    """
    ends = (place for place, record in enumerate(records, 1) if not math.isfinite(float(record.loss)))
    return records[: next(ends, len(records))]


def divergence(run: Run) -> Diverged | None:
    """Whether and when a run's loss, or the one it was evaluated with, was no number any more."""
    if len(run.history) and not (finite := np.isfinite(run.history.column("loss"))).all():
        return Diverged(f"at step {run.history.step[finite.argmin()]}")
    if run.eval_after is not None and not math.isfinite(run.eval_after):
        return Diverged(f"after step {len(run.history)}")
    return None


def summary(run: Run) -> str:
    """What a run that is done or stopped came to, in one line.

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
        parts.append(_what_d_did(run))
    if run.steps_per_second:
        parts.append(f"{run.steps_per_second:.3g} steps/s on the {run.device.upper()}")
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def settled_at(values: ArrayLike) -> int:
    """Index of the first value from which on all lie within `SETTLED` of the last one.

    >>> settled_at([0.1, 0.5, 0.97, 1.04, 1.0])
    2
    """
    array = np.asarray(values, dtype=np.float64)
    away = np.abs(array - array[-1]) > SETTLED * abs(array[-1])
    return int(np.flatnonzero(away)[-1]) + 1 if away.any() else 0


def _what_d_did(run: Run) -> str:
    d = run.history.column("d")
    if d.ndim == 1:
        return _course(run, "d", d)
    return ", ".join(_course(run, f"d of {group}", d[:, i]) for i, group in enumerate(run.history.groups))


def _course(run: Run, name: str, d: NDArray[np.float64]) -> str:
    last = _short(d[-1])
    if (d == d[0]).all():
        return f"{name} never left d0 ({last}){_with_what(run)}"
    first = settled_at(d)
    if first < len(d) - math.ceil(len(d) / 20):
        return f"{name} settled at {last} by step {run.history.step[first]}"
    return f"{name} still moving, at {last}"


def _with_what(run: Run) -> str:
    """What is known to hold an estimate at its start, where it is so here."""
    settings, usual = run.settings, run.settings.spec.lr.default
    found = []
    if isinstance(usual, float) and settings.lr < usual / 10:
        found.append(f"a learning rate of {_short(settings.lr)} where {format_value(usual)} is meant")
    warmup = warmup_steps(settings.warmup, run.plan.steps)
    if warmup >= len(run.history):
        found.append(f"a warm-up of {warmup} steps that was not over")
    return f" with {' and '.join(found)}" if found else ""


def explain(run: Run, error: Exception) -> tuple[str, Mapping[str, Value]]:
    """Why a run failed, in words, and values to set so that it would go better; none where they are not known."""
    if isinstance(error, Diverged):
        advice, fix = _gentler(run.settings)
        return f"Failed {error} of {run.plan.steps}: the loss was no longer a number. {advice}", fix
    text = " ".join(str(error).split()) or "no message"
    fix = getattr(error, "fix", {})  # SettingsError and MissingBackend have one; importing that here would load torch
    return f"{type(error).__name__} after {len(run.history)} steps: {text}", fix


def _gentler(settings: Settings) -> tuple[str, dict[str, Value]]:
    """What to change so that the same run would not diverge, by the kind of optimizer: the advice, and its values."""
    options = settings.options
    if options.get("relative_step"):
        fix: dict[str, Value] = {"relative_step": False, "lr": _USUAL_RATE}
        if options["warmup_init"]:
            fix["warmup_init"] = False  # a part of relative_step
        if settings.schedule == "ADAFACTOR":
            fix["schedule"] = "CONSTANT"  # leaves the rate to relative_step
        advice = f"turn relative_step off and give a learning rate, such as {format_value(_USUAL_RATE)}"
        return f"Adafactor set its own rate too high: {advice}.", fix
    usual, estimates = _usual_rate(settings.spec), settings.spec.estimates_rate
    growth = ", or a growth_rate of 1.02" if "growth_rate" in options else ""
    gentler = _rounded(settings.lr / (3 if estimates else 10))
    if usual < gentler:
        advice = f"try a learning rate of {format_value(usual)}, the one to begin with"
        return f"The rate is far too high: {advice}.", {"lr": usual}
    if "d_coef" in options and not options.get("d_limiter"):  # with the limiter a small d_coef stops the estimate
        coefficient = float(options["d_coef"] or 1.0)
        half = min(_rounded(coefficient / 2), 1.0)
        words = "half of d_coef" if coefficient <= 2 else "the default d_coef"
        return f"The estimated rate is too high: try {words} ({format_value(half)}){growth}.", {"d_coef": half}
    if estimates:
        advice = f"try a third of the learning rate ({format_value(gentler)}){growth}"
        return f"The estimated rate is too high: {advice}.", {"lr": gentler}
    advice = f"try a tenth of it (learning rate {format_value(gentler)})"
    return f"The rate is probably too high: {advice}.", {"lr": gentler}


def _usual_rate(spec: OptimizerSpec) -> float:
    """The learning rate to begin with: the recommended one, else the default."""
    advised = spec.lr.advice.value if spec.lr.advice else None
    usual = spec.lr.default if advised is None else advised
    return float(usual) if isinstance(usual, float | int) else _USUAL_RATE


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _short(value: float) -> str:
    """Two digits, as in 5.1e-3 or 0.12."""
    if value and not 0.01 <= abs(value) < 1000 and math.isfinite(value):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.2g}"
