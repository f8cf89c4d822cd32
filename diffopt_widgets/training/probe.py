"""The probe: whether an option does anything, by trying it.

A small model is trained twice, with an option at its default and changed, everything else equal, and the weights are
compared to the bit after each step. An option whose two paths part is live. One whose paths stay together under every
circumstance of `probe_model.CIRCUMSTANCES` is inert. `probe_table` tries them all; `catalogue.probed` keeps what was seen.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.probed import Finding, Seen
from diffopt_widgets.catalogue.schema import REQUIREMENTS, OptimizerSpec, Standing, Use, Values, split_argument
from diffopt_widgets.catalogue.values import Value, format_value
from diffopt_widgets.settings import Fault, Settings, check_values, default_values
from diffopt_widgets.training.factory import (
    MissingBackend,
    argument_value,
    build_optimizer,
    build_schedule,
    load_class,
)
from diffopt_widgets.training.probe_model import CIRCUMSTANCES, PLAIN, Circumstance, Path, same_bits, walk
from diffopt_widgets.training.probe_values import ProbeError, changed_value, elsewhere, needed_values

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

STEPS = 40
ESTIMATE_STEPS = 80
"""As many as it takes for an estimate of the rate to leave its start."""
PROVIDED = {"cpu": {"bfloat16"}, "cuda": {"bfloat16", "cuda"}}
"""What `Use.requires` may ask for and a probe on each device has, under one circumstance or another."""
ROUNDING = 1e-6
"""What two ways to do the same step may differ by after all steps."""
SHORT = 100
"""Longest part of a back end's message that is kept as evidence."""


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
        self._paths: dict[tuple[Settings, str], Path] = {}

    def find(self, use: Use) -> Finding:
        """Try one option.

        Raises:
            ProbeError: it cannot be tried, or its two paths run into NaN.
        """
        if use.requires and use.requires not in PROVIDED[self.device]:
            return Finding(Seen.UNTRIED, f"not yet: it needs {REQUIREMENTS[use.requires]}")
        try:
            return self._refused(use) if use.standing is Standing.UNAVAILABLE else self._compared(use)
        except MissingBackend:
            return Finding(Seen.UNTRIED, f"not yet: it needs {self.found.package}")

    # An option that the catalogue offers: through Settings, as a run takes it.

    def _compared(self, use: Use) -> Finding:
        """Train under one circumstance after the other, until one shows a difference."""
        tried = []
        purpose = elsewhere(self.found, use)
        for circumstance in (PLAIN,) if purpose else CIRCUMSTANCES:
            try:
                default, changed = self._pair(use, circumstance)
                step = self._parting(use, default, changed, circumstance)
            except NotApplicable as error:
                if circumstance is PLAIN:
                    raise ProbeError(f"{self.found.key}.{use.name}: {error}") from error
                continue
            except MissingBackend:
                if not use.requires:
                    raise
                continue
            shown = self._shown(use, default, changed, circumstance)
            if step is None and purpose:
                return Finding(Seen.ELSEWHERE, f"{shown}: the same to the bit after {self.steps} steps; {purpose}")
            if purpose and self._only_rounding(default, changed):
                words = f"{shown}: the same up to rounding after {self.steps} steps; {purpose}"
                return Finding(Seen.ELSEWHERE, words, step)
            if step is not None:
                return Finding(Seen.LIVE, f"{shown}: the weights first differ at step {step}", step)
            tried.append(circumstance)
        shown = self._shown(use, *self._pair(use, PLAIN), PLAIN)
        also = [circumstance.words for circumstance in tried if circumstance.words]
        words = f"{shown}: the same to the bit after {self.steps} steps"
        return Finding(Seen.INERT, f"{words}, also with {_listed(also)}" if also else words)

    def _pair(self, use: Use, circumstance: Circumstance) -> tuple[Settings, Settings]:
        """The settings of both sides, which differ in this option alone.

        What else a rule asks for is set on both. Raises NotApplicable when a rule forbids the one or the other.
        """
        known = default_values(self.found)
        fixed = {**needed_values(self.found, use), **{n: v for n, v in circumstance.values.items() if n != use.name}}
        if not fixed.keys() <= known.keys():
            raise NotApplicable(f"it has no {', '.join(sorted(fixed.keys() - known.keys()))}")
        other = changed_value(self.found, use)
        common: dict[str, Value] = dict(fixed)
        while True:
            mends = {
                name: value
                for side in ({}, {use.name: other})
                for fault in check_values(self.found, {**common, **side})[1]
                for name, value in _mend(fault, {use.name, *common}).items()
            }
            if not mends:
                return _settings(self.found, common), _settings(self.found, {**common, use.name: other})
            common |= mends

    def _parting(self, use: Use, default: Settings, changed: Settings, circumstance: Circumstance) -> int | None:
        """The first step after which the weights differ to the bit; None when they never do."""
        here, there = self._path(default, circumstance), self._path(changed, circumstance)
        for step in range(1, self.steps + 1):
            try:
                before = here.after(step)
            except MissingBackend:
                raise
            except Exception as error:
                raise NotApplicable(f"its defaults raise {_raised(error)}") from error
            if not torch.isfinite(before).all():
                raise NotApplicable(f"its defaults run into NaN at step {step}")
            try:
                after = there.after(step)
            except (Exception, SystemExit) as error:
                raise ProbeError(f"{self.found.key}.{use.name}: {changed!r} raises {_raised(error)}") from error
            if not same_bits(before, after):
                if not torch.isfinite(after).all():
                    raise ProbeError(
                        f"{self.found.key}.{use.name}: {changed!r} runs into NaN at step {step}. "
                        "Give a gentler value in CHANGED of training/probe_values.py."
                    )
                return step
        return None

    def _only_rounding(self, default: Settings, changed: Settings) -> bool:
        one, other = (self._path(settings, PLAIN).after(self.steps) for settings in (default, changed))
        return bool((one - other).abs().max() < ROUNDING)

    def _path(self, settings: Settings, circumstance: Circumstance) -> Path:
        kept = (settings, circumstance.words)
        if kept not in self._paths:
            self._paths[kept] = Path(walk(partial(_build, settings, self.steps), circumstance, self.device))
        return self._paths[kept]

    def _shown(self, use: Use, default: Settings, changed: Settings, circumstance: Circumstance) -> str:
        """What was changed, and under which conditions: "off → on, with weight_decay at 0.05"."""
        was, now = (_words(use.option, settings.values()[use.name]) for settings in (default, changed))
        options = {other.name: other.option for other in self.uses}
        conditions = [circumstance.words] if circumstance.words else []
        conditions += [
            f"{name} at {_words(options.get(name), value)}"
            for name, value in default.changed().items()
            if name not in {use.name, *circumstance.values}
        ]
        under = f", with {_listed(conditions)}" if conditions else ""
        return f"{was} → {now}{under}"

    # An option that the catalogue calls unavailable: the back end by hand, since Settings refuses it.

    def _refused(self, use: Use) -> Finding:
        cls = load_class(self.found)
        argument, _ = split_argument(use.argument or use.name)
        if argument not in inspect.signature(cls).parameters:
            words = f"not possible: {cls.__name__} of {self.found.package} has no such argument"
            return Finding(Seen.UNAVAILABLE, words)
        other = changed_value(self.found, use)
        shown = f"{_words(use.option, use.default)} → {_words(use.option, other)}"
        plain = Path(walk(partial(self._by_hand, {}), PLAIN, self.device))
        changed = Path(walk(partial(self._by_hand, {use.name: other}), PLAIN, self.device))
        for step in range(1, self.steps + 1):
            before = plain.after(step)
            try:
                after = changed.after(step)
            except SystemExit:
                return Finding(Seen.UNAVAILABLE, f"{shown}: ends the whole process")
            except Exception as error:  # noqa: BLE001  # whatever a back end raises is what is looked for
                return Finding(Seen.UNAVAILABLE, f"{shown}: raises {_raised(error)}")
            if not same_bits(before, after):
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


def _mend(fault: Fault, taken: Collection[str]) -> Values:
    if not fault.mend or fault.mend.keys() & set(taken):
        raise NotApplicable(str(fault))
    return fault.mend


def _raised(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0].rstrip(".")
    cut = first if len(first) <= SHORT else f"{first[:SHORT].rpartition(' ')[0]} …"
    return f"{type(error).__name__}: {cut}" if cut else type(error).__name__


def _words(option: Option | None, value: Value) -> str:
    if value is None:
        return (option and option.null_words) or "empty"
    return ("on" if value else "off") if isinstance(value, bool) else format_value(value)


def _listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence: "a", "a and b", "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
