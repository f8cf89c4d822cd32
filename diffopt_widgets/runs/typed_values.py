"""Typed values: the values of one option to try, as a person writes them in one line."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.values import OutOfRange, ValueProblem
from diffopt_widgets.runs.space import Range

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import Use
    from diffopt_widgets.catalogue.values import Value
    from diffopt_widgets.runs.space import Axis

COMMA = "a comma stands between two values to compare"
"""Use of a comma where several values are written."""

_BETWEEN = re.compile(r"(?P<low>.+?)(?:\s+to\s+|\s*(?:\.\.\.?|…)\s*)(?P<high>.+?)(?:\s+in\s+(?P<points>\d+))?")


def read_axis(use: Use, text: str) -> Axis:
    """Read several values of an option: "0.5, 1, 2", or for a number also "1e-4 to 1e-2" and "1e-4 to 1e-2 in 7".

    Raises:
        ValueProblem: a value cannot be used, or there is only one.

    >>> from diffopt_widgets import spec
    >>> rate = spec("ADAMW").lr
    >>> read_axis(rate, "1e-4, 1e-3"), read_axis(rate, "1e-4 to 1e-2 in 3")
    ([0.0001, 0.001], Range(low=0.0001, high=0.01, points=3, log=None))
    """
    number = use.option.kind in {"int", "float"} and not use.option.choices
    if number and (between := _BETWEEN.fullmatch(text.strip())):
        low, high = _number(use, between["low"]), _number(use, between["high"])
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueProblem("a range has two finite ends; write inf in a list, such as 1.02, inf")
        if not low < high:
            raise ValueProblem("a range begins with its smaller value, such as 1e-4 to 1e-2")
        points = int((between["points"] or "5")[:9])
        if not 2 <= points <= 1000:  # a range has two ends
            raise ValueProblem("a range has 2 to 1,000 values")
        return Range(low, high, points=points)
    if number and (question := decimal_comma(text, whole=use.option.kind == "int")):
        raise ValueProblem(f"{COMMA}. {question.removesuffix('.')}")
    if number and ";" in text and "," in text:
        raise ValueProblem("write a point in a number, such as 0.5; a comma or a semicolon stands between two values")
    parts = [part for part in re.split(r"[;,]", text) if part.strip()]
    values = [_value(use, part) for part in parts]
    if len(values) < 2:
        also = ", or a range such as 1e-4 to 1e-2" if number else ""
        raise ValueProblem(f"two values or more are needed, with commas between them{also}")
    twice = next((part for place, part in enumerate(parts) if values[place] in values[:place]), None)
    if twice is not None:
        raise ValueProblem(f"{twice.strip()} stands there twice, and both would be the same run")
    return values


def decimal_comma(text: str, *, whole: bool) -> str:
    """Return what to write where `0,01` or `1,000` may be one number with a comma in it, or two to compare; "" where it is clear.

    >>> decimal_comma("0,01", whole=False)
    'Write 0.01 for one number, or 0.0,1.0 for two.'
    """
    match = re.fullmatch(r"\s*([+-]?\d+),(\d+)\s*", text)
    if match is None or not (match[1].lstrip("+-") == "0" or (match[2].startswith("0") and len(match[2]) > 1)):
        return ""
    if whole and (len(match[2]) != 3 or match[1].lstrip("+-") == "0"):
        return ""
    point = f"{match[1]}{match[2]}" if whole else f"{match[1]}.{match[2]}"
    two = f"{match[1]},{int(match[2])}" if whole else f"{match[1]}.0,{int(match[2])}.0"
    return f"Write {point} for one number, or {two} for two."


def _number(use: Use, text: str) -> float:
    value = _value(use, text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueProblem("a range has a number at either end")
    return value


def _value(use: Use, text: str) -> Value:
    word = text.strip()
    try:
        return use.check(use.option.parse("" if use.option.nullable and word.casefold() == "empty" else word))
    except OutOfRange:
        raise ValueProblem(f"{text.strip()} is outside of what is allowed, {use.allowed()}") from None
    except ValueProblem as problem:
        raise ValueProblem(f"{problem}; allowed is {use.allowed()}") from None
