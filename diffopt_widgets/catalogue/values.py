"""Option values: reading typed texts, writing values back, and checking them against a domain."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, TypeAlias

from diffopt_widgets.plain_text import printable, printed_readably

Value: TypeAlias = float | int | bool | str | None
Kind: TypeAlias = Literal["float", "int", "bool", "choice", "text"]

MAX_TEXT = 40
"""Most characters of a typed text that a message repeats."""
LONGEST_VALUE = 1000
"""Most characters of a value that is a text."""


LONGEST_NUMBER = 100
"""Most characters of a number that is not written as Python writes it."""


def two_digits(value: float) -> float:
    """Round to two significant digits.

    >>> two_digits(1 / 3), two_digits(1234)
    (0.33, 1200.0)
    """
    return float(f"{value:.2g}")


def short(value: float) -> str:
    """Format a number with two digits.

    >>> short(0.00511), short(0.123)
    ('5.1e-3', '0.12')
    """
    if value and not 0.01 <= abs(value) < 1000 and math.isfinite(value):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.2g}"


@printed_readably
class ValueProblem(ValueError):
    """Error for a value that an option cannot take; the message gives the reason."""


class OutOfRange(ValueProblem):
    """Error for a number outside the domain; a message then needs to say only what is allowed."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of numbers.

    >>> Interval(0, 1, high_open=True).words()
    'from 0 to below 1'
    >>> 1.0 in Interval(0, 1, high_open=True)
    False
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    infinite: bool = False
    """True when an infinite value has a meaning (Prodigy's `growth_rate`)."""

    def __contains__(self, value: float) -> bool:
        if math.isnan(value) or (math.isinf(value) and not self.infinite):
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def words(self) -> str:
        """Describe the range in a phrase that can follow "must be".

        >>> Interval(0, low_open=True).words(), Interval(1, 10_000_000).words(), Interval(1, infinite=True).words()
        ('above 0', 'from 1 to 10,000,000', 'at least 1, or inf')
        """
        low, high = _count(self.low), _count(self.high)
        if math.isinf(self.low) and math.isinf(self.high):
            text = "any number"
        elif math.isinf(self.high):
            text = f"above {low}" if self.low_open else f"at least {low}"
        elif math.isinf(self.low):
            text = f"below {high}" if self.high_open else f"at most {high}"
        else:
            start = f"above {low} and" if self.low_open else f"from {low} to"
            text = f"{start} {'below ' if self.high_open else 'at most ' if self.low_open else ''}{high}"
        return f"{text}, or inf" if self.infinite else text


def _count(end: float) -> str:
    """Format an end of a range; long whole numbers get a comma after each three digits."""
    return f"{end:,}" if isinstance(end, int) else format_value(end)


def format_value(value: Value) -> str:
    """Format a value in the short form that `parse_value` reads back.

    >>> [format_value(v) for v in (1e-06, 0.9, 300.0, 1e8, 1234567.0, float("inf"), None, True)]
    ['1e-6', '0.9', '300', '1e8', '1234567', 'inf', 'none', 'true']
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e16:
            digits = str(int(value))
            if abs(value) < 1e6:
                return digits
            mantissa, _, exponent = f"{value:.15e}".partition("e")
            short = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
            return short if len(short) < len(digits) else digits
        text = repr(value)
        mantissa, e, exponent = text.partition("e")
        return f"{mantissa}e{int(exponent)}" if e else text
    return str(value)


def shorten(text: str) -> str:
    """Cut a long typed text so that a message stays readable."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def safe_repr(value: object) -> str:
    """Return a short repr of any object for a message that can be printed, and never raise."""
    try:
        return printable(shorten(repr(value)))
    except Exception:  # noqa: BLE001  # a foreign repr may raise anything, and Python's own does for huge integers
        return f"a value of type {type(value).__name__}"


def parse_value(
    kind: Kind, text: str, *, nullable: bool = False, infinite: bool = False, counts: bool | None = None
) -> Value:
    """Read the text that was typed into a control.

    Numbers may be written `1e-4`, `.0001`, `1E-4`, `1_000` or `inf`, and as papers and chats have them: `1e−4` with a minus
    sign, `3 × 10⁻⁴`, `10^-4`, `1 000`, `10k`, `2M`. A text that can be read in two ways, such as `1.000` for a whole number, is
    refused with both. An empty text or `none` means "not set" where the option allows it. Messages mention `inf` only where the
    option can take it. `counts` tells that a number counts something, such as steps, so that a point may stand between
    thousands; by default every whole number does.

    Raises:
        ValueProblem: the text is not such a value; the message describes the texts that are.

    >>> parse_value("float", " .9 "), parse_value("int", "1e3"), parse_value("float", "", nullable=True)
    (0.9, 1000, None)
    """
    word = text.strip()
    lowered = word.lower()
    if kind == "choice" and word and not nullable:
        return word  # NONE is a choice of its own
    if lowered in {"", "none", "null"}:
        if nullable:
            return None
        raise ValueProblem("a value is needed here" if kind != "float" else "a number is needed here, such as 1e-4")
    if kind in {"choice", "text"}:
        return word if kind == "choice" else checked_text(word)
    if kind == "bool":
        if lowered in {"true", "yes", "on", "1"}:
            return True
        if lowered in {"false", "no", "off", "0"}:
            return False
        raise ValueProblem(f"{shorten(word)!r} is neither true nor false")
    return _parse_number(kind, word, infinite=infinite, counts=kind == "int" if counts is None else counts)


