"""The catalogue: every optimizer and every option, stated once, as plain data.

Importing it loads no back end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.families.adafactor import LOW_MEMORY
from diffopt_widgets.catalogue.families.adagrad_rmsprop import HISTORY_FAMILY
from diffopt_widgets.catalogue.families.adam import ADAM_FAMILY
from diffopt_widgets.catalogue.families.adam_variants import VARIANTS
from diffopt_widgets.catalogue.families.ademamix import ADEMAMIX_FAMILY
from diffopt_widgets.catalogue.families.adv_adam import ADV_ADAM
from diffopt_widgets.catalogue.families.adv_prodigy import PRODIGY_ADV
from diffopt_widgets.catalogue.families.adv_sign import ADV_SIGN
from diffopt_widgets.catalogue.families.came import CAME_FAMILY
from diffopt_widgets.catalogue.families.dadapt import DADAPT
from diffopt_widgets.catalogue.families.layerwise import LAYERWISE_FAMILY
from diffopt_widgets.catalogue.families.lion import SIGN_FAMILY
from diffopt_widgets.catalogue.families.muon import MUON_FAMILY
from diffopt_widgets.catalogue.families.muon_adv import MUON_ADV_FAMILY
from diffopt_widgets.catalogue.families.prodigy import PRODIGY
from diffopt_widgets.catalogue.families.prodigy_plus import PRODIGY_PLUS
from diffopt_widgets.catalogue.families.schedule_free import SCHEDULE_FREE
from diffopt_widgets.catalogue.families.sgd import MOMENTUM_FAMILY
from diffopt_widgets.catalogue.families.tiger import TIGER
from diffopt_widgets.catalogue.shared import with_adapters, with_common_rules

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.schema import OptimizerSpec

_IN_MENU_ORDER = (
    *ADAM_FAMILY,
    *ADV_ADAM,
    PRODIGY,
    PRODIGY_PLUS,
    PRODIGY_ADV,
    *DADAPT,
    *SCHEDULE_FREE,
    *ADEMAMIX_FAMILY,
    *VARIANTS,
    *LOW_MEMORY,
    *CAME_FAMILY,
    *SIGN_FAMILY,
    TIGER,
    *ADV_SIGN,
    *MOMENTUM_FAMILY,
    *HISTORY_FAMILY,
    *LAYERWISE_FAMILY,
    *MUON_FAMILY,
    *MUON_ADV_FAMILY,
)
_SPECS: dict[str, OptimizerSpec] = {entry.key: with_common_rules(with_adapters(entry)) for entry in _IN_MENU_ORDER}


def list_optimizers() -> tuple[str, ...]:
    """The keys of all optimizers, by OneTrainer's names, in alphabetical order."""
    return tuple(sorted(_SPECS))


def spec(key: str) -> OptimizerSpec:
    """The spec of one optimizer by its key; that of a class outside the catalogue by its import path.

    Raises:
        KeyError: there is no such optimizer; the message lists those that there are, or says what is wrong with the path.

    >>> spec("PRODIGY").target, spec("torch.optim:NAdam").catalogued
    ('prodigyopt:Prodigy', False)
    """
    try:
        return _SPECS[key]
    except KeyError:
        if is_path(key):
            from diffopt_widgets.catalogue.introspect.uncatalogued import spec_at

            return spec_at(key)
        raise KeyError(f"no optimizer {key!r}; there are {', '.join(list_optimizers())}") from None


def is_path(key: str) -> bool:
    """Whether a key is the import path of a class, not the name of an optimizer in the catalogue."""
    return ":" in key


def key_of(text: str) -> str:
    """The key that is written like `text` but for capitals; `text` in capitals where there is none.

    The import path of a class outside the catalogue stays as it is.

    >>> key_of("prodigy"), key_of("ademamix_8bit"), key_of("nope"), key_of("torch.optim:NAdam")
    ('PRODIGY', 'AdEMAMix_8BIT', 'NOPE', 'torch.optim:NAdam')
    """
    if is_path(text):
        return text
    return {key.casefold(): key for key in _SPECS}.get(text.casefold(), text.upper())


def families() -> dict[str, tuple[OptimizerSpec, ...]]:
    """Optimizers by family, in the order of the menu."""
    grouped: dict[str, list[OptimizerSpec]] = {}
    for entry in _SPECS.values():
        grouped.setdefault(entry.family, []).append(entry)
    return {family: tuple(entries) for family, entries in grouped.items()}
