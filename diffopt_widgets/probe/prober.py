"""The probe: whether an option does anything, by trying it.

A small model is trained twice, with an option at its default and changed, everything else equal, and the weights are
compared to the bit after each step. An option whose two paths part is live. One whose paths stay together under every
circumstance of `probe_model.CIRCUMSTANCES` is inert. `probe_table` tries them all; `catalogue.probed` keeps what was seen.
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

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

STEPS = 40
ESTIMATE_STEPS = 80
"""As many as it takes for an estimate of the rate to leave its start."""
FIRST_STEPS = 4
"""So many are walked at first: of the options that part, nineteen in twenty have parted by then."""
PROVIDED = {"cpu": {"bfloat16"}, "cuda": {"bfloat16", "cuda"}}
"""What `Use.requires` may ask for and a probe on each device has, under one circumstance or another."""
ROUNDING = 1e-6
"""What two ways to do the same step may differ by after all steps."""


class NotApplicable(Exception):
    """An optimizer cannot be trained under some circumstance."""


class Prober:
    """Tries the options of one optimizer. Paths at the defaults are walked once and shared by all options.

    >>> from diffopt_widgets.catalogue import spec
    >>> prober = Prober(spec("SGD"))
    >>> prober.find(spec("SGD").use("momentum")).words
    '0 → 0.49: the weights first differ at step 2'
    """

    def __init__(self, found: OptimizerSpec, device: str = "cpu") -> None:
        self.found = found
        self.device = device
        self.uses = (found.lr, *found.uses)
        self.steps = ESTIMATE_STEPS if found.estimates_rate else STEPS
        self._paths: dict[tuple[Settings, str], list[torch.Tensor]] = {}
        self._repeated: dict[tuple[Settings, str], int] = {}
        """How many steps of a path have been walked twice."""

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
            purpose = elsewhere(self.found, use)
            return self._unchanged(use, purpose) if purpose else self._compared(use)
        except MissingBackend:
            return Finding(Seen.UNTRIED, f"not yet: it needs {self.found.package}")

    # An option that the catalogue offers: through Settings, as a run takes it.

    def _compared(self, use: Use) -> Finding:
        """Train with one value after the other, under one circumstance after the other, until a difference shows."""
        values = changed_values(self.found, use)
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
            raise ProbeError(f"{self.found.key}.{use.name}: {trouble}") from trouble
        shown = self._shown(use, values, self._pair(use, values[0], PLAIN)[0], PLAIN)
        also = [words for words in tried if words]
        words = f"{shown}: the same to the bit after {self.steps} steps"
        return Finding(Seen.INERT, f"{words}, also with {listed(also)}" if also else words)

    def _unchanged(self, use: Use, purpose: str) -> Finding:
        """Train with an option that is meant to leave the weights as they are, up to rounding."""
        value = changed_value(self.found, use)
        try:
            default, changed = self._pair(use, value, PLAIN)
            step = self._parting(use, default, changed, PLAIN)
        except NotApplicable as error:
            raise ProbeError(f"{self.found.key}.{use.name}: {error}") from error
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
        """The settings of both sides, which differ in this option alone.

        What else a rule asks for is set on both. Raises NotApplicable when a rule forbids the one or the other.
        """
        fixed = {**needed_values(self.found, use), **{n: v for n, v in circumstance.values.items() if n != use.name}}
        missing = fixed.keys() - default_values(self.found).keys()
        if missing:
            raise NotApplicable(f"it has no {', '.join(sorted(missing))}")
        common: dict[str, Value] = dict(fixed)
        while True:
            fixes: dict[str, Value] = {}
            for side in ({}, {use.name: value}):
                values, faults = check_values(self.found, {**common, **side})
                for fault in faults:
                    fixes |= self._fix(fault, values, {use.name, *common})
            if not fixes:
                return _settings(self.found, common), _settings(self.found, {**common, use.name: value})
            common |= fixes

    def _fix(self, fault: Fault, values: Values, fixed: Collection[str]) -> Values:
        """What puts a fault right without touching what is fixed: the rule's own fix, or another of its options."""
        if fault.fix and not fault.fix.keys() & set(fixed):
            return fault.fix
        for rule in self.found.rules:
            if rule.message == fault.problem:
                for use in self.uses:
                    if use.name in rule.options and use.name not in fixed:
                        fix = {use.name: changed_value(self.found, use)}
                        if not rule.broken({**values, **fix}):
                            return fix
        raise NotApplicable(str(fault))

    def _parting(self, use: Use, default: Settings, changed: Settings, circumstance: Circumstance) -> int | None:
        """The first step after which the weights differ to the bit; None when they never do.

        Most options part within the first steps, so only these are walked at first.
        """
        for steps in (FIRST_STEPS, self.steps):
            step = self._parting_within(steps, use, default, changed, circumstance)
            if step is not None:
                return step
        return None

    def _parting_within(
        self, steps: int, use: Use, default: Settings, changed: Settings, circumstance: Circumstance
    ) -> int | None:
        before, taken = self._path(default, circumstance, steps), self._walk(changed, circumstance)
        for step, was in enumerate(before, start=1):
            try:
                now = next(taken)
            except MissingBackend:
                raise
            except SettingsError as error:
                raise NotApplicable(str(error)) from error
            except (Exception, SystemExit) as error:
                raise ProbeError(f"{self.found.key}.{use.name}: {changed!r} raises {raised(error)}") from error
            if not same_bits(was, now):
                self._check_repeats(default, circumstance, step)
                if not torch.isfinite(now).all():
                    raise ProbeError(
                        f"{self.found.key}.{use.name}: {changed!r} runs into NaN at step {step}. "
                        "Give a gentler value in CHANGED of probe/values.py."
                    )
                return step
        return None

    def _path(self, default: Settings, circumstance: Circumstance, steps: int) -> list[torch.Tensor]:
        """All weights after each of so many steps at the defaults.

        They are walked before the changed ones begin: a back end may draw from a generator that both would share.
        """
        kept = (default, circumstance.words)
        if len(self._paths.get(kept, ())) < steps:
            path = self._walked(default, circumstance, steps)
            if not torch.isfinite(path[-1]).all():
                raise NotApplicable("its defaults run into NaN")
            self._paths[kept] = path
        return self._paths[kept][:steps]

    def _check_repeats(self, default: Settings, circumstance: Circumstance, steps: int) -> None:
        """See that nothing but the settings decides the path at the defaults: walked again, it is the same.

        Only where another path differs from it: one that is the same has shown that already.
        """
        kept = (default, circumstance.words)
        if self._repeated.get(kept, 0) < steps:
            again = self._walked(default, circumstance, steps)
            if not all(map(same_bits, again, self._paths[kept])):
                raise NotApplicable("its defaults do not walk the same path twice")
            self._repeated[kept] = steps

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
        """What was changed, and under which conditions: "off → on, with weight_decay at 0.05"."""
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

    # An option that the catalogue calls unavailable: the back end by hand, since Settings refuses it.

    def _refused(self, use: Use) -> Finding:
        cls = load_class(self.found)
        argument, _ = split_argument(use.argument or use.name)
        if argument not in inspect.signature(cls).parameters:
            words = f"not possible: {cls.__name__} of {self.found.package} has no such argument"
            return Finding(Seen.UNAVAILABLE, words)
        value = changed_value(self.found, use)
        shown = f"{words_of(use.option, use.default)} → {words_of(use.option, value)}"
        before = list(islice(walk(partial(self._by_hand, {}), PLAIN, self.device), self.steps))
        try:
            after = list(islice(walk(partial(self._by_hand, {use.name: value}), PLAIN, self.device), self.steps))
        except SystemExit:
            return Finding(Seen.UNAVAILABLE, f"{shown}: ends the whole process")
        except Exception as error:  # noqa: BLE001  # whatever a back end raises is what is looked for
            return Finding(Seen.UNAVAILABLE, f"{shown}: raises {raised(error)}")
        start = torch.cat([param.detach().flatten() for param in parameters(device=self.device)])
        if same_bits(start, after[-1]) and not same_bits(start, before[-1]):
            return Finding(Seen.UNAVAILABLE, f"{shown}: the weights never move")
        for step, (was, now) in enumerate(zip(before, after, strict=True), start=1):
            if not same_bits(was, now):
                return Finding(Seen.LIVE, f"{shown}: the weights first differ at step {step}", step)
        return Finding(Seen.INERT, f"{shown}: the same to the bit after {self.steps} steps")

    def _by_hand(self, values: Values, groups: list[dict[str, Any]]) -> tuple[torch.optim.Optimizer, None]:
        arguments = self.found.arguments(Settings(self.found.key).lr, {**default_values(self.found), **values})
        arguments |= {name: value for name, value in values.items() if self.found.use(name).argument is None}
        taken = {name: argument_value(value) for name, value in arguments.items()}
        return load_class(self.found)(groups, **taken), None  # type: ignore[arg-type]  # each back end has its own signature


def _settings(found: OptimizerSpec, values: dict[str, Any]) -> Settings:
    return Settings(found.key, **values)


def _build(
    settings: Settings, steps: int, groups: list[dict[str, Any]]
) -> tuple[torch.optim.Optimizer, LRScheduler | None]:
    optimizer = build_optimizer(settings, groups)
    plain = settings.schedule == "CONSTANT" and settings.warmup == 0
    return optimizer, None if plain else build_schedule(settings, optimizer, steps)
