"""Code that divides parameters between Muon and its auxiliary Adam, as the bench does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.hidden_layers import OUTER, pieces

if TYPE_CHECKING:
    from diffopt_widgets.settings import Settings

GROUPS = '[group for group in groups if group["params"]]'
"""Expression that the optimizer gets in place of `params`."""
_PAIRS = [
    "# params: (name, weight) pairs, as model.named_parameters() gives them; without names the shape alone decides",
    'named = [pair if isinstance(pair, tuple) else ("", pair) for pair in params]',
]


def muon_groups_code(settings: Settings, scale: float) -> tuple[list[str], list[str]]:
    """Write lines that make `groups` out of `params`, and the imports that they need; `scale` multiplies the rates."""
    options, lr = settings.options, settings.lr * scale
    if not options["MuonWithAuxAdam"]:
        every = f'    {{"params": [p for _, p in named], "use_muon": True, "lr": {lr!r}}},'
        return [*_PAIRS, "groups = [", every, "]"], []
    own = options["muon_adam_lr"]
    adam_lr = float(own) * scale if isinstance(own, int | float) else lr
    lines = [
        *_PAIRS,
        "",
        "",
        "def hidden(name, p):",
        f"    return p.ndim > 1 and {_condition(settings)}",
        "",
        "",
        "groups = [",
        f'    {{"params": [p for n, p in named if hidden(n, p)], "use_muon": True, "lr": {lr!r}}},',
        f'    {{"params": [p for n, p in named if not hidden(n, p)], "use_muon": False, "lr": {adam_lr!r}}},',
        "]",
        *_text_encoders(settings, scale),
    ]
    return lines, ["import re"] if any("re.search" in line for line in lines) else []


def _condition(settings: Settings) -> str:
    text = settings.options["muon_hidden_layers"]
    if text is None:
        return f'min(p.flatten(1).shape) > 1 and not re.search(r"{OUTER}", name, re.IGNORECASE)'
    match = "re.search(piece, name)" if settings.options["muon_adam_regex"] else "piece in name"
    return f"any({match} for piece in {list(pieces(text))!r})"


def _text_encoders(settings: Settings, scale: float) -> list[str]:
    rates = {
        "text_encoder": settings.options["muon_te1_adam_lr"],
        "text_encoder_2": settings.options["muon_te2_adam_lr"],
    }
    return [
        f"# Adam's parameters in {part} need a group of their own, like the second, with lr {float(rate) * scale!r}."
        for part, rate in rates.items()
        if isinstance(rate, int | float)
    ]
