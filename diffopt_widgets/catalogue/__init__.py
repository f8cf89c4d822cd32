"""The catalogue: every optimizer and every option, stated once, as plain data.

Importing it loads no back end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.adafactor import LOW_MEMORY
from diffopt_widgets.catalogue.adam import ADAM_FAMILY
from diffopt_widgets.catalogue.adaptive import PRODIGY
from diffopt_widgets.catalogue.dadapt import DADAPT
from diffopt_widgets.catalogue.history import HISTORY_FAMILY
from diffopt_widgets.catalogue.layerwise import LAYERWISE_FAMILY
from diffopt_widgets.catalogue.momentum import MOMENTUM_FAMILY
from diffopt_widgets.catalogue.shared import with_adapters, with_common_rules
from diffopt_widgets.catalogue.sign import SIGN_FAMILY

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import OptimizerSpec

_IN_MENU_ORDER = (
    *ADAM_FAMILY,
    PRODIGY,
    *DADAPT,
    *LOW_MEMORY,
    *SIGN_FAMILY,
    *MOMENTUM_FAMILY,
    *HISTORY_FAMILY,
    *LAYERWISE_FAMILY,
)
_SPECS: dict[str, OptimizerSpec] = {entry.key: with_common_rules(with_adapters(entry)) for entry in _IN_MENU_ORDER}


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
