"""Advice on the value of an option."""

from __future__ import annotations

from dataclasses import dataclass

from diffopt_widgets.catalogue.values import Value, format_value


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommended value, its reason and its source."""

    value: Value
    reason: str
    source: str = "OneTrainer wiki"
    words: str = ""
    """Text of the advice, where it is more than a value or a range."""
    between: tuple[float, float] | None = None
    """Recommended range, both ends included; `value` lies in it."""
    by_mode: bool = False
    """True when the advice depends on how the optimizer is used, so that `value` cannot be offered by itself."""

    def text(self) -> str:
        """Format the recommended value as it is shown.

        >>> Advice(0.99, "It helps.", between=(0.99, 0.999)).text(), Advice(True, "It helps.").text()
        ('0.99 to 0.999', 'on')
        """
        if self.words:
            return self.words
        if self.between:
            return " to ".join(format_value(end) for end in self.between)
        return {True: "on", False: "off"}[self.value] if isinstance(self.value, bool) else format_value(self.value)

    def allows(self, value: Value) -> bool:
        """Check whether a value follows the advice: it is the recommended one, or lies in the recommended range."""
        if self.between is None or isinstance(value, bool) or not isinstance(value, int | float):
            return value == self.value
        low, high = self.between
        return low <= value <= high
