"""Test of whether an option has an effect, by training with it.

A small model is trained twice, with an option at its default and changed. Everything else is equal, and the weights are
compared to the bit after each step. If the two paths differ, the option is live. If they stay the same under every
circumstance of `probe.model.CIRCUMSTANCES`, it is inert. `probe.table` tries all options; `catalogue.evidence` holds the
findings.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.catalogue.evidence import Finding, Seen
from diffopt_widgets.catalogue.schema import REQUIREMENTS, OptimizerSpec, Standing, Use, Values, split_argument
from diffopt_widgets.catalogue.values import Value
from diffopt_widgets.optimizers.factory import (
    MissingBackend,
    argument_value,
    build_optimizer,
    build_schedule,
    load_class,
)
from diffopt_widgets.probe.divided import parting
from diffopt_widgets.probe.model import CIRCUMSTANCES, PLAIN, Circumstance, parameters, same_bits, walk
from diffopt_widgets.probe.values import (
    ProbeError,
    changed_value,
    changed_values,
    elsewhere,
    needed_values,
)
from diffopt_widgets.probe.words import listed, raised, words_of
from diffopt_widgets.settings import Fault, Settings, SettingsError, check_values, default_values
from diffopt_widgets.training.sharded import missing

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

STEPS = 40
ESTIMATE_STEPS = 80
"""Steps that an estimate of the rate needs to leave its start."""
FIRST_STEPS = 4
"""Steps that are tried first: of the options with an effect, nineteen in twenty show it within them."""
PROVIDED = {"cpu": {"bfloat16", "distributed"}, "cuda": {"bfloat16", "cuda"}}
"""Requirements in `Use.requires` that a probe on each device meets, under some circumstance."""
ROUNDING = 1e-6
"""Largest difference after all steps between two ways to do the same step."""


class NotApplicable(Exception):
    """Error when an optimizer cannot be trained under some circumstance."""


class Prober:
    """Prober of the options of one optimizer. All options share the paths at the defaults, which are walked once.

    >>> from diffopt_widgets.catalogue import spec
    >>> prober = Prober(spec("SGD"))
    >>> prober.find(spec("SGD").use("momentum")).words
    '0 → 0.49: the weights first differ at step 2'
    """

    def __init__(self, entry: OptimizerSpec, device: str = "cpu") -> None:
        self.entry = entry
        self.device = device
        self.uses = (entry.lr, *entry.uses)
        self.steps = ESTIMATE_STEPS if entry.estimates_rate else STEPS
        self._paths: dict[tuple[Settings, str], list[torch.Tensor]] = {}
        self._repeated: dict[tuple[Settings, str], int] = {}
        """Number of steps of each path that have been walked twice."""

    def find(self, use: Use) -> Finding:
        """Try one option.

        Raises:
            ProbeError: it cannot be tried, or its changed path raises or runs into NaN.
        """
        if use.requires and use.requires not in PROVIDED[self.device]:
            return Finding(Seen.UNTRIED, f"not yet: it needs {REQUIREMENTS[use.requires]}")
        try:
            if use.standing is Standing.UNAVAILABLE:
                return self._refused(use)
            if use.requires == "distributed":
                return self._compared_divided(use)
            purpose = elsewhere(self.entry, use)
            return self._unchanged(use, purpose) if purpose else self._compared(use)
        except MissingBackend:
            return Finding(Seen.UNTRIED, f"not yet: it needs {self.entry.package}")

    # An option that the catalogue offers: built through Settings, as in a run.

    def _compared(self, use: Use) -> Finding:
        """Train with each value under each circumstance until there is a difference."""
        values = changed_values(self.entry, use)
        tried: dict[str, None] = {}
        trouble: NotApplicable | None = None
        for circumstance in CIRCUMSTANCES:
            for value in values:
                try:
                    default, changed = self._pair(use, value, circumstance)
                    step = self._parting(use, default, changed, circumstance)
                except NotApplicable as error:
                    trouble = trouble or error
                    continue
                except MissingBackend:
                    if not use.requires:
                        raise
                    continue
                if step is not None:
                    shown = self._shown(use, [value], default, circumstance)
                    return Finding(Seen.LIVE, f"{shown}: the weights first differ at step {step}", step)
                tried[circumstance.words] = None
        if trouble and PLAIN.words not in tried:
            raise ProbeError(f"{self.entry.key}.{use.name}: {trouble}") from trouble
        shown = self._shown(use, values, self._pair(use, values[0], PLAIN)[0], PLAIN)
        also = [words for words in tried if words]
        words = f"{shown}: the same to the bit after {self.steps} steps"
        return Finding(Seen.INERT, f"{words}, also with {listed(also)}" if also else words)

    def _compared_divided(self, use: Use) -> Finding:
        """Train in two processes with the option at its default and changed."""
        if lack := missing():
            return Finding(Seen.UNTRIED, f"not yet: {lack}")
        value = changed_value(self.entry, use)
        default, changed = self._pair(use, value, PLAIN)
        step = parting(default, changed, self.steps)
        shown = f"{self._shown(use, [value], default, PLAIN)}, in two processes that share the weights"
        if step is None:
            return Finding(Seen.INERT, f"{shown}: the same to the bit after {self.steps} steps")
        return Finding(Seen.LIVE, f"{shown}: the weights first differ at step {step}", step)

    def _unchanged(self, use: Use, purpose: str) -> Finding:
        """Train with an option that must not change the weights, up to rounding."""
        value = changed_value(self.entry, use)
        try:
            default, changed = self._pair(use, value, PLAIN)
            step = self._parting(use, default, changed, PLAIN)
        except NotApplicable as error:
            raise ProbeError(f"{self.entry.key}.{use.name}: {error}") from error
        shown = self._shown(use, [value], default, PLAIN)
        if step is None:
            return Finding(Seen.ELSEWHERE, f"{shown}: the same to the bit after {self.steps} steps; {purpose}")
        *_, last = islice(self._walk(changed, PLAIN), self.steps)
        if (last - self._path(default, PLAIN, self.steps)[-1]).abs().max() < ROUNDING:
            return Finding(
                Seen.ELSEWHERE, f"{shown}: the same up to rounding after {self.steps} steps; {purpose}", step
            )
        return Finding(Seen.LIVE, f"{shown}: the weights first differ at step {step}", step)

    def _pair(self, use: Use, value: Value, circumstance: Circumstance) -> tuple[Settings, Settings]:
        """Make the settings of both sides, which differ in this option alone.

        Other values that a rule requires are set on both. Raises NotApplicable when a rule forbids one of the sides.
        """
        fixed = {**needed_values(self.entry, use), **{n: v for n, v in circumstance.values.items() if n != use.name}}
        missing = fixed.keys() - default_values(self.entry).keys()
        if missing:
            raise NotApplicable(f"it has no {', '.join(sorted(missing))}")
        common: dict[str, Value] = dict(fixed)
        while True:
            fixes: dict[str, Value] = {}
            for side in ({}, {use.name: value}):
                values, faults = check_values(self.entry, {**common, **side})
                for fault in faults:
                    fixes |= self._fix(fault, values, {use.name, *common})
            if not fixes:
                return _settings(self.entry, common), _settings(self.entry, {**common, use.name: value})
            common |= fixes

    def _fix(self, fault: Fault, values: Values, fixed: Collection[str]) -> Values:
        """Find a fix for a fault that leaves the fixed options alone: the rule's own fix, or another of its options."""
        if fault.fix and not fault.fix.keys() & set(fixed):
            return fault.fix
        for rule in self.entry.rules:
            if rule.message == fault.problem:
                for use in self.uses:
                    if use.name in rule.options and use.name not in fixed:
                        fix = {use.name: changed_value(self.entry, use)}
                        if not rule.broken({**values, **fix}):
                            return fix
        raise NotApplicable(str(fault))

    def _parting(self, use: Use, default: Settings, changed: Settings, circumstance: Circumstance) -> int | None:
        """Find the first step after which the weights differ to the bit; None when they never do.

        Most options show a difference within the first steps, so only these are walked at first.
        """
        for steps in (FIRST_STEPS, self.steps):
            step = self._parting_within(steps, use, default, changed, circumstance)
            if step is not None:
                return step
        return None

    def _parting_within(
        self, steps: int, use: Use, default: Settings, changed: Settings, circumstance: Circumstance
    ) -> int | None:
        before, after = self._path(default, circumstance, steps), self._walk(changed, circumstance)
        for step, was in enumerate(before, start=1):
            try:
                now = next(after)
            except MissingBackend:
                raise
            except SettingsError as error:
                raise NotApplicable(str(error)) from error
            except (Exception, SystemExit) as error:
                raise ProbeError(f"{self.entry.key}.{use.name}: {changed!r} raises {raised(error)}") from error
            if not same_bits(was, now):
                self._check_repeats(default, circumstance, step)
                if not torch.isfinite(now).all():
                    raise ProbeError(
                        f"{self.entry.key}.{use.name}: {changed!r} runs into NaN at step {step}. "
                        "Give a gentler value in CHANGED of probe/values.py."
                    )
                return step
        return None

    def _path(self, default: Settings, circumstance: Circumstance, steps: int) -> list[torch.Tensor]:
        """Return all weights after each of the first steps at the defaults.

        These steps are walked before the changed path begins, since a back end may have a generator that both would share.
        """
        key = (default, circumstance.words)
        if len(self._paths.get(key, ())) < steps:
            path = self._walked(default, circumstance, steps)
            if not torch.isfinite(path[-1]).all():
                raise NotApplicable("its defaults run into NaN")
            self._paths[key] = path
        return self._paths[key][:steps]

    def _check_repeats(self, default: Settings, circumstance: Circumstance, steps: int) -> None:
        """Check that the settings alone decide the path at the defaults: walked again, it is the same.

        This is needed only when another path differs from it, since an equal path has shown it already.
        """
        key = (default, circumstance.words)
        if self._repeated.get(key, 0) < steps:
            again = self._walked(default, circumstance, steps)
            if not all(map(same_bits, again, self._paths[key])):
                raise NotApplicable("its defaults do not walk the same path twice")
            self._repeated[key] = steps

    def _walked(self, default: Settings, circumstance: Circumstance, steps: int) -> list[torch.Tensor]:
        try:
            return list(islice(self._walk(default, circumstance), steps))
        except MissingBackend:
            raise
        except Exception as error:
            raise NotApplicable(f"its defaults raise {raised(error)}") from error

    def _walk(self, settings: Settings, circumstance: Circumstance) -> Iterator[torch.Tensor]:
        return walk(partial(_build, settings, self.steps), circumstance, self.device)

    def _shown(self, use: Use, values: Sequence[Value], default: Settings, circumstance: Circumstance) -> str:
        """Describe the change and its conditions: "off → on, with weight_decay at 0.05"."""
        was, *now = (words_of(use.option, value) for value in (default.values()[use.name], *values))
        options = {other.name: other.option for other in self.uses}
        conditions = [circumstance.words] if circumstance.words else []
        conditions += [
            f"{name} at {words_of(options.get(name), value)}"
            for name, value in default.changed().items()
            if name not in {use.name, *circumstance.values}
        ]
        under = f", with {listed(conditions)}" if conditions else ""
        return f"{was} → {listed(now, 'or')}{under}"

    # An option that is unavailable in the catalogue: built without Settings, which refuses it.

    def _refused(self, use: Use) -> Finding:
        cls = load_class(self.entry)
        argument, _ = split_argument(use.argument or use.name)
        if argument not in inspect.signature(cls).parameters:
            words = f"not possible: {cls.__name__} of {self.entry.package} has no such argument"
            return Finding(Seen.UNAVAILABLE, words)
        value = changed_value(self.entry, use)
        shown = f"{words_of(use.option, use.default)} → {words_of(use.option, value)}"
        before = list(islice(walk(partial(self._by_hand, {}), PLAIN, self.device), self.steps))
        try:
            after = list(islice(walk(partial(self._by_hand, {use.name: value}), PLAIN, self.device), self.steps))
        except SystemExit:
            return Finding(Seen.UNAVAILABLE, f"{shown}: ends the whole process")
        except Exception as error:  # noqa: BLE001  # the error is the finding, whatever its type
            return Finding(Seen.UNAVAILABLE, f"{shown}: raises {raised(error)}")
        start = torch.cat([param.detach().flatten() for param in parameters(device=self.device)])
        if same_bits(start, after[-1]) and not same_bits(start, before[-1]):
            return Finding(Seen.UNAVAILABLE, f"{shown}: the weights never move")
        for step, (was, now) in enumerate(zip(before, after, strict=True), start=1):
            if not same_bits(was, now):
                return Finding(Seen.LIVE, f"{shown}: the weights first differ at step {step}", step)
        return Finding(Seen.INERT, f"{shown}: the same to the bit after {self.steps} steps")

    def _by_hand(self, values: Values, groups: list[dict[str, Any]]) -> tuple[torch.optim.Optimizer, None]:
        arguments = self.entry.arguments(Settings(self.entry.key).lr, {**default_values(self.entry), **values})
        arguments |= {name: value for name, value in values.items() if self.entry.use(name).argument is None}
        keywords = {name: argument_value(value) for name, value in arguments.items()}
        return load_class(self.entry)(groups, **keywords), None  # type: ignore[arg-type]  # each back end has its own signature


def _settings(entry: OptimizerSpec, values: dict[str, Any]) -> Settings:
    return Settings(entry.key, **values)


def _build(
    settings: Settings, steps: int, groups: list[dict[str, Any]]
) -> tuple[torch.optim.Optimizer, LRScheduler | None]:
    optimizer = build_optimizer(settings, groups)
    plain = settings.schedule == "CONSTANT" and settings.warmup == 0
    return optimizer, None if plain else build_schedule(settings, optimizer, steps)
