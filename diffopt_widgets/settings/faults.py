"""Faults of settings: one `Fault` for each thing that is wrong, and the error that lists them all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Integral

from diffopt_widgets.catalogue.schema import Rule, Values, no_values
from diffopt_widgets.catalogue.values import OutOfRange, ValueProblem, format_value, safe_repr, shorten
from diffopt_widgets.plain_text import printed_readably


@printed_readably
@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with some settings."""

    option: str
    """Name of the option; empty when the fault is in the whole text."""
    value: object
    problem: str
    allowed: str
    todo: str = ""
    fix: Values = field(default_factory=no_values)
    """Values that would fix it, where there is a single way."""

    @classmethod
    def of(cls, option: str, value: object, problem: ValueProblem, allowed: str) -> Fault:
        """Make the fault of a value that an option refused; `allowed` describes the values that it takes."""
        if isinstance(problem, OutOfRange):
            return cls(option, value, f"must be {allowed}", "")
        return cls(option, value, str(problem), allowed)

    @classmethod
    def broken(cls, rule: Rule, values: Values) -> Fault:
        """Make the fault of values that break a rule."""
        return cls(rule.options[0], values[rule.options[0]], rule.message, "", fix=rule.fix)

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {shorten(_value_text(self.value))}"
        allowed = f" Allowed: {self.allowed}." if self.allowed else ""
        todo = f" {self.todo}" if self.todo else ""
        head = f"{self.option}{value}: " if self.option else ""
        return f"{head}{with_full_stop(self.problem)}{allowed}{todo}"


def with_full_stop(problem: str) -> str:
    """Add a full stop to a problem, unless it already ends as a sentence."""
    return problem if problem.endswith((".", "?", "!")) else f"{problem}."


@printed_readably
class SettingsError(ValueError):
    """Error for settings that cannot be used: `faults` lists all that is wrong, `fix` the values that would fix it."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        self.fix: Values = {name: value for fault in faults for name, value in fault.fix.items()}
        super().__init__("\n".join(str(fault) for fault in faults))

    def __reduce__(self) -> tuple[type[SettingsError], tuple[tuple[Fault, ...]]]:
        """Pickle the faults too: by default an exception is rebuilt from its message alone."""
        return type(self), (tuple(replace(fault, fix=dict(fault.fix)) for fault in self.faults),)


def kind_of(value: object) -> str:
    """Describe what kind of object a value is, for a message: "a Linear", "an int", "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


HIGHEST_COUNT = 10**12
"""Highest number of steps or examples that an argument may name."""


def whole_number(argument: str, value: object, least: int) -> int:
    """Return an argument that must be a whole number.

    Raises:
        SettingsError: it is none, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise SettingsError((Fault(argument, value, f"must be a whole number, at least {least}", ""),))
    if int(value) > HIGHEST_COUNT:
        raise SettingsError((Fault(argument, value, f"must be at most {HIGHEST_COUNT:,}", ""),))
    return int(value)


def _value_text(value: object) -> str:
    if isinstance(value, str | float | bool):
        return format_value(value)
    return safe_repr(value)
