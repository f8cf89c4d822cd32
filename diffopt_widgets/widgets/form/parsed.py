"""Values of the texts in the controls of an optimizer, with their errors and warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING
from diffopt_widgets.catalogue.schema import OptimizerSpec, Rule, Standing, Use, Values
from diffopt_widgets.catalogue.values import Value, ValueProblem, format_value
from diffopt_widgets.settings import Fault, check_values, default_values, with_full_stop
from diffopt_widgets.settings.plan import accumulation_fault
from diffopt_widgets.training.environment import environment

Texts = Mapping[str, str]
"""Typed texts by the name of the control."""


def text_of(value: Value) -> str:
    """Format a value as a control shows it: in its shortest form, empty for None.

    >>> text_of(1e-5), text_of(None), text_of(True)
    ('1e-5', '', 'true')
    """
    return "" if value is None else format_value(value)


def use_of(entry: OptimizerSpec, name: str) -> Use:
    """Return the use of an option by an optimizer."""
    return TRAINING[name] if name in TRAINING else entry.use(name)


@dataclass(frozen=True, eq=False)
class ParsedDraft:
    """Values of the texts, their faults, and the other messages of each control."""

    spec: OptimizerSpec
    texts: Texts
    """Text of every control."""
    values: Mapping[str, Value]
    """Value of every control; its fallback where the text is wrong."""
    faults: Mapping[str, Fault]
    """Faults by the control to mark; one for each."""
    run: RunOptions
    """Options of the run that the settings are for."""

    @classmethod
    def of(cls, entry: OptimizerSpec, texts: Texts, fallbacks: Values, run: RunOptions) -> ParsedDraft:
        """Read the texts; `fallbacks` are the values to use where a text is wrong."""
        values, faults = dict(fallbacks), dict[str, Fault]()
        for name, text in texts.items():
            use = use_of(entry, name)
            try:
                values[name] = use.check(use.option.parse(text))
            except ValueProblem as problem:
                faults[name] = Fault.of(name, text, problem, use.allowed())
        for fault in check_values(entry, values)[1]:
            faults.setdefault(fault.option, fault)
        if clash := accumulation_fault(values, run.accumulation):
            faults.setdefault(clash.option, clash)
        return cls(entry, texts, values, faults, run)

    @cached_property
    def errors(self) -> dict[str, str]:
        """Error messages by the control to mark."""
        return {name: _message(fault) for name, fault in self.faults.items()}

    @cached_property
    def warnings(self) -> dict[str, str]:
        """Messages about values that a run refuses, or that are probably not meant; none while something is wrong."""
        return {name: rule.message for name, rule in self._warned.items()}

    @cached_property
    def refused(self) -> frozenset[str]:
        """Controls whose values are valid, but refused in a run here."""
        return frozenset(name for name, rule in self._warned.items() if rule.severity == "refused")

    @cached_property
    def fixes(self) -> dict[str, Values]:
        """Values that would fix an error or a warning, by control, where there is a single way."""
        offered = [(name, fault.fix) for name, fault in self.faults.items()]
        offered += [(name, rule.fix) for name, rule in self._warned.items()]
        return {name: fix for name, fix in offered if fix}

    @cached_property
    def related(self) -> frozenset[str]:
        """Controls that take part in a clash, besides the one that shows its message."""
        return frozenset(name for rule in self._broken("error") for name in rule.options[1:]) - self.faults.keys()

    @cached_property
    def changed(self) -> frozenset[str]:
        """Controls that are not at the back end's default."""
        defaults = default_values(self.spec)
        faulty = {name for name in self.faults if self.texts[name] != text_of(defaults[name])}
        return frozenset(faulty | {name for name, value in self.values.items() if value != defaults[name]})

    @cached_property
    def greyed(self) -> dict[str, str]:
        """Controls that do nothing now, with the reason."""
        schedule = SCHEDULES.get(str(self.values["schedule"]))
        reasons = {}
        if schedule and not schedule.uses_cycles:
            reasons["cycles"] = f"the {schedule.title} schedule has no cycles"
        if schedule and not schedule.uses_min_factor:
            reasons["min_factor"] = f"the {schedule.title} schedule does not fall"
        for use in (self.spec.lr, *self.spec.uses):
            if use.standing is Standing.UNAVAILABLE:
                reasons[use.name] = f"not available: {use.reason}"
            elif use.enabled_if and not use.enabled_if.holds(self.values):
                reasons[use.name] = use.enabled_if.words()
        return {name: why for name, why in reasons.items() if name not in self.faults}

    @property
    def presets(self) -> list[str]:
        """Keys of the presets that the controls show; more than one where presets are equal."""
        defaults = default_values(self.spec)
        shown = [preset.key for preset in self.spec.presets if {**defaults, **preset.values} == self.values]
        return [] if self.faults else shown

    @cached_property
    def _warned(self) -> dict[str, Rule]:
        """Rule to show at each control while nothing is wrong: the first that refuses a run, or else the first."""
        if self.faults:
            return {}
        broken = [*self._broken("refused"), *self._broken("warning")]
        return {rule.options[0]: rule for rule in reversed(broken)}

    def _broken(self, severity: str) -> list[Rule]:
        values = {**self.values, **self._run}
        return [rule for rule in self.spec.rules if rule.severity == severity and rule.broken(values)]

    @cached_property
    def _run(self) -> Values:
        """Facts about the run that rules need; the machine is looked at only where a rule asks, because that may import torch."""
        here = environment(self.run.device, self.run.dtype) if self.spec.asking(self.values) else {}
        return {"steps": self.run.steps, **here}


def _message(fault: Fault) -> str:
    problem = with_full_stop(
        fault.problem.replace("must be", "Must be", 1) if fault.problem.startswith("must be") else fault.problem
    )
    allowed = f" Allowed: {fault.allowed}." if fault.allowed else ""
    todo = f" {fault.todo}" if fault.todo else ""
    return f"{problem}{allowed}{todo}"
