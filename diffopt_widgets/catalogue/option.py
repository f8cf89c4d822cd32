"""Options: the name, the texts and the domain of each, and the reading of typed or passed values."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from numbers import Real

from diffopt_widgets.catalogue.values import (
    Interval,
    Kind,
    OutOfRange,
    Value,
    ValueProblem,
    format_value,
    number_or_none,
    parse_value,
    safe_repr,
    shorten,
)
from diffopt_widgets.plain_text import printed_readably


@printed_readably
@dataclass(frozen=True, slots=True)
class Option:
    """One option, independent of the optimizers that use it.

    `domain` is checked; `soft` is the range of the slider, on a logarithmic scale where `log` is set.
    """

    name: str
    title: str
    kind: Kind
    help: str
    domain: Interval | None = None
    soft: tuple[float, float] | None = None
    log: bool = False
    choices: tuple[str, ...] = ()
    """Choices as they are written; numbers too, where only a few are possible."""
    same: tuple[tuple[str, str], ...] = ()
    """Names that other programs have for a choice, in small letters, each with the choice that means the same."""
    unclear: tuple[tuple[str, str], ...] = ()
    """Names, in small letters, that other programs use for what no single choice means, each with the answer to give."""
    nullable: bool = False
    null_words: str = ""
    """Meaning of an empty value, for a nullable option: "√beta2", "no momentum"."""
    unit: str = ""

    def allowed(self) -> str:
        """Describe the values that may be written."""
        match self.kind:
            case "bool":
                text = "true or false"
            case "choice":
                text = "one of " + ", ".join(self.choices)
            case "text":
                text = "any text of one line"
            case "int" | "float" if self.choices:
                text = " or ".join(self.choices)
            case "int" | "float":
                text = self.domain.words() if self.domain else "any number"
                text = f"a whole number, {text}" if self.kind == "int" else text
        return f"{text}, or empty ({self.null_words})" if self.nullable else text

    def parse(self, text: str) -> Value:
        """Read a typed text; `check` tells whether its value is allowed.

        Raises:
            ValueProblem: the text is not a value of this kind.
        """
        infinite = bool(self.domain and self.domain.infinite)
        counts = self.kind == "int" or self.unit.startswith("steps")
        return parse_value(self.kind, text, nullable=self.nullable, infinite=infinite, counts=counts)

    def check(self, value: object) -> Value:
        """Return `value` as this option's own type.

        Raises:
            ValueProblem: the value has another type or lies outside the domain.
        """
        if value is None:
            if self.nullable:
                return None
            raise ValueProblem("a value is needed")
        match self.kind:
            case "bool":
                if isinstance(value, bool):
                    return value
                raise ValueProblem(f"{safe_repr(value)} is not true or false")
            case "choice":
                return self._check_choice(value)
            case "text":
                if isinstance(value, str):
                    return self.parse(value)  # an empty text means None here too
                raise ValueProblem(f"{safe_repr(value)} is not a text")
            case "int" | "float":
                return self._check_number(value)

    def _check_choice(self, value: object) -> str:
        """Return the choice that is written, in whatever capitals, or that other programs call so."""
        if isinstance(value, str):
            if value in self.choices:
                return value
            word = value.strip().casefold()
            if (answer := dict(self.unclear).get(word)) is not None:
                raise ValueProblem(answer)
            meant = [choice for choice in self.choices if choice.casefold() == word]
            meant += [choice for name, choice in self.same if name == word and choice in self.choices]
            if len(meant) == 1:
                return meant[0]
        raise ValueProblem(f"{safe_repr(value)} is not one of the choices{self._hint(value)}")

    def _hint(self, value: object) -> str:
        """Name the choice that was probably meant, in brackets; choices are compared without regard to case."""
        by_word = {choice.casefold(): choice for choice in self.choices}
        close = difflib.get_close_matches(value.casefold(), by_word, n=1) if isinstance(value, str) else []
        return f" (did you mean {by_word[close[0]]}?)" if close else ""

    def _check_number(self, value: object) -> Value:
        if isinstance(value, str) and number_or_none(value.strip()) is not None:
            raise ValueProblem(f"{safe_repr(value)} is a text, and a number is wanted; write it without quotes")
        if isinstance(value, bool) or not isinstance(value, Real):  # Real covers numpy's numbers too
            raise ValueProblem(f"{safe_repr(value)} is not a number")
        try:
            number = float(value) + 0.0  # -0.0 becomes 0.0
        except OverflowError:
            raise ValueProblem("the number is too large") from None
        if not math.isfinite(number) and not (self.domain and number in self.domain):
            raise ValueProblem(f"{format_value(number)} is not a finite number")
        if self.domain is not None and number not in self.domain:
            raise OutOfRange(f"{shorten(format_value(number))} is outside the allowed range")
        if self.choices and format_value(number) not in self.choices:
            raise ValueProblem(f"{shorten(format_value(number))} is not one of the choices")
        if self.kind == "float":
            return number
        if not number.is_integer():
            raise ValueProblem(f"{format_value(number)} is not a whole number")
        return int(value) if isinstance(value, int) else int(number)
