"""Space: the plans of the runs that a sweep compares, from the values to try by name."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from diffopt_widgets.catalogue.run_options import RUN_OPTIONS
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.values import ValueProblem, safe_repr, two_digits
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.runs.found_rate import found_rate, takes_rate
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings import Fault, SettingsError
from diffopt_widgets.settings.arguments import check_kind, wrong_kind
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.tasks import task_key

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.option import Option
    from diffopt_widgets.settings import Settings

Axis: TypeAlias = "Sequence[Any] | Range"  # Any: values of options, of whatever kind
"""Values of one option to try."""
Over: TypeAlias = "Mapping[str, Any] | Sequence[Mapping[str, Any]]"  # Any: an `Axis`, or one by name for each optimizer
"""What a sweep varies: values by name, or the changes of each run."""

MOST_RUNS = 1000
"""Number of runs above which a sweep is refused unless so many are asked for."""

_EXAMPLE = 'Write {"lr": [1e-4, 1e-3]}.'
_PLAN_FIELDS = frozenset(field.name for field in fields(RunPlan)) - {"settings"}
_NAMES = frozenset({"optimizer", "task", "schedule", "device", "dtype"})
"""What is varied by names, so that there is no range of them."""

_REPEATS = 200
"""Number of draws that may repeat an earlier one before a random search ends early."""


@printed_readably
@dataclass(frozen=True)
class Range:
    """All values between two ends, for a sweep: a grid takes `points` of them, a search draws from them.

    Args:
        low: the smallest value.
        high: the largest value.
        points: how many values a grid takes, both ends among them.
        log: whether to space and draw them by their logarithm; None does what the option's own slider does, so that
            learning rates are spaced by factors.

    Raises:
        SettingsError: the ends are no numbers in order, or too few points are asked for.

    >>> Range(1e-4, 1e-2, points=3, log=True).grid()
    [0.0001, 0.001, 0.01]
    >>> Range(0.8, 0.9, points=3).grid()
    [0.8, 0.85, 0.9]
    """

    low: float
    high: float
    points: int = 5
    log: bool | None = None

    def __post_init__(self) -> None:
        if not all(_is_finite(end) for end in (self.low, self.high)):
            raise self._fault("its two ends must be finite numbers")
        if not self.low < self.high:
            raise self._fault("the first end must be below the second")
        if self.log and self.low <= 0:
            raise self._fault("a logarithmic range must begin above 0")
        if not isinstance(self.points, int) or isinstance(self.points, bool) or self.points < 2:
            raise self._fault("points must be a whole number, at least 2")

    def _fault(self, problem: str) -> SettingsError:
        text = f"Range({safe_repr(self.low)}, {safe_repr(self.high)})"
        return SettingsError((Fault("over", None, f"{text}: {problem}", "", "Write dw.Range(1e-4, 1e-2, points=5)."),))

    def of(self, option: Option | None) -> Range:
        """Return the range with the scale of an option, where it has none of its own."""
        if self.log is not None:
            return self
        return replace(self, log=bool(option is not None and option.log and self.low > 0))

    def grid(self) -> list[float]:
        """Return `points` values at equal distances, or at equal factors on a logarithmic range."""
        shares = [place / (self.points - 1) for place in range(self.points)]
        return [self.low, *(self._at(share) for share in shares[1:-1]), self.high]

    def draw(self, source: random.Random) -> float:
        """Draw a value."""
        return self._at(source.random())

    def _at(self, share: float) -> float:
        straight = self.low * (1 - share) + self.high * share  # whose difference may be too large for a float
        value = self.low * (self.high / self.low) ** share if self.log else straight
        return min(max(float(f"{value:.12g}"), self.low), self.high)  # 0.001, where floating point gives 0.0009999…


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def checked_over(over: object) -> Over:
    """Return what a sweep varies with plain lists, also where it was given arrays, ranges or generators.

    Raises:
        SettingsError: it is neither values by name nor a list of changes.
    """
    if isinstance(over, Mapping):
        return {name: _checked_axis(name, values) for name, values in over.items()}
    points = _listed(over)
    if not points or not all(isinstance(point, Mapping) for point in points):
        raise wrong_kind("over", over, "a dict of lists of values, or a list of dicts", _EXAMPLE)
    for name in itertools.chain.from_iterable(points):
        _check_name(name)
    return [dict(point) for point in points]


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise wrong_kind("over", name, "the name of an option", _EXAMPLE)


def _checked_axis(name: object, values: Any) -> Axis | Mapping[str, Mapping[str, Axis]]:  # Any: whatever was passed
    _check_name(name)
    if isinstance(values, Range):
        if name in _NAMES:
            problem = f"{name} has no values between two others"
            raise SettingsError((Fault("over", None, problem, "", f'Write {{"{name}": […]}} with its values.'),))
        return values
    if name == "optimizer" and isinstance(values, Mapping) and values:
        return {key: _own_axes(key, own) for key, own in values.items()}
    listed = _listed(values)
    if listed is None:
        problem = f"{name} has one value, and a list of values is wanted"
        raise SettingsError((Fault("over", values, problem, "", f'Write {{"{name}": [{safe_repr(values)}, …]}}.'),))
    if not listed:
        raise SettingsError((Fault("over", None, f"{name} has no values", "", _EXAMPLE),))
    return listed


def _own_axes(optimizer: Any, own: Any) -> Mapping[str, Axis]:  # Any: whatever was passed
    if not isinstance(own, Mapping) or "optimizer" in own:
        example = 'Write {"optimizer": {"ADAMW": {"lr": [1e-4, 1e-3]}, "PRODIGY": {"d_coef": [0.5, 1.0]}}}.'
        raise wrong_kind(f"over, for {optimizer}", own, "a dict of lists of values", example)
    axes = {name: _checked_axis(name, values) for name, values in own.items()}
    return {name: axis for name, axis in axes.items() if not isinstance(axis, Mapping)}


def _listed(values: Any) -> list[Any] | None:  # Any: lists and arrays of many packages
    """Return several values as a list of plain ones; None for a single value."""
    if isinstance(values, str | bytes | Mapping | AbstractSet) or not isinstance(values, Iterable):
        return None
    if hasattr(values, "tolist"):  # numpy, torch, pandas
        plain = values.tolist()
        return plain if isinstance(plain, list) else None
    return list(values)


def vary(plan: RunPlan, over: Over) -> list[RunPlan]:
    """Plans for every combination of the values of `over`; in all else they equal `plan`.

    `over` may name options, parts of the plan, and `optimizer`. Another optimizer keeps the schedule and, of the values that
    are not at their defaults, those of options that it has too. It keeps the learning rate only where both optimizers
    estimate their own or neither does, since otherwise the rate means something else. An option that only some of the
    optimizers have is varied for those; a dict in place of the list of optimizers gives each of them values of its own. A
    list of dicts in place of all this gives the changes of each run.

    Raises:
        SettingsError: a value cannot be used, with every fault of every plan.

    >>> from diffopt_widgets import Settings
    >>> [p.settings.options["d_coef"] for p in vary(RunPlan(Settings("PRODIGY")), {"d_coef": [0.5, 1.0]})]
    [0.5, 1.0]
    >>> adamw = RunPlan(Settings("ADAMW", lr=4e-3, schedule="COSINE"))
    >>> [p.settings for p in vary(adamw, {"optimizer": ["ADAMW_8BIT", "PRODIGY"]})]
    [Settings('ADAMW_8BIT', lr=0.004, schedule='COSINE'), Settings('PRODIGY', lr=1.0, schedule='COSINE')]
    >>> [p.settings for p in vary(RunPlan(Settings("ADAMW")), {"optimizer": ["ADAMW", "PRODIGY"], "d_coef": [0.5, 2.0]})]
    [Settings('ADAMW', lr=0.001), Settings('PRODIGY', lr=1.0, d_coef=0.5), Settings('PRODIGY', lr=1.0, d_coef=2.0)]
    """
    return _plans(plan, _grid(plan, over) if isinstance(over, Mapping) else over)


def draw(plan: RunPlan, over: Over, trials: int, seed: int = 0) -> list[RunPlan]:
    """Plans with values drawn at random from those of `over`, no two alike; fewer than `trials` where there are no more.

    Raises:
        SettingsError: a value cannot be used, or `over` lists the runs itself.

    >>> from diffopt_widgets import Settings
    >>> drawn = draw(RunPlan(Settings("ADAMW")), {"lr": Range(1e-4, 1e-2)}, 3)
    >>> len(drawn), all(1e-4 <= plan.settings.lr <= 1e-2 for plan in drawn)
    (3, True)
    """
    if not isinstance(over, Mapping):
        raise _not_to_draw_from()
    source = random.Random(seed)  # noqa: S311  # not for secrets
    if not _has_range(over):
        grid = list(dict.fromkeys(vary(plan, over)))
        return source.sample(grid, min(trials, len(grid)))
    plans: list[RunPlan] = []
    repeats = 0
    while len(plans) < trials and repeats < _REPEATS:
        drawn = _plans(plan, [_drawn(plan, over, source)])
        new = [one for one in drawn if one not in plans]
        repeats = 0 if new else repeats + 1
        plans += new
    return plans


def _not_to_draw_from() -> SettingsError:
    problem = "the runs are listed one by one, so there is nothing to draw from"
    return SettingsError((Fault("over", None, problem, "", 'Write {"lr": dw.Range(1e-4, 1e-2)}.'),))


def axes_by_optimizer(plan: RunPlan, over: Over) -> dict[str | None, dict[str, Axis]]:
    """Return the values to try by name for each optimizer that is varied, or for None where it is not; every one is checked.

    A range has the scale of its option, and whole numbers as its ends where its option takes only those.

    Raises:
        SettingsError: a value, or an end of a range, cannot be used, with every fault; or `over` lists the runs itself.

    >>> from diffopt_widgets import Settings
    >>> axes_by_optimizer(RunPlan(Settings("ADAMW")), {"optimizer": ["ADAMW", "PRODIGY"], "d_coef": [0.5, 2.0]})
    {'ADAMW': {}, 'PRODIGY': {'d_coef': [0.5, 2.0]}}
    """
    if not isinstance(over, Mapping):
        raise _not_to_draw_from()
    found: dict[str | None, dict[str, Axis]] = {}
    faults: dict[str, Fault] = {}
    for key in over.get("optimizer", [None]):
        settings = _settings_of(plan, key)
        axes = {name: _whole(option_of(settings, name), axis) for name, axis in _axes_of(plan, over, key).items()}
        for name, axis in axes.items():
            for value in (axis.low, axis.high) if isinstance(axis, Range) else axis:
                faults.update(
                    {str(fault): fault for fault in _faults_of(replace(plan, settings=settings), name, value)}
                )
        found[None if key is None else settings.optimizer] = axes
    if faults:
        raise SettingsError(tuple(faults.values()))
    return found


def _whole(option: Option | None, axis: Axis) -> Axis:
    """Return the values with a range between whole numbers where the option takes only those."""
    if not isinstance(axis, Range) or option is None or option.kind != "int":
        return axis
    return replace(axis, low=_rounded(option, axis.low), high=_rounded(option, axis.high))


def _faults_of(plan: RunPlan, name: str, value: object) -> tuple[Fault, ...]:
    """Return what is wrong with a value by itself; what it must not meet depends on the others."""
    spec = plan.settings.spec
    uses = {**{use.name: use for use in (spec.lr, *spec.uses)}, **TRAINING, **RUN_OPTIONS}
    try:
        if name in uses:
            uses[name].check(value)
        else:
            plan_at(plan, {name: value})
    except ValueProblem as problem:
        return (Fault.of(name, value, problem, uses[name].allowed()),)
    except SettingsError as error:
        return error.faults
    return ()


def _has_range(over: Mapping[str, Any]) -> bool:
    """Check whether one of the values is drawn from a range."""
    return any(
        isinstance(axis, Range) or (isinstance(axis, Mapping) and any(map(_has_range, axis.values())))
        for axis in over.values()
    )


def with_seeds(plans: Iterable[RunPlan], seeds: int | Sequence[int]) -> list[RunPlan]:
    """Plans with each of several seeds, the seeds of one plan side by side; a number takes so many from the plan's own on.

    Raises:
        SettingsError: these are no seeds.

    >>> from diffopt_widgets import Settings
    >>> [plan.seed for plan in with_seeds([RunPlan(Settings("ADAMW"), seed=7)], 3)]
    [7, 8, 9]
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds >= 1:
        return [replace(plan, seed=plan.seed + number) for plan in plans for number in range(seeds)]
    listed = _listed(seeds)
    if not listed or isinstance(seeds, bool):
        raise wrong_kind("seeds", seeds, "a number of seeds, or a list of seeds", "Write seeds=5.")
    return [replace(plan, seed=seed) for plan in plans for seed in listed]


