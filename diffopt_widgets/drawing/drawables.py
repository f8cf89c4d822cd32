"""Runs as a figure or a picture draws them: their curves, and a heading with settings and final losses."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Protocol

from diffopt_widgets.drawing.curves import Curve
from diffopt_widgets.drawing.panels import DEFAULT_PANELS
from diffopt_widgets.drawing.picture import picture_svg, write_png, write_svg
from diffopt_widgets.settings.arguments import checked_list, checked_path
from diffopt_widgets.settings.variations import (
    differences,
    listed,
    not_comparable,
    setting_names,
    shared_words,
    words_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from plotly.graph_objects import Figure

    from diffopt_widgets.records import History
    from diffopt_widgets.settings.plan import RunPlan

MOST_TOLD = 4
"""Largest number of runs that a heading lists with their final losses; of more it has the best and the worst."""


class Drawable(Protocol):
    """Run that can be drawn: one of the bench, or one that was recorded elsewhere."""

    @property
    def name(self) -> str:
        """Its name in the legend."""

    @property
    def history(self) -> History:
        """Its records."""

    @property
    def status(self) -> str:
        """Outcome: `"done"` when it ended as planned."""

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
    settings = setting_names([run.plan for run in runs])
    return [
        Curve(
            run.name,
            run.history,
            schedule=run.draws_schedule,
            details=details,
            samples_per_step=run.samples_per_step,
            setting=setting,
        )
        for run, details, setting in zip(runs, _details(runs), settings, strict=True)
    ]


def heading(runs: Sequence[Drawable]) -> list[str]:
    r"""Return the lines above a figure: what was trained, with which settings in common, and how it ended.

    >>> import diffopt_widgets as dw
    >>> run = dw.train(dw.Settings("ADAMW", lr=1e-3), task="swiss_roll", steps=3, progress=False)
    >>> for line in heading([run]):
    ...     print(line.replace("\N{NO-BREAK SPACE}", " "))
    ADAMW
    ADAMW, lr 0.001, CONSTANT, swiss_roll, 3 steps, batch size 256, seed 0, float32
    At the end: evaluation loss ..., training loss ... (mean of the last step)
    """
    plans = [run.plan for run in runs if run.plan is not None]
    known = len(plans) == len(runs)
    tasks = {plan.task for plan in plans}
    on = f" on {plans[0].task}" if known and len(tasks) == 1 else ""
    title = runs[0].name if len(runs) == 1 else f"{_count(runs)}{on}"
    sizes = [run.samples_per_step for run in runs]
    batches = [
        None if size is None else round(size / plan.accumulation) for size, plan in zip(sizes, plans, strict=False)
    ]
    common = ", ".join(map(_whole, shared_words(plans, batches))) if known else ""
    if len(runs) == 1:
        return [line for line in (title, common, _result(runs[0])) if line]
    refusal = not_comparable(plans, sizes) if known else ""
    ranked = ("best", "worst") if known else ("lowest", "highest")
    losses = _losses(runs, () if refusal else ranked)
    results = [losses, f"Not compared: {refusal}" if refusal else "", *_without_loss(runs)]
    return [line for line in (title, common, ". ".join(part for part in results if part)) if line]


def _details(runs: Sequence[Drawable]) -> list[Mapping[str, str]]:
    plans = {id(run): run.plan for run in runs if run.plan is not None}
    different = dict(zip(plans, differences([*plans.values()]) if plans else [], strict=True))
    return [different.get(id(run), {}) for run in runs]


def _whole(words: str) -> str:
    """Return words that no line break parts."""
    return words.replace(" ", "\N{NO-BREAK SPACE}")


def _count(runs: Sequence[Drawable]) -> str:
    """Say how many runs there are, and of how many settings."""
    settings = [name for name in setting_names([run.plan for run in runs]) if name]
    sizes = {settings.count(name) for name in settings}
    if len(settings) < len(runs) or len(sizes) > 1:
        return f"{len(runs)} runs"
    each, count = sizes.pop(), len(set(settings))
    return f"{count} settings with {each} seeds each" if count > 1 else f"{settings[0]} with {each} seeds"


def _names(runs: Sequence[Drawable], *, leave_out: str = "") -> list[str]:
    """Name each run by the settings in which it differs, or as it is called."""
    return [
        ", ".join(_whole(words_of(*item)) for item in details.items() if item[0] != leave_out) or run.name
        for run, details in zip(runs, _details(runs), strict=True)
    ]


def _losses(runs: Sequence[Drawable], ranked: Sequence[str]) -> str:
    """Return the losses of the runs that ended as planned; of many only the ends, if there are words for these.

    Of several seeds it is their median with their range; a setting of which a seed diverged is neither best nor worst.
    """
    ended = [run for run in runs if _end(run) == _DONE]
    kind = "Evaluation" if all(run.eval_after is not None for run in ended) else "Training"
    settings = setting_names([run.plan for run in runs])
    several = any(settings)
    members: dict[Hashable, list[tuple[Drawable, str]]] = {}
    for i, (run, name) in enumerate(zip(runs, _names(runs, leave_out="seed" if several else ""), strict=True)):
        members.setdefault(settings[i] or i, []).append((run, name if name != run.name else settings[i] or name))
    known: list[tuple[float, str, bool]] = []
    pooled = False
    for of in members.values():
        losses = [loss for run, _ in of if _end(run) == _DONE and (loss := _loss(run, kind)) is not None]
        if not losses:
            continue
        words = of[0][1]
        low, high = f"{min(losses):.4g}", f"{max(losses):.4g}"
        if low != high:
            words += f", {low} to {high}"
        pooled = pooled or len(losses) > 1
        if len(losses) < len(of):
            words += f", {len(losses)} of {len(of)} seeds"
        whole = all(_end(run) != "Diverged" for run, _ in of)
        known.append((median(losses), f"{median(losses):.4g}\N{NO-BREAK SPACE}({words})", whole))
    told = [text for _, text, _ in known]
    if len(known) > MOST_TOLD:
        order = sorted((loss, text) for loss, text, whole in known if whole)
        ends = zip(ranked, (order[0][1], order[-1][1]) if order else (), strict=False)
        words = ", ".join(f"{word} {one}" for word, one in ends)
    else:
        words = " · ".join(told)
    of_seeds = ", median of the seeds" if pooled else ""
    return f"{kind} loss at the end{of_seeds}: {words}" if words else ""


def _loss(run: Drawable, kind: str) -> float | None:
    return run.eval_after if kind == "Evaluation" else run.final_loss


def _without_loss(runs: Sequence[Drawable]) -> list[str]:
    """Name the runs that have no loss at the end, by what became of them."""
    ends: dict[str, list[str]] = {}
    for run, name in zip(runs, _names(runs), strict=True):
        if (end := _end(run)) != _DONE:
            ends.setdefault(end, []).append(f"{name} ({_taken(run)})" if end == _GOING else name)
    return [
        f"{end}: {listed(names) if len(names) <= MOST_TOLD else f'{len(names)} runs'}" for end, names in ends.items()
    ]


_DONE, _GOING = "Done", "Not ended"
_ENDS = {"waiting": _GOING, "running": _GOING, "paused": _GOING, "failed": "Failed", "done": _DONE}
"""What became of a run by its status; of any other status are runs that were stopped or interrupted."""


def _end(run: Drawable) -> str:
    """Say what became of a run: whether it ended as planned with a loss, or why not."""
    losses = [loss for loss in (run.eval_after, run.final_loss) if loss is not None]
    if not all(map(math.isfinite, losses)):
        return "Diverged"
    end = _ENDS.get(run.status, "Did not finish")
    return "Did not finish" if end == _DONE and not losses else end


def _taken(run: Drawable) -> str:
    """Say how many steps a run has taken, and of how many."""
    of = "" if run.plan is None else f"{len(run.history):,} of "
    count = len(run.history) if run.plan is None else run.plan.steps
    return _whole(f"{of}{count:,} step{'s' * (count != 1)}")


def _result(run: Drawable) -> str:
    """Say what one run reached, and when."""
    if run.final_loss is None:
        return ""
    end = _end(run)
    if end in {"Diverged", "Failed"}:
        return f"{end} after {_taken(run)}"
    tail = max(1, len(run.history) // 20)
    parts = [] if run.eval_after is None else [f"evaluation loss {run.eval_after:.4g}"]
    steps = "step" if tail == 1 else f"{tail} steps"
    parts.append(f"training loss {run.final_loss:.4g} (mean of the last {steps})")
    return f"{'At the end' if end == _DONE else f'After {_taken(run)}'}: {', '.join(parts)}"
