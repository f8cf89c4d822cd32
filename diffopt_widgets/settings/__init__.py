"""Settings of an optimizer, plans of runs, and the faults found in them."""

from diffopt_widgets.settings.faults import Fault, SettingsError, kind_of, whole_number, with_full_stop
from diffopt_widgets.settings.settings import Settings, as_settings, check_values, default_values, preset

__all__ = [
    "Fault",
    "Settings",
    "SettingsError",
    "as_settings",
    "check_values",
    "default_values",
    "kind_of",
    "preset",
    "whole_number",
    "with_full_stop",
]
