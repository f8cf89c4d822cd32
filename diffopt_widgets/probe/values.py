"""Values that the probe sets options to, and values that an option needs before it can have an effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from diffopt_widgets.catalogue.schema import OptimizerSpec, Use, Values
from diffopt_widgets.catalogue.values import Value, format_value
from diffopt_widgets.plain_text import printed_readably

T = TypeVar("T")


@printed_readably
class ProbeError(RuntimeError):
    """Error when the probe cannot try an option; the message names the option and what is missing."""


CHANGED: Mapping[str, Value] = MappingProxyType(
    {
        "growth_rate": 1.05,  # estimates that rise slowly never reach a higher limit
        "muon_hidden_layers": "weight",
    }
)
"""Changed value by option, where the values from its slider do not suit; "KEY.option" for one optimizer only."""

NEEDS: Mapping[str, Values] = MappingProxyType(
    {
        "muon_adam_regex": {"muon_hidden_layers": "k."},
        "ADOPT.fixed_decay": {"decoupled_decay": True},
        "AIDA.fixed_decay": {"decoupled_decay": True},
    }
)
"""Values that an option needs besides its `enabled_if`, on both sides; by option, or "KEY.option" for one optimizer only."""

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "foreach": "it changes only the speed",
        "fused": "it changes only the speed",
        "fused_back_pass": "it only saves memory",
        "log_every": "it only writes to the log",
    }
)
"""Options that must not change the weights, up to rounding, with a description of what they change instead."""


A_FEW_STEPS = 5
"""Value for an option that is a number of steps: it is passed within the steps of the probe."""


def changed_value(entry: OptimizerSpec, use: Use) -> Value:
    """Return the first of `changed_values`."""
    return changed_values(entry, use)[0]


def changed_values(entry: OptimizerSpec, use: Use) -> tuple[Value, ...]:
    """Return the values that the probe tries one after the other until one makes a difference, the most usual one first.

    A switch is turned over. An option with choices gets each other choice. A number gets the middle between its default
    and the farther end of its slider, then both ends, then a value near the lower end.

    Raises:
        ProbeError: the catalogue does not have enough information to find a value.

    >>> from diffopt_widgets.catalogue import spec
    >>> changed_values(spec("PRODIGY"), spec("PRODIGY").use("beta1"))
    (0.45, 0.0, 0.999, 0.01)
    """
    option = use.option
    stated = _stated(CHANGED, entry, use.name)
    if stated is not None:
        values: list[Value] = [stated]
    elif option.choices:
        values = [option.parse(choice) for choice in option.choices]
    elif option.kind == "bool":
        values = [not use.default]
    elif option.soft is not None:
        values = _numbers(use, *option.soft)
    else:
        raise ProbeError(
            f"{entry.key}.{use.name}: it has no slider to take a value from. "
            "Give a value in CHANGED of probe/values.py."
        )
    domain = use.domain or option.domain
    inside = (v for v in values if not isinstance(v, int | float) or domain is None or v in domain)
    usable = tuple(dict.fromkeys(value for value in inside if value != use.default))
    if not usable:
        raise ProbeError(
            f"{entry.key}.{use.name}: {format_value(values[0])} is its default or outside its domain. "
            "Give another value in CHANGED of probe/values.py."
        )
    return usable


def needed_values(entry: OptimizerSpec, use: Use) -> dict[str, Value]:
    """Return the values that an option needs before it can act: those of `enabled_if`, and NEEDS.

    >>> from diffopt_widgets.catalogue import spec
    >>> needed_values(spec("PRODIGY"), spec("PRODIGY").use("decouple"))
    {'weight_decay': 0.05}
    """
    needed = dict(_stated(NEEDS, entry, use.name) or {})
    when = use.enabled_if
    if when is None or when.option in needed:
        return needed
    other = entry.use(when.option)
    value = other.default if when.test == "!=" or when.holds({when.option: other.default}) else when.value
    if not when.holds({when.option: value}):
        value = changed_value(entry, other)
    if not when.holds({when.option: value}):
        raise ProbeError(
            f"{entry.key}.{use.name}: it works {when.words()}, and the probe knows no such value. "
            "Give one in NEEDS of probe/values.py."
        )
    return {**needed_values(entry, other), **needed, when.option: value}


def elsewhere(entry: OptimizerSpec, use: Use) -> str:
    """Describe what an option changes instead of the weights; "" for options that change the weights."""
    return _stated(ELSEWHERE, entry, use.name) or ""


def _stated(table: Mapping[str, T], entry: OptimizerSpec, name: str) -> T | None:
    return table.get(f"{entry.key}.{name}", table.get(name))


def _numbers(use: Use, low: float, high: float) -> list[Value]:
    """Return values on a slider: the middle between the default and the farther end, both ends, and 1% of the way."""
    option = use.option
    if option.unit == "steps":
        return [A_FEW_STEPS, 2 * A_FEW_STEPS]
    log = option.log and low > 0
    ends = [math.log(end) if log else float(end) for end in (low, high)]
    start = ends[0]
    if isinstance(use.default, int | float) and math.isfinite(use.default):
        inside = min(max(float(use.default), low), high)
        start = math.log(inside) if log else inside
    near, far = sorted(ends, key=lambda end: (abs(end - start), end))
    places = [(start + far) / 2, far, near, ends[0] + (ends[1] - ends[0]) / 100]
    return [_rounded(math.exp(place) if log else place, use, ends=(low, high)) for place in places]


def _rounded(value: float, use: Use, ends: tuple[float, float]) -> float | int:
    """Round to two digits, except an end of a slider, which stays exact."""
    end = next((end for end in ends if math.isclose(value, end)), None)
    if use.option.kind == "int":
        return round(value)
    return float(f"{value:.2g}") if end is None else float(end)
