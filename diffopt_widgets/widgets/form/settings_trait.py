"""SettingsTrait: a trait of a widget that always holds valid settings."""

from __future__ import annotations

from typing import Any

import traitlets

from diffopt_widgets.settings import Settings, as_settings


class SettingsTrait(traitlets.TraitType[Settings, Any]):
    """Trait that holds Settings, and takes the name of an optimizer for its defaults.

    Anything else raises the SettingsError that `Settings` raises, with all that is wrong.

    >>> class Lesson(traitlets.HasTraits):
    ...     settings = SettingsTrait()
    >>> lesson = Lesson(settings="LION")
    >>> lesson.settings
    Settings('LION', lr=0.0001)
    >>> lesson.settings = 1e-4
    Traceback (most recent call last):
    ...
    diffopt_widgets.settings.faults.SettingsError: settings: settings are wanted, and this is a float. Write dw.Settings("PRODIGY", lr=1.0), or "PRODIGY".
    """

    info_text = "Settings"

    def validate(self, _: object, value: object) -> Settings:
        """Return the settings, or the defaults of the optimizer that is named.

        Raises:
            SettingsError: it is neither.
        """
        return as_settings(value, self.name or "settings")
