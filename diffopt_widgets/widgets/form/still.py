"""The form as a table, for pages without widgets."""

from __future__ import annotations

from diffopt_widgets.settings import Settings, default_values
from diffopt_widgets.widgets.form.panel import shown_value
from diffopt_widgets.widgets.form.parsed import use_of
from diffopt_widgets.widgets.page.stand_in import Still, still_table

ALWAYS = ("lr", "schedule", "warmup")
"""Options that are in the table even at their defaults."""


def settings_still(settings: Settings, errors: int = 0) -> Still:
    """Make a table of settings: learning rate and schedule, and every other option that is not at its default.

    Args:
        settings: the last valid settings of a form.
        errors: number of controls whose text is wrong.

    >>> print(settings_still(Settings("LION", lr=1e-4, beta2=0.95)).text)  # doctest: +ELLIPSIS
    Lion: settings in the form
    <BLANKLINE>
    Option               Value     Default
    Learning rate (lr)   0.0001    0.0001
    Schedule (schedule)  Constant  Constant
    Warm-up (warmup)     0         0
    Beta 2 (beta2)       0.95      0.99
    <BLANKLINE>
    At their defaults: ...
    """
    spec, values = settings.spec, settings.values()
    defaults = default_values(spec)
    named = [name for name in defaults if name in ALWAYS or values[name] != defaults[name]]
    rows = []
    for name in sorted(named, key=lambda name: name not in ALWAYS):
        option = use_of(spec, name).option
        rows.append(
            (f"{option.title} ({name})", shown_value(option, values[name]), shown_value(option, defaults[name]))
        )
    others = [
        f"{name} {shown_value(use_of(spec, name).option, values[name])}" for name in defaults if name not in named
    ]
    below = f"At their defaults: {', '.join(others)}."
    if errors:
        texts = "1 typed text is" if errors == 1 else f"{errors} typed texts are"
        below += f" {texts} wrong; the last valid values stand here."
    return still_table(f"{spec.title}: settings in the form", ("Option", "Value", "Default"), rows, below=below)