def option_of(settings: Settings, name: str) -> Option | None:
    """Return the option that a name means in these settings or in a run; None where there is none."""
    if name in RUN_OPTIONS:
        return RUN_OPTIONS[name].option
    return next((use.option for use in (settings.spec.lr, *settings.spec.uses) if use.name == name), None)


def _settings_of(plan: RunPlan, optimizer: object) -> Settings:
    """Return the settings of an optimizer in place of the plan's."""
    return plan.settings if optimizer is None else _changed(plan.settings, {"optimizer": optimizer})


def _axes_of(plan: RunPlan, over: Mapping[str, Any], optimizer: object) -> dict[str, Axis]:  # Any: a checked `Over`
    """Return the values to try with one optimizer: those of its own, and those of `over` for options that it has."""
    settings = _settings_of(plan, optimizer)
    optimizers = over.get("optimizer", ())
    others = [_settings_of(plan, key) for key in optimizers]
    own = optimizers[optimizer] if isinstance(optimizers, Mapping) else {}
    axes = {}
    for name, axis in {**over, **own}.items():
        if name == "optimizer":
            continue
        only_elsewhere = not _takes(settings, name) and any(_takes(other, name) for other in others)
        if name in own or not only_elsewhere:
            axes[name] = axis.of(option_of(settings, name)) if isinstance(axis, Range) else axis
    return axes


