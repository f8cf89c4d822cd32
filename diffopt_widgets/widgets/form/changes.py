"""Changes of the form that the page asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from diffopt_widgets.widgets.form.draft import Draft
from diffopt_widgets.widgets.form.messages import BadMessageError, Message, text_in, typed_in

BUTTONS = {"reset": (Draft.reset, "reset"), "advise": (Draft.advise, "recommended"), "fix": (Draft.fix, "fix")}
"""Buttons of a control: the method that each calls, and its name in the Undo button."""


class Change(NamedTuple):
    """A new draft and the description of the change that led to it."""

    draft: Draft
    done: str
    """Name of the change in the Undo button."""
    place: str
    """Place of the change; changes in the same place are undone together."""


def typed(draft: Draft, name: str, text: str) -> Change:
    """Type a text into one control.

    Raises:
        KeyError: the optimizer has no such control.
    """
    return Change(draft.type(name, text), name, f"type:{name}")


def loaded(draft: Draft, preset: str) -> Change:
    """Load a preset.

    Raises:
        KeyError: the optimizer has no such preset.
    """
    return Change(draft.load(preset), f"load {draft.spec.preset(preset).title}", f"load:{preset}")


def pressed(draft: Draft, kind: str, name: str) -> Change:
    """Press one of the `BUTTONS` of a control.

    Raises:
        KeyError: the optimizer has no such control.
    """
    method, title = BUTTONS[kind]
    return Change(method(draft, name), f"{title} {name}", f"{kind}:{name}")


def requested(message: Message, draft: Draft) -> Change:
    """Make the change that a message of the page asks for.

    On a slow connection, or while a cell runs, the page may still show the previous optimizer. A control that both
    optimizers have is changed in the one that the kernel shows now. A control that only the previous one has is changed
    there, and the user sees the change on going back to it.

    Raises:
        BadMessageError: the kind of the message is unknown, or a part of it is missing.
        KeyError: neither optimizer has the control or the preset that it names.
    """
    change: Callable[[Draft], Change]
    match message.get("k"):
        case "load":
            preset = text_in(message, "preset")
            here = preset in {entry.key for entry in draft.spec.presets}
            change = partial(loaded, preset=preset)
        case "type":
            name = text_in(message, "name")
            here = name in draft.texts
            change = partial(typed, name=name, text=typed_in(message))
        case ("reset" | "advise" | "fix") as kind:
            name = text_in(message, "name")
            here = name in draft.texts
            change = partial(pressed, kind=kind, name=name)
        case kind:
            raise BadMessageError(f"there is no message {str(kind)[:40]!r}")
    panel = str(message.get("panel", draft.optimizer))
    if here or panel == draft.optimizer:
        return change(draft)
    there = change(draft.choose(panel))
    return there._replace(draft=there.draft.choose(draft.optimizer))