def checked_text(text: str) -> str:
    """Check a value that is a text; return it as one line without blanks around it.

    Raises:
        ValueProblem: the text is too long, or has a character that cannot be seen.

    >>> checked_text(" blocks, attn ")
    'blocks, attn'
    """
    word = text.strip()
    if len(word) > LONGEST_VALUE:
        raise ValueProblem(f"the text has {len(word):,} characters; at most {LONGEST_VALUE:,} are allowed")
    if not word.isprintable():
        raise ValueProblem("the text must be a single line of characters that can be seen")
    return word


def _parse_number(kind: Kind, word: str, *, infinite: bool, counts: bool) -> float | int:
    if counts and (readings := _readings(_plain(word))):
        if len(readings) == 1:
            return readings[0] if kind == "int" else float(readings[0])
        raise ValueProblem(f"{shorten(word)!r} can be read as {' or as '.join(map(str, readings))}; write one of these")
    number = number_or_none(_plain(word))
    if number is None:
        comma = _comma_hint(word)
        example = "300 or 1e3" if kind == "int" else "0.9, 1e-4 or inf" if infinite else "0.9 or 1e-4"
        raise ValueProblem(f"{shorten(word)!r} is not a number{comma}; write {example}")
    if math.isinf(number) and "inf" not in word.lower():
        hint = "; write inf if you mean no limit" if infinite else ""
        raise ValueProblem(f"{shorten(word)} is too large for a number{hint}")
    if kind == "float":
        return number
    try:
        return int(_plain(word))
    except ValueError:
        if number.is_integer():
            return int(number)
        raise ValueProblem(f"{shorten(word)!r} is not a whole number") from None


_DASHES = dict.fromkeys(map(ord, "‐‑‒–—−﹣－"), "-")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_GROUPED = re.compile(r"([+-]?\d{1,3}(?:([ '’])\d{3})(?:\2\d{3})*)((?:\.\d*)?(?:e[+-]?\d+)?)", re.IGNORECASE)
_POWER = re.compile(rf"([+-]?)(?:({_NUMBER}) ?[x×*·⋅] ?)?10 ?(?:(?:\^|\*\*) ?\{{? ?([+-]?\d+) ?\}}?)", re.IGNORECASE)
_SIGNED_POWER = re.compile(rf"([+-]?)({_NUMBER}) ?[x×*·⋅] ?10([+-]\d+)", re.IGNORECASE)
_SPACED_EXPONENT = re.compile(rf"([+-]?{_NUMBER}) ?e ?([+-]? ?\d+)", re.IGNORECASE)
_MULTIPLE = re.compile(rf"([+-]?{_NUMBER}) ?([kKM])")
_POINTS = re.compile(r"([+-]?)([1-9]\d{0,2})((?:\.\d{3})+)")
_COMMAS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")


def _plain(word: str) -> str:
    """Write a number as Python does, where a text as papers and chats have it can be read in one way; else leave the text.

    >>> [_plain(word) for word in ("1e−3", "1\u202f000", "3 × 10⁻⁴", "10^-4", "10k", "1.5M", "3×105")]
    ['1e-3', '1000', '3e-4', '1e-4', '10e3', '1.5e6', '3×105']
    """
    if len(word) > LONGEST_NUMBER:
        return word
    raised = _RAISED.sub(lambda found: "^" + found[0].translate(_SUPERSCRIPTS), _INVISIBLE.sub("", word))
    text = " ".join(unicodedata.normalize("NFKC", raised.translate(_DASHES)).split())
    if found := _GROUPED.fullmatch(text):
        return re.sub("[ '’]", "", found[1]) + found[3]
    if found := _POWER.fullmatch(text) or _SIGNED_POWER.fullmatch(text):
        return f"{found[1]}{found[2] or 1}e{found[3]}"
    if found := _SPACED_EXPONENT.fullmatch(text):
        return f"{found[1]}e{found[2].replace(' ', '')}"
    if found := _MULTIPLE.fullmatch(text):
        return f"{found[1]}e{6 if found[2] == 'M' else 3}"
    return text if text.isascii() and " " not in text else word


def _readings(text: str) -> list[int]:
    """Return the whole numbers that a text with points can mean: in half of the world a point groups three digits.

    >>> _readings("1.000"), _readings("1.500"), _readings("1.000.000"), _readings("1.0"), _readings("0.500")
    ([1, 1000], [1500], [1000000], [], [])
    """
    found = _POINTS.fullmatch(text)
    if not found:
        return []
    grouped = int(text.replace(".", ""))
    whole = found[3].count(".") == 1 and float(text).is_integer()
    return [int(float(text)), grouped] if whole else [grouped]


def _comma_hint(word: str) -> str:
    """Say what to write in place of commas; empty where there are none."""
    if _COMMAS.fullmatch(word):
        return f" (write {word.replace(',', '')} without a comma, or a point before decimals)"
    return " (write a point, not a comma)" if "," in word else ""


def number_or_none(word: str) -> float | None:
    """Return the number that a text is; None if it is none."""
    try:
        return float(word) if word.isascii() else None
    except ValueError:
        return None