def _takes(settings: Settings, name: str) -> bool:
    return name in _PLAN_FIELDS or name in settings.values()


def _grid(plan: RunPlan, over: Mapping[str, Any]) -> list[dict[str, Any]]:  # Any: a checked `Over`
    """Return every combination as the changes of a run: the optimizer varies slowest, the last name fastest."""
    points: list[dict[str, Any]] = []
    for key in over.get("optimizer", [None]):
        axes = _axes_of(plan, over, key)
        for values in itertools.product(*(_grid_values(plan, key, *axis) for axis in axes.items())):
            chosen = {} if key is None else {"optimizer": key}
            points.append(chosen | dict(zip(axes, values, strict=True)))
    return points


def _grid_values(plan: RunPlan, optimizer: object, name: str, axis: Axis) -> Sequence[Any]:
    if not isinstance(axis, Range):
        return axis
    return list(dict.fromkeys(_rounded(option_of(_settings_of(plan, optimizer), name), value) for value in axis.grid()))


def _rounded(option: Option | None, value: float) -> float:
    return round(value) if option is not None and option.kind == "int" else value


def _drawn(plan: RunPlan, over: Mapping[str, Any], source: random.Random) -> dict[str, Any]:  # Any: a checked `Over`
    """Draw the changes of a run."""
    key = source.choice(list(over["optimizer"])) if "optimizer" in over else None
    point: dict[str, Any] = {} if key is None else {"optimizer": key}
    settings = _settings_of(plan, key)
    for name, axis in _axes_of(plan, over, key).items():
        if isinstance(axis, Range):
            point[name] = _rounded(option_of(settings, name), axis.draw(source))
        else:
            point[name] = source.choice(axis)
    return point


