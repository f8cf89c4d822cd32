"""Settings as a text to copy, and back from a text that somebody pastes."""

from __future__ import annotations

import ast
import json
import re

from diffopt_widgets.catalogue import is_path
from diffopt_widgets.catalogue.introspect.uncatalogued import is_loaded
from diffopt_widgets.settings import Fault, Settings, SettingsError

LONGEST_TEXT = 20_000
"""Longer texts are neither settings nor a value."""
_CALL = re.compile(r"(?:\w+\s*=\s*)?(?:\w+\s*\.\s*)?Settings\s*\((.*)\)", re.DOTALL)
_PAIR = re.compile(r"(?:(\w+)\s*=\s*)?(\S.*)")
_QUOTED = r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\""""
_LITERAL = re.compile(rf"[-+]?[\w.]+(?:[-+]\d+)?|{_QUOTED}")
_COMMA = re.compile(rf"({_QUOTED})|,")
_INFINITY = re.compile(r"""float\(\s*["']\+?inf(?:inity)?["']\s*\)""", re.IGNORECASE)


def write_settings(settings: Settings) -> str:
    """JSON to keep or to send to somebody, one value a line.

    >>> write_settings(Settings("LION", lr=1e-5)).splitlines()[:4]
    ['{', '  "format": 1,', '  "optimizer": "LION",', '  "lr": 1e-05,']
    """
    return json.dumps(json.loads(settings.to_json()), indent=2)


def read_settings(text: str) -> Settings:
    """Settings from what `write_settings`, `Settings.to_json` or the repr of Settings gave.

    Nothing in the text is executed, and nothing imported: a class outside the catalogue must be imported already.

    Raises:
        SettingsError: with everything that is wrong with it.

    >>> read_settings('{"optimizer": "LION", "lr": 1e-5}') == read_settings("dw.Settings('LION', lr=1e-5)")
    True
    """
    if len(text) > LONGEST_TEXT:
        raise _unreadable(f"The text has {len(text):,} characters, and settings never more than {LONGEST_TEXT:,}")
    word = text.strip().removeprefix("\ufeff").strip()
    if not word:
        raise _unreadable("There is no text")
    call = _CALL.fullmatch(word)
    if call is None and not _names_optimizer(word):
        raise _unreadable("These are no settings")
    plain = _json_of(call[1]) if call else word
    key = json.loads(plain).get("optimizer")
    if isinstance(key, str) and is_path(key) and not is_loaded(key):
        module = key.partition(":")[0][:40]
        raise _unreadable(f"{module} is not imported here", f"Run import {module} in a cell, then paste again.")
    return Settings.from_json(plain)


def _names_optimizer(text: str) -> bool:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and isinstance(data.get("optimizer"), str)


def _json_of(arguments: str) -> str:
    """The arguments of a call of Settings as JSON. Only names and plain values are read, so a comma parts them."""
    values: dict[str, object] = {}
    bare = _INFINITY.sub("1e999", arguments).strip().removesuffix(",")
    parts = _COMMA.sub(lambda found: found[1] or "\0", bare).split("\0")  # those in quotes belong to a text
    for position, part in enumerate(parts):
        pair = _PAIR.fullmatch(part.strip())
        name, literal = pair.groups() if pair else (None, "")
        if name is None and position == 0:
            name = "optimizer"
        if name is None or name in values or not _LITERAL.fullmatch(literal):
            raise _unreadable(f"{part.strip()[:40]!r} is not name=value", "Write it as Settings('PRODIGY', lr=1.0).")
        try:
            values[name] = ast.literal_eval(literal)
        except (ValueError, SyntaxError):
            raise _unreadable(f"{literal[:40]!r} is not a value", "Write 0.9, 1e-4, True, None or 'COSINE'.") from None
    return json.dumps(values)


def _unreadable(problem: str, todo: str = "Paste what Copy settings copied, or Settings(…).") -> SettingsError:
    return SettingsError((Fault("", None, problem, "", todo),))
