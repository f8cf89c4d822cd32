"""Learning rate range test: a short run whose rate grows from step to step shows which rates train, and which are too high.

Leslie Smith, "Cyclical Learning Rates for Training Neural Networks", https://arxiv.org/abs/1506.01186; fast.ai's `lr_find`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.catalogue.values import short, two_digits
from diffopt_widgets.execution.outcome import until_not_finite
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.records import History
from diffopt_widgets.settings import Fault, Settings, SettingsError, as_settings
from diffopt_widgets.settings.arguments import check_number
from diffopt_widgets.settings.plan import RunPlan, lists_run_options
from diffopt_widgets.tasks import task_key
from diffopt_widgets.training.environment import check_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from plotly.graph_objects import Figure
    from typing_extensions import Unpack

    from diffopt_widgets.catalogue.run_options import RunKeywords
    from diffopt_widgets.tasks import Task
    from diffopt_widgets.training.loop import Training

    Column: TypeAlias = NDArray[np.float64]

FEWEST_STEPS = 20
"""Smallest number of steps of a range test."""

WIDTH = 1 / 40
"""Standard deviation of the smoothing, as a share of the steps."""

CERTAIN = 4.0
"""Number of standard errors of the smoothed loss by which it must fall for the fall to count as seen."""

BELOW_LOWEST = 3.0
"""Factor from the proposed rate to the one with the lowest loss, which is close to those that are too high."""

_FETCHED = 10
"""Number of steps after which losses are fetched from the device."""


@printed_readably
@dataclass(frozen=True, eq=False)
class RangeTest:
    """Outcome of a range test; print it for its words, `figure()` draws it.

    A rate that is not known is None: no fall of the loss was seen that its scatter does not explain.
    """

    plan: RunPlan
    """What was trained; its settings have the lowest rate."""
    history: History = field(repr=False)
    """Records of the steps taken, with the learning rate and the rate that each step applied."""

    @property
    def rates(self) -> Column:
        """Learning rate of each step."""
        return self.history.column("lr")[:, 0]

    @property
    def applied(self) -> Column | None:
        """Largest rate that each step applied in any group; None where it is not known."""
        if "applied_lr" not in self.history.names():
            return None
        applied = self.history.column("applied_lr")
        known = np.isfinite(applied).any(axis=1)
        return np.nanmax(applied, axis=1) if len(applied) and known.all() else None

    @property
    def smoothed(self) -> Column:
        """Training loss of each step, smoothed over its neighbours; NaN where it is not finite."""
        return _smoothed(self.history.column("loss"), WIDTH * self.plan.steps)

    @property
    def steepest(self) -> float | None:
        """Learning rate at which the smoothed loss fell fastest."""
        place = self._lowest_place
        if place is None:
            return None
        return float(self.rates[int(np.diff(self.smoothed[: place + 1]).argmin())])

    @property
    def lowest(self) -> float | None:
        """Learning rate at which the smoothed loss was lowest."""
        place = self._lowest_place
        return None if place is None else float(self.rates[place])

    @property
    def diverges(self) -> float | None:
        """Learning rate from which on the loss was far above the first one, or not finite; None where it never was."""
        smoothed = self.smoothed
        near = np.flatnonzero(_near(smoothed))
        from_here = int(near[-1]) + 1 if len(near) else 0
        return float(self.rates[from_here]) if from_here < len(smoothed) else None

    @property
    def proposed(self) -> float | None:
        """Learning rate to begin with, in two digits: a third of the one with the lowest loss."""
        return None if self.lowest is None else two_digits(self.lowest / BELOW_LOWEST)

    @property
    def settings(self) -> Settings | None:
        """Settings of the test with the proposed rate."""
        return None if self.proposed is None else self.plan.settings.replace(lr=self.proposed)

    @property
    def _lowest_place(self) -> int | None:
        """Place of the lowest smoothed loss; None where no fall was seen."""
        smoothed, loss = self.smoothed, self.history.column("loss")
        known = np.isfinite(smoothed)
        if not known.any():
            return None
        place = int(np.nanargmin(smoothed))
        before = loss[: place + 1]
        width = WIDTH * self.plan.steps
        scatter = float(np.diff(before).std() / math.sqrt(2)) if len(before) > 2 else math.inf
        error = scatter / math.sqrt(max(2 * math.sqrt(math.pi) * width, 1))  # of a mean with Gaussian weights
        both = math.sqrt(3) * error  # the first one has neighbours at one side only
        return place if smoothed[0] - smoothed[place] > CERTAIN * both else None

    def __str__(self) -> str:
        plan, rates = self.plan, self.rates
        steps = f"{len(rates)} of {plan.steps}" if len(rates) < plan.steps else f"{plan.steps}"
        head = f"Range test of {plan.settings.optimizer} on {plan.task}: {steps} steps"
        if not len(rates):
            return f"{head}. No rate to propose: there is no record."
        head += f", learning rate {short(rates[0])} to {short(rates[-1])}."
        end = f" The loss was far above the first one from {short(self.diverges)} on." if self.diverges else ""
        if self.proposed is None or self.steepest is None or self.lowest is None:
            return f"{head} No rate to propose: the loss did not fall by more than it scatters.{end}"
        first, least = self.smoothed[0], np.nanmin(self.smoothed)
        seen = (
            f" The smoothed loss fell fastest at {short(self.steepest)}, and was lowest at {short(self.lowest)} "
            f"({first:.3g} → {least:.3g})."
        )
        if self._lowest_place == len(rates) - 1:
            end += " It was still falling at the last rate; a higher end may show more."
        return f"{head}{seen}{end} Proposed: {short(self.proposed)}, a third of the rate with the lowest loss.{self._applied_words()}"

    def _applied_words(self) -> str:
        """Say what the steps applied at the proposed rate, where that is another number."""
        if self.applied is None or self.proposed is None:
            return " What the steps applied is not known." if self.proposed else ""
        if self.proposed < self.rates[0]:
            return " It lies below the rates of this test, so what steps apply at it is not known; a smaller low would show it."
        at = float(np.interp(math.log(self.proposed), np.log(self.rates), self.applied))
        return f" At it the steps applied {short(at)}." if short(at) != short(self.proposed) else ""

    def figure(self) -> Figure:
        """Draw the loss over the learning rate, on a logarithmic axis, with what was read from it."""
        from plotly.graph_objects import Figure, Scatter

        from diffopt_widgets.drawing.markup import plotly_text

        rates, smoothed = self.rates, self.smoothed
        applied = np.full(len(rates), np.nan) if self.applied is None else self.applied
        hover = "learning rate %{x:.2e}<br>loss %{y:.4g}<br>applied %{customdata:.2e}<extra></extra>"
        faint = Scatter(
            x=rates,
            y=self.history.column("loss"),
            customdata=applied,
            hovertemplate=hover,
            mode="lines",
            line={"color": "rgba(31,119,180,.3)", "width": 1},
            name="loss of a step",
        )
        line = Scatter(x=rates, y=smoothed, mode="lines", line={"color": "#1f77b4", "width": 2}, name="smoothed")
        line.hoverinfo = "skip"
        drawn = Figure([faint, line])
        known = smoothed[np.isfinite(smoothed)]
        if len(known):  # what lies far above the first loss would flatten all else
            low, high = float(known.min()), float(max(known[0], np.percentile(known, 75)))
            room = (high - low) / 4 or 1.0
            drawn.update_yaxes(range=[low - room, high + 2 * room])
        for rate, words, color in (
            (self.steepest, "falls fastest", "#7f7f7f"),
            (self.proposed, f"proposed {short(self.proposed or 0)}", "#2ca02c"),
            (self.lowest, "lowest", "#7f7f7f"),
            (self.diverges, "far above the first loss", "#d62728"),
        ):
            if rate:
                look = {"color": color, "dash": "solid" if rate == self.proposed else "dot"}
                note = {"textangle": -90, "xanchor": "right", "yanchor": "top", "font": {"color": color, "size": 11}}
                drawn.add_vline(rate, line=look, annotation={"text": words, **note})
        title = f"Range test of {self.plan.settings.optimizer} on {self.plan.task}"
        drawn.update_xaxes(type="log", title_text="learning rate", exponentformat="e")
        drawn.update_yaxes(title_text="training loss", exponentformat="e")
        return drawn.update_layout(
            template="plotly_white",
            height=380,
            font_size=11,
            title={"text": f"<b>{plotly_text(title)}</b>", "font": {"size": 12}},
            legend={"orientation": "h", "y": -0.2},
            margin={"l": 60, "r": 20, "t": 50, "b": 60},
        )


@lists_run_options
def lr_find(
    settings: Settings | str,
    task: str | Task = RunOptions.task,
    steps: int = 100,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    **options: Unpack[RunKeywords],
) -> RangeTest:
    """Find a learning rate by a range test: train while the rate grows from step to step, and see where the loss falls.

    It is for optimizers that need a rate; one that finds its own is refused. The schedule and its warm-up are left out. The
    test ends where the loss is far above the first one: more than twice as far from 0, or not finite.

    Args:
        settings: the optimizer with its options, or its name for the defaults; its learning rate does not matter.
        options: options of the run by name, as in `train`.
        low, high: learning rates of the first and the last step; the steps between them grow by one factor.

    Raises:
        SettingsError: an argument cannot be used, or the optimizer does not train with a rate that it is given.
        UnknownTask: there is no such task.

    >>> found = lr_find("ADAMW", "swiss_roll", 60)
    >>> 1e-4 < found.proposed < found.lowest, found.settings.lr == found.proposed
    (True, True)
    """
    settings = as_settings(settings)
    _check_takes_rate(settings)
    check_number("low", low)
    check_number("high", high)
    if not 0 < low < high:
        problem = "the last rate must be above the first one, and both above 0"
        raise SettingsError((Fault("high", high, problem, "", "Write low=1e-6, high=1.0."),))
    settings.replace(lr=high)  # raises where it takes no such rate
    plan = RunPlan.of(settings.replace(lr=float(low), schedule="CONSTANT", warmup=0), task_key(task), steps, **options)
    if plan.steps < FEWEST_STEPS:
        raise SettingsError((Fault("steps", steps, "too few to see where a loss falls", f"{FEWEST_STEPS} or more"),))
    check_runs([plan])
    found = RangeTest(plan, _trained(plan, high))
    applied = found.applied
    if applied is not None and len(applied) > 2 and not _follows(found.rates, applied):
        problem = (
            f"its steps applied {short(applied[0])} to {short(applied[-1])} while its learning rate went from "
            f"{short(found.rates[0])} to {short(found.rates[-1])}, so there is no rate to look for"
        )
        raise SettingsError((Fault("settings", None, problem, ""),))
    return found


def _check_takes_rate(settings: Settings) -> None:
    """Check that an optimizer trains with a rate that it is given.

    Raises:
        SettingsError: it finds its own.
    """
    needed = settings.spec.lr.enabled_if
    if settings.spec.estimates_rate:
        problem = f"{settings.optimizer} finds its rate itself, and its learning rate only scales that"
        todo = "Train it, and dw.with_rate_of(run) puts what it found into AdamW."
    elif needed is not None and not needed.holds(settings.values()):
        problem, todo = f"{settings.optimizer} sets its rate itself", f"It takes a learning rate {needed.words()}."
    else:
        return
    raise SettingsError((Fault("settings", None, problem, "", todo),))


def _trained(plan: RunPlan, high: float) -> History:
    """Train with a growing rate, until the loss is far above the first one."""
    from torch.optim.lr_scheduler import LambdaLR

    from diffopt_widgets.training.loop import Training, fetch

    training: Training = Training(plan)
    growth = (high / plan.settings.lr) ** (1 / (plan.steps - 1))
    training.schedule = LambdaLR(training.optimizer, lambda step: growth**step)
    history = History(training.group_names)
    steps = training.steps()
    while taken := list(itertools.islice(steps, _FETCHED)):
        records = fetch(taken)
        finite = until_not_finite(records)
        history.extend(finite)
        smoothed = _smoothed(history.column("loss"), WIDTH * plan.steps)
        if len(finite) < len(records) or not _near(smoothed)[-1]:
            break
    return history


def _near(loss: Column) -> NDArray[np.bool_]:
    """Return which losses are finite and at most twice as far from 0 as the first one."""
    near: NDArray[np.bool_] = loss - loss[:1] <= abs(loss[:1])
    return near


def _smoothed(loss: Column, width: float) -> Column:
    """Return the means of a column with Gaussian weights of this standard deviation; without lag, unlike a running mean."""
    finite = np.isfinite(loss)
    distance = np.arange(len(loss))[:, None] - np.arange(len(loss))
    weights = np.exp(-0.5 * (distance / width) ** 2) * finite
    with np.errstate(over="ignore", invalid="ignore"):
        means: Column = weights @ np.where(finite, loss, 0.0) / np.maximum(weights.sum(axis=1), 1e-300)
    return np.where(finite, means, np.nan)


def _follows(rates: Column, applied: Column) -> bool:
    """Return whether the applied rate grew with the learning rate, at least as its square root."""
    return bool(applied[-1] > applied[0] * math.sqrt(rates[-1] / rates[0]))
