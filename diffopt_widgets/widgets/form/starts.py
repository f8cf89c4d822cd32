"""Valid settings: from some values, or to start an optimizer with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffopt_widgets.catalogue.schema import OptimizerSpec
from diffopt_widgets.settings import Settings, SettingsError, check_values, default_values


def valid_settings(optimizer: str, values: Mapping[str, Any]) -> Settings | None:
    """Return the settings with these values; None when they cannot be used."""
    try:
        return Settings(optimizer, **values)
    except SettingsError:
        return None


def first_valid(entry: OptimizerSpec) -> Settings | None:
    """Return the defaults, fixed where a rule offers a fix, or else the first preset that can be used."""
    values: dict[str, Any] = default_values(entry)
    for _ in entry.rules:
        fix = {name: value for fault in check_values(entry, values)[1] for name, value in fault.fix.items()}
        values |= {name: value for name, value in fix.items() if name in values}
    starts = (values, *(dict(preset.values) for preset in entry.presets))
    return next((settings for start in starts if (settings := valid_settings(entry.key, start))), None)
