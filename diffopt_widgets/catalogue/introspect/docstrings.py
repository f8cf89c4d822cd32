"""Reader of docstrings: sentences about a class and about each argument.

It reads the two styles that optimizer packages use: Google's (`Args:` and indented entries) and Sphinx's (`:param name: …`).
Text that it does not understand is left out, never guessed.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

LONGEST = 300
"""Length above which an entry is cut at the end of a sentence, or else of a word."""

_SECTION = re.compile(r"(?:Args|Arguments|Parameters|Keyword Args|Keyword Arguments):\s*")
_TYPE = r"\((?:[^()]|\([^()]*\))*\)"
_ENTRY = re.compile(rf"(?P<indent>\s+)\*{{0,2}}(?P<name>\w+)\s*(?P<type>{_TYPE})?\s*:(?P<text>$|\s.*)")
_FIELD = re.compile(r":param\s+(?P<type>[^:]*?)\s*\b(?P<name>\w+)\s*:\s*(?P<text>.*)")
_LEADING_TYPE = re.compile(r"(?:(?:Optional|Union|Tuple|Literal)\[[^\]]*\]|float|int|bool|str|[A-Z][A-Z_]+\d*)\.\s+")


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry of a docstring about one argument."""

    text: str
    type: str = ""
    """Type as it is written there, without brackets: `"float, optional"`."""


def argument_entries(docstring: str) -> dict[str, Entry]:
    r"""Return the docstring's entry about each argument, by name.

    >>> argument_entries("Steps.\n\nArgs:\n    lr (float, optional): how far\n        a step goes.\n")
    {'lr': Entry(text='how far a step goes.', type='float, optional')}
    >>> argument_entries(":param lr: float. how far a step goes.")
    {'lr': Entry(text='how far a step goes.', type='float')}
    """
    lines = inspect.cleandoc(docstring).splitlines()
    return {**_google(lines), **_sphinx(lines)}


def first_sentence(docstring: str) -> str:
    r"""Return the first sentence of a docstring, with the full stop; "" when there is none.

    >>> first_sentence("Implements `Lion <https://x.org>`_.\n\nMore of it.")
    'Implements Lion.'
    """
    paragraph = inspect.cleandoc(docstring).split("\n\n")[0]
    text = _plain(paragraph)
    return _sentences(text, 1) if text and not text.startswith(("..", ":", ">>>")) else ""


def _google(lines: list[str]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    within, indent = False, 0
    name, kind, parts = "", "", [""]
    for line in [*lines, "end"]:
        depth = len(line) - len(line.lstrip())
        entry = _ENTRY.fullmatch(line) if within and (not indent or depth == indent) else None
        if name and (entry or (line.strip() and depth <= indent)):
            entries[name] = Entry(_cut(_plain(" ".join(parts))), kind)
            name = ""
        if entry:
            indent, name = depth, entry["name"]
            kind, parts = (entry["type"] or "")[1:-1], [entry["text"]]
        elif line.strip() and depth == 0:
            within, indent = bool(_SECTION.fullmatch(line)), 0
        elif name:
            parts.append(line)
    return {name: entry for name, entry in entries.items() if entry.text}


def _sphinx(lines: list[str]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    name, kind, parts = "", "", [""]
    for line in [*(line.strip() for line in lines), ""]:
        if name and (not line or line.startswith(":")):
            text = _plain(" ".join(parts))
            if leading := _LEADING_TYPE.match(text + " "):
                kind, text = kind or leading[0].strip(" ."), text[leading.end() :]
            entries[name] = Entry(_cut(text), kind)
            name = ""
        if field := _FIELD.fullmatch(line):
            name, kind, parts = field["name"], field["type"], [field["text"]]
        elif name:
            parts.append(line)
    return {name: entry for name, entry in entries.items() if entry.text}


def _plain(text: str) -> str:
    """Return the text without the marks of reStructuredText, on one line."""
    text = re.sub(r"(?::\w+:)?`([^`<]+?)\s*<[^`>]*>`_{0,2}", r"\1", text)
    text = re.sub(r":\w+:`([^`]*)`", r"\1", text)
    text = re.sub(r"``?([^`]*)``?_?", r"\1", text)
    return " ".join(text.split())


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    whole = [end.end() for end in re.finditer(r"[.!?](?=\s)", text[:LONGEST])]
    return text[: whole[-1]] if whole else f"{text[:LONGEST].rpartition(' ')[0]} …"


def _sentences(text: str, count: int) -> str:
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])", _cut(text))
    sentences = " ".join(parts[:count])
    return sentences if sentences.endswith((".", "!", "?", "…")) else f"{sentences}."


def docstring_of(cls: type) -> str:
    """Return a class's own docstring, not that of a base class; empty when it has none."""
    return cls.__dict__.get("__doc__") or ""


def quoted(text: str) -> str:
    """Return somebody else's text in quotation marks."""
    return f"“{text.removesuffix('.')}”."
