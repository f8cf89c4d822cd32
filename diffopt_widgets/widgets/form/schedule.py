"""Picture of the learning-rate schedule over a run."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets

from diffopt_widgets.catalogue.schedules import SCHEDULES, schedule_factor, warmup_steps
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.drawing.markup import escape
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings import Settings, as_settings

POINTS = 200
MOST_RESTARTS = 24
WIDTH, HEIGHT = 360.0, 104.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 8.0, 16.0, 18.0


def schedule_points(settings: Settings, steps: int) -> list[tuple[int, float]]:
    """Return the factor on the learning rate at up to a few hundred steps of a run, with both sides of every jump.

    >>> schedule_points(Settings("PRODIGY", schedule="LINEAR", warmup=2), 4)
    [(0, 0.0), (1, 0.5), (2, 1.0), (3, 0.5), (4, 0.0)]
    """
    count = min(steps, POINTS)
    steps_shown = {round(i * steps / count) for i in range(count + 1)}
    steps_shown |= {step + side for step in restarts(settings, steps) for side in (-1, 0)}
    steps_shown.add(warmup_steps(settings.warmup, steps))
    return [(step, _factor(settings, step, steps)) for step in sorted(steps_shown) if 0 <= step <= steps]


def restarts(settings: Settings, steps: int) -> list[int]:
    """Return the steps at which a cycle restarts; at most 24 of them, none for schedules without cycles.

    >>> restarts(Settings("PRODIGY", schedule="COSINE_WITH_HARD_RESTARTS", cycles=3), 300)
    [100, 200]
    """
    if not SCHEDULES[settings.schedule].uses_cycles:
        return []
    rising = min(steps, warmup_steps(settings.warmup, steps))
    cycles = settings.cycles
    fractions = (k / cycles for k in range(1, MOST_RESTARTS + 1) if k < cycles)
    return [-int(-(rising + fraction * (steps - rising)) // 1) for fraction in fractions]


def schedule_text(settings: Settings, steps: int) -> str:
    """Describe the schedule in a sentence, for those who do not see the picture.

    >>> schedule_text(Settings("PRODIGY", schedule="COSINE", warmup=0.1), 300)
    'Cosine over 300 steps: warm-up to step 30, ends at 0 × d × 1'
    """
    end = _factor(settings, steps, steps)
    rising = min(steps, warmup_steps(settings.warmup, steps))
    parts = [f"warm-up to step {rising}"] if rising else []
    if count := len(restarts(settings, steps)):
        parts.append(f"{count} restart{'s' if count > 1 else ''}")
    parts.append(f"ends at {end:.3g} × {_unit(settings)}")
    return f"{SCHEDULES[settings.schedule].title} over {steps} steps: {', '.join(parts)}"


def schedule_svg(settings: Settings, steps: int) -> str:
    """Draw the schedule as an SVG of 360 by 104 that takes its colours from the page."""
    rising = min(steps, warmup_steps(settings.warmup, steps))
    points = [(_x(step, steps), _y(factor)) for step, factor in schedule_points(settings, steps)]
    line = " ".join(f"{x:g},{y:g}" for x, y in _corners(points))
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    marks = "".join(
        f'<path class="dwf-restart" d="M{_x(step, steps)} {TOP}V{bottom}"/>' for step in restarts(settings, steps)
    )
    warm = f'<rect class="dwf-warm" x="{LEFT}" y="{TOP}" width="{_x(rising, steps) - LEFT:g}" height="{bottom - TOP}"/>'
    label = "factor on d" if settings.spec.estimates_rate else "learning rate"
    if (needed := settings.spec.lr.enabled_if) and not needed.holds(settings.values()):
        label += f", ignored: {needed.words()}"
    captions = [
        (LEFT - 4, TOP + 4, "end", _unit(settings, short=True)),
        (LEFT - 4, bottom + 1, "end", "0"),
        (LEFT, HEIGHT - 5, "start", "step 0"),
        (right, HEIGHT - 5, "end", f"{steps}"),
        (LEFT, 10, "start", label),
        (right, 10, "end", f"warm-up {rising} steps" if rising else ""),
    ]
    texts = "".join(
        f'<text x="{x:g}" y="{y:g}" text-anchor="{side}">{escape(text)}</text>' for x, y, side, text in captions
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dwf-schedule" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(schedule_text(settings, steps))}" font-size="10" fill="currentColor">'
        f'<g fill="currentColor" fill-opacity="0.08">{warm if rising else ""}</g>'
        f'<g stroke="currentColor" stroke-opacity="0.5" fill="none"><path d="M{LEFT} {TOP}V{bottom}H{right}"/></g>'
        f'<g stroke="currentColor" stroke-opacity="0.5" stroke-dasharray="2 3" fill="none">{marks}</g>'
        f'<polyline fill="none" stroke="var(--dwf-accent, #1976d2)" stroke-width="2" stroke-linejoin="round" points="{line}"/>'
        f'<g fill-opacity="0.75">{texts}</g></svg>'
    )


@printed_readably
class SchedulePreview(ipywidgets.HTML):  # type: ignore[misc]
    """Picture of a schedule, redrawn when `settings` or `steps` change.

    Args:
        settings: settings with the schedule to draw.
        steps: length of the run.

    >>> preview = SchedulePreview(Settings("PRODIGY", schedule="COSINE"), steps=300)
    >>> preview.settings = preview.settings.replace(schedule="LINEAR")
    >>> "Linear over 300 steps" in preview.value
    True
    """

    settings = traitlets.Instance(Settings)
    steps = traitlets.Int(300, min=1, max=10_000_000)

    def __init__(self, settings: Settings | str, *, steps: int = 300, layout: Any = None) -> None:
        super().__init__(settings=as_settings(settings), steps=steps, **({} if layout is None else {"layout": layout}))
        self._draw()

    def __repr__(self) -> str:
        return f"SchedulePreview({schedule_text(self.settings, self.steps)})"

    @traitlets.observe("settings", "steps")
    def _draw(self, _: object = None) -> None:
        self.value = f'<div style="max-width: 30em">{schedule_svg(self.settings, self.steps)}</div>'


def _corners(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out the points that lie on a level line between their neighbours."""
    inner = zip(points, points[1:], points[2:], strict=False)
    return [points[0], *(b for a, b, c in inner if not a[1] == b[1] == c[1]), points[-1]]


def _factor(settings: Settings, step: int, steps: int) -> float:
    return schedule_factor(
        settings.schedule,
        step,
        steps,
        warmup=settings.warmup,
        cycles=settings.cycles,
        min_factor=settings.min_factor,
    )


def _unit(settings: Settings, *, short: bool = False) -> str:
    rate = format_value(float(f"{settings.lr:.3g}"))
    if not settings.spec.estimates_rate:
        return rate
    return f"{rate}·d" if short else f"d × {rate}"


def _x(step: int, steps: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * step / steps, 1)


def _y(factor: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(1.0, factor), 1)
