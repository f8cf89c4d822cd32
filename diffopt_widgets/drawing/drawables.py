"""Runs as a figure or a picture draws them: their curves, and a heading with settings and final losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from diffopt_widgets.catalogue.values import Value, format_value
from diffopt_widgets.drawing.curves import Curve
from diffopt_widgets.drawing.panels import DEFAULT_PANELS
from diffopt_widgets.drawing.picture import picture_svg, write_png, write_svg
from diffopt_widgets.settings.arguments import checked_list, checked_path
from diffopt_widgets.settings.variations import differences, words_of

if TYPE_CHECKING:
    from pathlib import Path

    from plotly.graph_objects import Figure

    from diffopt_widgets.records import History
    from diffopt_widgets.settings.plan import RunPlan

MOST_TOLD = 4
"""Largest number of runs whose final losses a heading lists; of more it has the best and the worst."""


class Drawable(Protocol):
    """Run that can be drawn: one of the bench, or one that was recorded elsewhere."""

    @property
    def name(self) -> str:
        """Its name in the legend."""

    @property
    def history(self) -> History:
        """Its records."""

    @property
    def plan(self) -> RunPlan | None:
        """Plan that it was trained with; None if not known."""

    @property
    def draws_schedule(self) -> bool:
        """True when the schedule's own value is drawn beside the applied rate."""

    @property
    def samples_per_step(self) -> float | None:
        """Number of examples in a step; None if not known."""

    @property
    def eval_after(self) -> float | None:
        """Evaluation loss after its last step; None if not known."""

    @property
    def final_loss(self) -> float | None:
        """Mean training loss of the last twentieth of its steps; None before the first."""


class Drawn:
    """Pictures of a run."""

    def figure(self: Drawable) -> Figure:
        """Return its loss and rates as an ordinary plotly figure."""
        from diffopt_widgets.drawing.figures import compare

        return compare([self])

    def to_png(self: Drawable, path: str | Path) -> Path:
        """Write its loss and rates as a PNG picture, which needs no further package; return the path.

        (`figure().write_image(path)` is plotly's own way and needs kaleido and a browser.)
        """
        return write_png(runs_svg([self]), checked_path("path", path))

    def to_svg(self: Drawable, path: str | Path) -> Path:
        """Write its loss and rates as an SVG picture; return the path."""
        return write_svg(runs_svg([self]), checked_path("path", path))


def runs_svg(runs: Sequence[Drawable]) -> str:
    """Draw some runs as one SVG picture."""
    return picture_svg(curves_of(runs), DEFAULT_PANELS, heading=heading(runs))


def checked_runs(runs: Iterable[Drawable]) -> list[Drawable]:
    """Return the runs as a list.

    Raises:
        SettingsError: these are no runs.
    """
    fix = "Write dw.compare([run, other]); dw.sweep(…) returns such a list."
    return checked_list("runs", runs, ("name", "history", "plan"), "runs", fix)


def curves_of(runs: Sequence[Drawable]) -> list[Curve]:
    """Return a curve for each run, with the settings in which it differs from the others."""
    return [
        Curve(
            run.name,
            run.history,
            schedule=run.draws_schedule,
            details=details,
            samples_per_step=run.samples_per_step,
        )
        for run, details in zip(runs, _details(runs), strict=True)
    ]


def heading(runs: Sequence[Drawable]) -> list[str]:
    r"""Return the lines above a figure: what was trained, with which settings in common, and how it ended.

    >>> import diffopt_widgets as dw
    >>> run = dw.train(dw.Settings("ADAMW", lr=1e-3), task="swiss_roll", steps=3, progress=False)
    >>> for line in heading([run]):
    ...     print(line.replace("\N{NO-BREAK SPACE}", " "))
    ADAMW
    ADAMW, lr 0.001, CONSTANT, swiss_roll, 3 steps, batch 256, seed 0, float32
    At the end: evaluation loss ..., training loss ... (mean of the last step)
    """
    plans = [run.plan for run in runs if run.plan is not None]
    tasks = {plan.task for plan in plans}
    title = (
        runs[0].name if len(runs) == 1 else f"{len(runs)} runs" + (f" on {plans[0].task}" if len(tasks) == 1 else "")
    )
    common = _common(runs, plans) if len(plans) == len(runs) else ""
    return [line for line in (title, common, _results(runs)) if line]


