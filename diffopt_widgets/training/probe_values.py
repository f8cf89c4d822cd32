"""What the probe changes an option to, and what the option needs before it can show what it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from diffopt_widgets.catalogue.schema import OptimizerSpec, Use, Values
from diffopt_widgets.catalogue.values import Value, format_value

T = TypeVar("T")


class ProbeError(RuntimeError):
    """The probe cannot try an option; the message names it and says what is missing."""


CHANGED: Mapping[str, Value] = MappingProxyType(
    {
        "log_every": 1,  # the middle of its slider is longer than a probe
        "growth_rate": 1.05,  # estimates that rise slowly never reach a higher limit
        "ADAFACTOR.eps": 1e-6,  # anything smaller is lost beside squared gradients of the usual size
    }
)
"""The changed value by option, where the middle of the slider will not do; "KEY.option" for one optimizer only."""

NEEDS: Mapping[str, Values] = MappingProxyType({})
"""What an option needs beside its `enabled_if`, on both sides; by option, or "KEY.option" for one optimizer only."""

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "foreach": "it changes only the speed",
        "fused": "it changes only the speed",
        "log_every": "it only writes to the log",
    }
)
"""Options that are meant to leave the weights as they are, up to rounding, with what they change instead."""


def changed_value(found: OptimizerSpec, use: Use) -> Value:
    """The value that the probe sets an option to: away from the default, inside its slider, as a person would choose.

    A switch is turned over; of choices the first other one is taken; a number goes to the middle between its default and
    the farther end of its slider.

    Raises:
        ProbeError: the catalogue says too little to find one.

    >>> from diffopt_widgets.catalogue import spec
    >>> [changed_value(spec("PRODIGY"), spec("PRODIGY").use(name)) for name in ("beta1", "eps", "slice_p", "decouple")]
    [0.45, 1e-06, 16, False]
    """
    option = use.option
    value = _stated(CHANGED, found, use.name)
    if value is None:
        if option.choices:
            others = [choice for choice in option.choices if choice != format_value(use.default)]
            value = option.parse(others[0])
        elif option.kind == "bool":
            value = not use.default
        else:
            value = _number(found, use)
    domain = use.domain or option.domain
    outside = domain is not None and isinstance(value, int | float) and value not in domain
    if value == use.default or outside:
        raise ProbeError(
            f"{found.key}.{use.name}: {format_value(value)} is its default or outside its domain. "
            "Give another value in CHANGED of training/probe_values.py."
        )
    return value


def needed_values(found: OptimizerSpec, use: Use) -> dict[str, Value]:
    """The values that must be there before an option can act: what `enabled_if` asks for, and NEEDS.

    >>> from diffopt_widgets.catalogue import spec
    >>> needed_values(spec("PRODIGY"), spec("PRODIGY").use("decouple"))
    {'weight_decay': 0.05}
    """
    needed = dict(_stated(NEEDS, found, use.name) or {})
    when = use.enabled_if
    if when is None or when.option in needed:
        return needed
    other = found.use(when.option)
    value = other.default if when.test == "!=" or when.holds({when.option: other.default}) else when.value
    if not when.holds({when.option: value}):
        value = changed_value(found, other)
    if not when.holds({when.option: value}):
        raise ProbeError(
            f"{found.key}.{use.name}: it works {when.words()}, and the probe knows no such value. "
            "Give one in NEEDS of training/probe_values.py."
        )
    return {**needed_values(found, other), **needed, when.option: value}


def elsewhere(found: OptimizerSpec, use: Use) -> str:
    """What an option changes when it is not the weights; "" for all others."""
    return _stated(ELSEWHERE, found, use.name) or ""


def _stated(table: Mapping[str, T], found: OptimizerSpec, name: str) -> T | None:
    return table.get(f"{found.key}.{name}", table.get(name))


def _number(found: OptimizerSpec, use: Use) -> Value:
    option = use.option
    if option.soft is None:
        raise ProbeError(
            f"{found.key}.{use.name}: it has no slider to take a value from. "
            "Give a value in CHANGED of training/probe_values.py."
        )
    log = option.log and option.soft[0] > 0
    low, high = (math.log(end) if log else float(end) for end in option.soft)
    start = low
    if isinstance(use.default, int | float) and math.isfinite(use.default):
        inside = min(max(float(use.default), option.soft[0]), option.soft[1])
        start = math.log(inside) if log else inside
    far = high if high - start >= start - low else low
    middle = (start + far) / 2
    value = math.exp(middle) if log else middle
    return round(value) if option.kind == "int" else float(f"{value:.2g}")
