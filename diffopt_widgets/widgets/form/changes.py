"""What the page asks to be changed in the form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from diffopt_widgets.widgets.form.draft import Draft
from diffopt_widgets.widgets.form.messages import BadMessageError, Message, text_in, typed_in

BESIDE = {"reset": (Draft.reset, "reset"), "advise": (Draft.advise, "recommended"), "fix": (Draft.fix, "fix")}
"""What can be done with one control, with the word that Undo says for it."""


class Change(NamedTuple):
    """What follows from a change."""

    draft: Draft
    done: str
    """What Undo says that it takes back."""
    place: str
    """What was changed; changes in the same place are undone together."""


def typed(draft: Draft, name: str, text: str) -> Change:
    """A text typed into one control.

    Raises:
        KeyError: the optimizer has no such control.
    """
    return Change(draft.type(name, text), name, f"type:{name}")


def loaded(draft: Draft, preset: str) -> Change:
    """A preset loaded.

    Raises:
        KeyError: the optimizer has no such preset.
    """
    return Change(draft.load(preset), f"load {draft.spec.preset(preset).title}", f"load:{preset}")


def beside(draft: Draft, kind: str, name: str) -> Change:
    """One of the ways to change a control that stand beside it.

    Raises:
        KeyError: the optimizer has no such control.
    """
    change, words = BESIDE[kind]
    return Change(change(draft, name), f"{words} {name}", f"{kind}:{name}")


def asked(message: Message, draft: Draft) -> Change:
    """What a message of the page asks.

    The page may still show the optimizer that was shown before, on a slow connection or while a cell runs. What both have
    is changed in the one that is shown now; what only the other has, there, for when one comes back to it.

    Raises:
        BadMessageError: it asks nothing that is known, or a part of it is missing.
        KeyError: neither optimizer has what it names.
    """
    change: Callable[[Draft], Change]
    match message.get("k"):
        case "load":
            preset = text_in(message, "preset")
            here = preset in {found.key for found in draft.spec.presets}
            change = partial(loaded, preset=preset)
        case "type":
            name = text_in(message, "name")
            here = name in draft.texts
            change = partial(typed, name=name, text=typed_in(message))
        case ("reset" | "advise" | "fix") as kind:
            name = text_in(message, "name")
            here = name in draft.texts
            change = partial(beside, kind=kind, name=name)
        case kind:
            raise BadMessageError(f"there is no message {str(kind)[:40]!r}")
    panel = str(message.get("panel", draft.optimizer))
    if here or panel == draft.optimizer:
        return change(draft)
    made = change(draft.choose(panel))
    return made._replace(draft=made.draft.choose(draft.optimizer))
