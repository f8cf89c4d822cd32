"""How much state an optimizer keeps, in words."""

from __future__ import annotations

from diffopt_widgets.state_size.models.choice import Choice

_UNITS = ("B", "kB", "MB", "GB", "TB")


def bytes_words(size: float) -> str:
    """Bytes in the largest unit that leaves one or more, as the table of runs writes them.

    >>> bytes_words(1_315_965_120), bytes_words(0), bytes_words(188_699_648)
    ('1.3 GB', '0 B', '189 MB')
    """
    value, power = float(size), 0
    while power < len(_UNITS) - 1 and value >= 999.5:
        value, power = value / 1000, power + 1
    return f"{value:.1f} {_UNITS[power]}" if power and value < 9.95 else f"{value:.0f} {_UNITS[power]}"


def state_sentence(optimizer: str, choice: Choice, found: int | str) -> str:
    """How much state an optimizer keeps for what is trained, or why that is not known.

    >>> state_sentence("PRODIGY", Choice(), 1_315_965_120)
    'PRODIGY: 1.3 GB of state for an SDXL LoRA of rank 64'
    """
    if isinstance(found, str):
        return found if found.startswith(optimizer) else f"{optimizer}: {found}"
    return f"{optimizer}: {bytes_words(found) if found else 'no'}{' of' if found else ''} state for {choice.words()}"


def state_details(choice: Choice, found: int | str) -> str:
    """What the sentence rests on.

    >>> state_details(Choice(), 743_182_720)
    '92,897,280 weights in float32 in the attention layers of its UNet, 8.00 bytes of state for each'
    """
    each = "" if isinstance(found, str) else f", {found / choice.weights():.2f} bytes of state for each"
    return f"{choice.details()}{each}"
