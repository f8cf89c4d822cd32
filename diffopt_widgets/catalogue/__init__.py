"""The catalogue: every optimizer and every option, stated once, as plain data.

Importing it loads no back end.
"""

from __future__ import annotations

from diffopt_widgets.catalogue.adaptive import ADAPTIVE
from diffopt_widgets.catalogue.schema import OptimizerSpec

_SPECS: dict[str, OptimizerSpec] = {entry.key: entry for entry in (*ADAPTIVE,)}


def list_optimizers() -> tuple[str, ...]:
    """The keys of all optimizers, by OneTrainer's names, in alphabetical order."""
    return tuple(sorted(_SPECS))


def spec(key: str) -> OptimizerSpec:
    """The catalogue's entry of one optimizer.

    Raises:
        KeyError: there is no such optimizer; the message lists those that there are.
    """
    try:
        return _SPECS[key]
    except KeyError:
        raise KeyError(f"no optimizer {key!r}; there are {', '.join(list_optimizers())}") from None


def families() -> dict[str, tuple[OptimizerSpec, ...]]:
    """Optimizers by family, in the order of the menu."""
    grouped: dict[str, list[OptimizerSpec]] = {}
    for entry in _SPECS.values():
        grouped.setdefault(entry.family, []).append(entry)
    return {family: tuple(entries) for family, entries in grouped.items()}
