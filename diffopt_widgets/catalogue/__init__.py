"""The catalogue: every optimizer and every option, stated once, as plain data.

Importing it loads no back end.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.shared import with_adapters, with_common_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffopt_widgets.catalogue.schema import OptimizerSpec

FAMILIES = (
    "adam",
    "adv_adam",
    "prodigy",
    "prodigy_plus",
    "adv_prodigy",
    "dadapt",
    "schedule_free",
    "ademamix",
    "adam_variants",
    "nadam",
    "adan",
    "stable_adamw",
    "adafactor",
    "came",
    "lion",
    "tiger",
    "adv_sign",
    "sgd",
    "adagrad_rmsprop",
    "layerwise",
    "soap",
    "muon",
    "muon_adv",
)
"""The files of `families/` in the order of the menu: a new optimizer is a file there with `ENTRIES`, and its line here."""


def _entries() -> Iterator[OptimizerSpec]:
    for name in FAMILIES:
        yield from importlib.import_module(f"{__name__}.families.{name}").ENTRIES


_SPECS: dict[str, OptimizerSpec] = {entry.key: with_common_rules(with_adapters(entry)) for entry in _entries()}


def list_optimizers() -> tuple[str, ...]:
    """The keys of all optimizers, in alphabetical order: OneTrainer's names, and names in their manner for those that it lacks."""
    return tuple(sorted(_SPECS))


def onetrainers() -> tuple[str, ...]:
    """The keys of those optimizers that OneTrainer has too: the ones with its preset.

    >>> "PRODIGY" in onetrainers(), "NADAM" in onetrainers()
    (True, False)
    """
    return tuple(key for key in list_optimizers() if any(preset.key == "onetrainer" for preset in _SPECS[key].presets))


def spec(key: str) -> OptimizerSpec:
    """The spec of one optimizer by its key; that of a class outside the catalogue by its import path.

    Raises:
        KeyError: there is no such optimizer; the message lists those that there are, or says what is wrong with the path.

    >>> spec("PRODIGY").target, spec("torch.optim:RAdam").catalogued
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

    >>> key_of("prodigy"), key_of("ademamix_8bit"), key_of("nope"), key_of("torch.optim:RAdam")
    ('PRODIGY', 'AdEMAMix_8BIT', 'NOPE', 'torch.optim:RAdam')
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
