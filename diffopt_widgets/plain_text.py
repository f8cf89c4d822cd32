"""Readable replacements for characters that an output cannot show, as where Windows or a container offers no Unicode.

This is the one place for them. The texts of this package are written with `→`, `·` and `√`; whatever prints one in a narrow
encoding shows `->`, `*` and `sqrt` instead, and never raises.
"""

from __future__ import annotations

import codecs
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

ERRORS = "diffopt.readable"
"""The name of this way to treat characters that an encoding lacks, as for `open(…, errors=…)`."""

_REPLACEMENTS = {
    "–": "-",
    "—": "-",
    "−": "-",
    "‐": "-",
    "‑": "-",
    "‒": "-",
    "·": "*",
    "⋅": "*",
    "×": "x",
    "✕": "x",
    "÷": "/",
    "…": "...",
    "→": "->",
    "←": "<-",
    "⇒": "=>",
    "√": "sqrt ",
    "∞": "inf",
    "≈": "~",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "±": "+-",
    "‖": "||",
    "°": " degrees",
    "“": '"',
    "”": '"',
    "„": '"',
    "‘": "'",
    "’": "'",
    "✓": "yes",
    "✗": "no",
    "•": "*",
    "□": "[]",
    "\ufffd": "?",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "─": "-",
    "│": "|",
    "█": "#",
    "⁻": "-",
    "⁺": "+",
    "\u200b": "",
    "\u200f": "",
    "\u2060": "",
    "\ufeff": "",
    "\xad": "",
}
_POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺"

_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML does not allow: one of them in a name, and no browser shows the picture. `format.js` has the same."""

_T = TypeVar("_T")


def readable(text: str, encoding: str) -> str:
    r"""Return a text in which readable ones replace the characters that an encoding lacks.

    >>> readable("0.9 → √beta2, 10⁻³ · ‖Δw‖ in café …", "ascii")
    '0.9 -> sqrt beta2, 10^-3 * ||Delta w|| in cafe ...'
    >>> readable("0.9 → 1 – “é” 世", "cp1252")
    '0.9 -> 1 – “é” \\u4e16'
    """
    if text.isascii():
        return text
    try:
        return text.encode(encoding, ERRORS).decode(encoding)
    except (LookupError, UnicodeError):  # no encoding that we know: its owner knows better
        return text


def showable(text: str) -> str:
    r"""Replace the characters with which a text can be on no page or picture: those that XML does not allow.

    >>> showable("a\x00b\ud800c 😀")
    'a\ufffdb\ufffdc 😀'
    """
    return _UNSHOWABLE.sub("\ufffd", text)


def printable(text: str) -> str:
    """Return a text as the standard output can show it; unchanged where that takes every character."""
    encoding = getattr(sys.stdout, "encoding", None)
    return readable(text, encoding) if isinstance(encoding, str) else text


def printed_readably(cls: type[_T]) -> type[_T]:
    """Make the `repr` and `str` of a class printable, whatever their texts hold."""
    names = ["__repr__"] if cls.__str__ is object.__str__ else ["__repr__", "__str__"]
    for name in names:
        setattr(cls, name, _printing(getattr(cls, name)))
    return cls


def _printing(method: Callable[[_T], str]) -> Callable[[_T], str]:
    @wraps(method)
    def printed(self: _T) -> str:
        return printable(method(self))

    return printed


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    shown, before = [], error.object[: error.start][-1:]
    for character in missing:
        if character in _POWERS and before not in set(_POWERS):
            shown.append("^")
        shown.append(_shown(character, error.object[error.end : error.end + 1]))
        before = character
    return "".join(shown), error.end


def _shown(character: str, after: str) -> str:
    """Return the replacement of a character; the word for a Greek letter is kept apart from a letter after it."""
    if character in _REPLACEMENTS:
        return _REPLACEMENTS[character]
    words = unicodedata.name(character, "").split()
    if words[:3:2] == ["GREEK", "LETTER"] and len(words) == 4:
        word = words[3].capitalize() if words[1] == "CAPITAL" else words[3].lower()
        return f"{word} " if after.isalpha() else word
    parts = unicodedata.normalize("NFKD", character).replace("\u2044", "/")  # the fraction slash of ½
    plain = (" " * (parts != character and "/" in parts) + parts).encode("ascii", "ignore").decode()
    return plain or character.encode("ascii", "backslashreplace").decode()


codecs.register_error(ERRORS, _replace)