def _plans(plan: RunPlan, points: Iterable[Mapping[str, Any]]) -> list[RunPlan]:
    """Make the plan of each point; the faults of all of them are raised at once."""
    plans: list[RunPlan] = []
    faults: dict[str, Fault] = {}
    for point in points:
        try:
            plans.append(plan_at(plan, point))
        except SettingsError as error:
            faults.update({str(fault): fault for fault in error.faults})
    if faults:
        raise SettingsError(tuple(faults.values()))
    return plans


def plan_at(plan: RunPlan, point: Mapping[str, Any]) -> RunPlan:  # Any: values of options
    """Return the plan with the changes of one run.

    Raises:
        SettingsError: a value cannot be used, or two of them not together.
    """
    if "task" in point:
        point = {**point, "task": task_key(point["task"])}
    settings = _changed(plan.settings, {name: value for name, value in point.items() if name not in _PLAN_FIELDS})
    return replace(plan, settings=settings, **{name: value for name, value in point.items() if name in _PLAN_FIELDS})


def _changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:  # Any: Settings checks them
    spec = settings.replace(changes.get("optimizer")).spec
    if spec.key == settings.optimizer:
        return settings.replace(**changes)
    rate = {"lr"} if spec.estimates_rate == settings.spec.estimates_rate else set()
    shared = rate | {use.name for use in spec.uses}
    return settings.replace(
        **{**{name: value for name, value in settings.changed().items() if name in shared}, **changes}
    )


def with_rate_of(run: Run, optimizer: str = "ADAMW") -> Settings:
    """Settings of an optimizer with the learning rate that a run found for itself, to train it beside that run.

    The rate is `Run.applied_plateau`, the level that the applied rate reached and held, in two digits. The schedule stays,
    and so do the other values that are not at their default, where the optimizer has such an option. It is a proposal:
    what the run's optimizer found suits its own update, and AdamW's may want another rate. Where that was measured, about
    half of the proposals lay within a factor of 2 of the best rate of AdamW (docs/prodigys-rate.md).

    Args:
        run: an ended run of an optimizer that estimates its rate, such as Prodigy.
        optimizer: the optimizer to use the rate in.

    Raises:
        SettingsError: the run has not found a rate, and it says why; or there is no such optimizer.

    >>> from diffopt_widgets import train
    >>> run = train("PRODIGY", "swiss_roll", 100, progress=False)
    >>> with_rate_of(run).optimizer, with_rate_of(run).lr == float(f"{run.applied_plateau:.2g}")
    ('ADAMW', True)
    """
    check_kind("run", run, Run, "a run", "Give what dw.train(…) returned.")
    found = found_rate(run)
    if found.value is None:
        raise SettingsError((Fault("run", None, found.words, "", "Train PRODIGY to its end, and give that run."),))
    settings = _changed(run.settings, {"optimizer": optimizer, "lr": two_digits(found.value)})
    if settings.spec.estimates_rate or not takes_rate(settings):
        problem = "it sets its rate itself, and cannot use that of another"
        raise SettingsError((Fault("optimizer", settings.optimizer, problem, "", 'Write optimizer="ADAMW".'),))
    return settings
