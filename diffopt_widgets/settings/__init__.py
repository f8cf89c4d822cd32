"""Settings of an optimizer, plans of runs, and what is wrong with them."""

from diffopt_widgets.settings.faults import Fault, SettingsError, ended
from diffopt_widgets.settings.settings import Settings, check_values, default_values, preset

__all__ = ["Fault", "Settings", "SettingsError", "check_values", "default_values", "ended", "preset"]
