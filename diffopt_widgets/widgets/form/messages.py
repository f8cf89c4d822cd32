"""Messages from the page of the form, and how to read them."""

from __future__ import annotations

from typing import Any

from diffopt_widgets.widgets.form.exchange import LONGEST_TEXT

Message = dict[str, Any]  # Any: the page may send any JSON


class BadMessageError(ValueError):
    """Error for a message that the form does not understand."""


def message_of(content: object) -> Message:
    """Return the fields of a message; none when it is not an object."""
    return content if isinstance(content, dict) else {}


def sender_of(message: Message) -> list[Any]:
    """Return the page that sent the message and its number there, for the answer; [] when the page expects none.

    Raises:
        BadMessageError: the message has a number and names no page.
    """
    number = message.get("n")
    return [text_in(message, "page"), number] if isinstance(number, int) else []


def text_in(message: Message, field: str) -> str:
    """Return a text in a message, without halves of surrogate pairs, which could not be sent back.

    Raises:
        BadMessageError: the text is missing.
    """
    text = message.get(field)
    if not isinstance(text, str):
        raise BadMessageError(f"{field} is missing in a message {str(message.get('k'))[:40]!r}")
    return text.encode("utf-8", "replace").decode()


def typed_in(message: Message) -> str:
    """Return the text of a control. A text that is too long for any value is cut, and its length is added.

    Raises:
        BadMessageError: the text is missing.
    """
    text = text_in(message, "text")
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
