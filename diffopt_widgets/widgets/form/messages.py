"""Reading what the page of the form sends."""

from __future__ import annotations

from typing import Any

from diffopt_widgets.widgets.form.exchange import LONGEST_TEXT

Message = dict[str, Any]  # Any: the page may send whatever JSON holds


class BadMessageError(ValueError):
    """The page sent something that the form does not understand."""


def message_of(content: object) -> Message:
    """The fields of a message; none when it is no object."""
    return content if isinstance(content, dict) else {}


def sender_of(message: Message) -> list[Any]:
    """Which page sent the message and its number there, to be sent back; [] when it wants no answer.

    Raises:
        BadMessageError: it has a number and names no page.
    """
    number = message.get("n")
    return [text_in(message, "page"), number] if isinstance(number, int) else []


def text_in(message: Message, field: str) -> str:
    """A text in a message, without halves of surrogate pairs, which could not be sent back.

    Raises:
        BadMessageError: it is missing.
    """
    text = message.get(field)
    if not isinstance(text, str):
        raise BadMessageError(f"{field} is missing in a message {str(message.get('k'))[:40]!r}")
    return text.encode("utf-8", "replace").decode()


def typed_in(message: Message) -> str:
    """The text of a control. No value is as long as the longest, so its end makes way for a word on its length.

    Raises:
        BadMessageError: it is missing.
    """
    text = text_in(message, "text")
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