def _details(runs: Sequence[Drawable]) -> list[Mapping[str, str]]:
    plans = {id(run): run.plan for run in runs if run.plan is not None}
    different = dict(zip(plans, differences([*plans.values()]) if plans else [], strict=True))
    return [different.get(id(run), {}) for run in runs]


def _common(runs: Sequence[Drawable], plans: Sequence[RunPlan]) -> str:
    """Return the settings that all runs share, as far as a reader needs them: what is not at its default, and the plan."""
    settings = [_told(plan) for plan in plans]
    shared = {name: value for name, value in settings[0].items() if all(other.get(name) == value for other in settings)}
    batches = {
        None if run.samples_per_step is None else run.samples_per_step / plan.accumulation
        for run, plan in zip(runs, plans, strict=True)
    }
    batch = batches.pop() if len(batches) == 1 else None
    accumulation = plans[0].accumulation
    plan_words = (
        (plans[0].task, len({plan.task for plan in plans})),
        (f"{plans[0].steps:,}\N{NO-BREAK SPACE}steps", len({plan.steps for plan in plans})),
        (f"batch\N{NO-BREAK SPACE}{batch:g}" if batch else "", 1),
        (f"accumulation {accumulation}" if accumulation > 1 else "", len({plan.accumulation for plan in plans})),
        (f"seed\N{NO-BREAK SPACE}{plans[0].seed}", len({plan.seed for plan in plans})),
        (plans[0].dtype, len({plan.dtype for plan in plans})),
    )
    words = [_words(name, value if isinstance(value, str) else format_value(value)) for name, value in shared.items()]
    return ", ".join([*words, *(word for word, different in plan_words if word and different == 1)])


def _told(plan: RunPlan) -> dict[str, Value]:
    """Return the settings that a reader needs: optimizer, rate, schedule, and what is not at its default."""
    settings = plan.settings
    schedule: dict[str, Value] = {"schedule": str(settings.schedule)}
    return {"optimizer": settings.optimizer, "lr": settings.lr, **schedule, **settings.changed()}


def _words(name: str, text: str) -> str:
    """Return a value with its name, which no line break parts."""
    return words_of(name, text).replace(" ", "\N{NO-BREAK SPACE}")


def _results(runs: Sequence[Drawable]) -> str:
    if len(runs) == 1:
        return _result(runs[0])
    kind = "Evaluation" if all(run.eval_after is not None for run in runs) else "Training"
    losses = [run.eval_after if kind == "Evaluation" else run.final_loss for run in runs]
    known = [
        (loss, ", ".join(_words(*item) for item in details.items()) or run.name)
        for run, details, loss in zip(runs, _details(runs), losses, strict=True)
        if loss is not None and loss == loss  # noqa: PLR0124  # NaN differs from itself
    ]
    if not known:
        return ""
    if len(known) <= MOST_TOLD:
        return f"{kind} loss at the end: " + " · ".join(
            f"{loss:.4g}\N{NO-BREAK SPACE}({words})" for loss, words in known
        )
    (best, first), (worst, last) = min(known), max(known)
    return f"{kind} loss at the end: best {best:.4g}\N{NO-BREAK SPACE}({first}), worst {worst:.4g}\N{NO-BREAK SPACE}({last})"


def _result(run: Drawable) -> str:
    if run.final_loss is None:
        return ""
    tail = max(1, len(run.history) // 20)
    parts = [] if run.eval_after is None else [f"evaluation loss {run.eval_after:.4g}"]
    steps = "step" if tail == 1 else f"{tail} steps"
    parts.append(f"training loss {run.final_loss:.4g} (mean of the last {steps})")
    return f"At the end: {', '.join(parts)}"
