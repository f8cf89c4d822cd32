"""What is wrong with some settings: one `Fault` for each thing, and the error that lists them all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from diffopt_widgets.catalogue.schema import Rule, Values, no_values
from diffopt_widgets.catalogue.values import OutOfRange, ValueProblem, format_value, shorten, show


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with some settings."""

    option: str
    """Where it is wrong; empty when it is the whole text."""
    value: object
    problem: str
    allowed: str
    todo: str = ""
    fix: Values = field(default_factory=no_values)
    """Values that would put it right, where there is a single way."""

    @classmethod
    def of(cls, option: str, value: object, problem: ValueProblem, allowed: str) -> Fault:
        """The fault of a value that an option refused; `allowed` is what that option takes."""
        if isinstance(problem, OutOfRange):
            return cls(option, value, f"must be {allowed}", "")
        return cls(option, value, str(problem), allowed)

    @classmethod
    def broken(cls, rule: Rule, values: Values) -> Fault:
        """The fault of values that break a rule."""
        return cls(rule.options[0], values[rule.options[0]], rule.message, "", fix=rule.fix)

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {shorten(_words(self.value))}"
        allowed = f" Allowed: {self.allowed}." if self.allowed else ""
        todo = f" {self.todo}" if self.todo else ""
        head = f"{self.option}{value}: " if self.option else ""
        return f"{head}{ended(self.problem)}{allowed}{todo}"


def ended(problem: str) -> str:
    """A problem with a full stop, unless it ends as a sentence does."""
    return problem if problem.endswith((".", "?", "!")) else f"{problem}."


class SettingsError(ValueError):
    """Settings that cannot be used; `faults` lists everything that is wrong with them at once, `fix` what is known to put it right."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        self.fix: Values = {name: value for fault in faults for name, value in fault.fix.items()}
        super().__init__("\n".join(str(fault) for fault in faults))

    def __reduce__(self) -> tuple[type[SettingsError], tuple[tuple[Fault, ...]]]:
        """So that it comes back whole from another process; by itself an exception is made anew from its message."""
        return type(self), (tuple(replace(fault, fix=dict(fault.fix)) for fault in self.faults),)


def _words(value: object) -> str:
    if isinstance(value, str | float | bool):
        return format_value(value)
    return show(value)
