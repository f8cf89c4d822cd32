"""The catalogue: every optimizer and every option, stated once, as plain data.

Importing it loads no back end.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.shared import with_adapters, with_common_rules, with_state_sizes
from diffopt_widgets.catalogue.values import safe_repr

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
"""Files of `families/` in the order of the menu. To add an optimizer, write a file there with `ENTRIES`, and its name here."""


def _entries() -> Iterator[OptimizerSpec]:
    for name in FAMILIES:
        yield from importlib.import_module(f"{__name__}.families.{name}").ENTRIES


_SPECS: dict[str, OptimizerSpec] = {
    entry.key: with_state_sizes(with_common_rules(with_adapters(entry))) for entry in _entries()
}


def list_optimizers() -> tuple[str, ...]:
    """Return the keys of all optimizers, sorted: OneTrainer's names, and names of the same form for those that it lacks."""
    return tuple(sorted(_SPECS))


def _listed() -> str:
    return ", ".join(list_optimizers())


def onetrainers() -> tuple[str, ...]:
    """Return the keys of the optimizers that OneTrainer has too; these have its preset.

    >>> "PRODIGY" in onetrainers(), "NADAM" in onetrainers()
    (True, False)
    """
    return tuple(key for key in list_optimizers() if any(preset.key == "onetrainer" for preset in _SPECS[key].presets))


def spec(key: str) -> OptimizerSpec:
    """Return the spec of an optimizer, by its key, by a name that `Settings` takes for it, or by the import path of its class.

    Raises:
        KeyError: there is no such optimizer; the message lists the keys, or explains what is wrong with the path.
        TypeError: it is not a text.

    >>> spec("PRODIGY").target, spec("torch.optim:RAdam").catalogued
    ('prodigyopt:Prodigy', False)
    """
    if not isinstance(key, str):
        raise TypeError(
            f"key is the name of an optimizer, such as 'PRODIGY', and not {type(key).__name__}; spec_of() takes classes"
        )
    if key in _SPECS:
        return _SPECS[key]
    if is_path(key):
        from diffopt_widgets.catalogue.introspect.uncatalogued import spec_at

        return spec_at(key)
    from diffopt_widgets.catalogue.names import explain_name, meant_by

    if meant := meant_by(key):
        return spec(meant.key)
    raise KeyError(f"no optimizer {safe_repr(key)}. {explain_name(key) or f'There are {_listed()}'}")


def is_path(key: str) -> bool:
    """Return whether a key is the import path of a class, and not the name of an optimizer in the catalogue."""
    return ":" in key


def families() -> dict[str, tuple[OptimizerSpec, ...]]:
    """Return the optimizers by family, in the order of the menu."""
    grouped: dict[str, list[OptimizerSpec]] = {}
    for entry in _SPECS.values():
        grouped.setdefault(entry.family, []).append(entry)
    return {family: tuple(entries) for family, entries in grouped.items()}
