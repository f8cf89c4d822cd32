"""Texts about the size of an optimizer's state."""

from __future__ import annotations

from diffopt_widgets.settings import Settings
from diffopt_widgets.state_size.models.choice import Choice

_UNITS = ("B", "kB", "MB", "GB", "TB")


def bytes_words(size: float) -> str:
    """Format bytes in the largest unit that gives a number of at least one, as in the table of runs.

    >>> bytes_words(1_315_965_120), bytes_words(0), bytes_words(188_699_648)
    ('1.3 GB', '0 B', '189 MB')
    """
    value, power = float(size), 0
    while power < len(_UNITS) - 1 and value >= 999.5:
        value, power = value / 1000, power + 1
    return f"{value:.1f} {_UNITS[power]}" if power and value < 9.95 else f"{value:.0f} {_UNITS[power]}"


def state_sentence(optimizer: str, choice: Choice, size: int | str) -> str:
    """Describe the size of an optimizer's state for a training, or the reason why it is not known.

    >>> state_sentence("PRODIGY", Choice(), 1_315_965_120)
    'PRODIGY: 1.3 GB of state for an SDXL LoRA of rank 64'
    """
    if isinstance(size, str):
        return size if size.startswith(optimizer) else f"{optimizer}: {size}"
    return f"{optimizer}: {bytes_words(size) if size else 'no'}{' of' if size else ''} state for {choice.words()}"


def depends_on_names(settings: Settings) -> bool:
    """Return whether the optimizer chooses the layers that keep less state by their names.

    >>> depends_on_names(Settings("MUON")), depends_on_names(Settings("ADAMW"))
    (True, False)
    """
    return settings.spec.auxiliary and settings.options["MuonWithAuxAdam"] is True


def state_details(settings: Settings, choice: Choice, size: int | str) -> str:
    """Describe the numbers behind the sentence.

    >>> state_details(Settings("ADAMW"), Choice(), 743_182_720)
    '92,897,280 weights in float32 in the attention layers of its UNet, 8.00 bytes of state for each'
    """
    each = "" if isinstance(size, str) else f", {size / choice.weights():.2f} bytes of state for each"
    names = "; it depends on the names of the layers, here diffusers'" if depends_on_names(settings) else ""
    return f"{choice.details()}{each}{names}"
