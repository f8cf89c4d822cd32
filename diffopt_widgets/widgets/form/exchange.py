"""Settings as a text to copy, and settings from a text that was pasted."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings

from diffopt_widgets.catalogue import is_path
from diffopt_widgets.catalogue.introspect.uncatalogued import is_trusted
from diffopt_widgets.catalogue.names import meant_by, twin_words
from diffopt_widgets.settings import Fault, Settings, SettingsError

LONGEST_TEXT = 20_000
"""Most characters of a text with settings or a value."""
_INFINITE = re.compile(r"\s*\+?inf(inity)?\s*", re.IGNORECASE)


def write_settings(settings: Settings) -> str:
    """Format settings as JSON to keep or to send, with one value per line.

    >>> write_settings(Settings("LION", lr=1e-5)).splitlines()[:4]
    ['{', '  "format": 1,', '  "optimizer": "LION",', '  "lr": 1e-05,']
    """
    return json.dumps(json.loads(settings.to_json()), indent=2)


def pasted_note(text: str) -> str:
    """Say which class the name in a text was taken as, where other packages have one of the same name; "" for other texts.

    >>> pasted_note("Adagrad(params, lr=0.01)")
    "Adagrad is taken as ADAGRAD, the class of bitsandbytes; torch.optim:Adagrad is torch's class"
    """
    named = json.loads(_plain_text(text)).get("optimizer")
    return twin_words(named) if isinstance(named, str) else ""


def read_settings(text: str) -> Settings:
    """Read the text that `write_settings`, `Settings.to_json` or the repr of Settings returned, or code that builds an optimizer.

    In code such as `Prodigy(model.parameters(), betas=(0.9, 0.99))` names are taken as `Settings` takes them. Nothing in the text is executed: a class outside the catalogue must be imported already, or be of a module that the catalogue uses.

    Raises:
        SettingsError: with everything that is wrong with the text.

    >>> read_settings('{"optimizer": "LION", "lr": 1e-5}') == read_settings("dw.Settings('LION', lr=1e-5)")
    True
    """
    plain = _plain_text(text)
    named = json.loads(plain).get("optimizer")
    meant = meant_by(named) if isinstance(named, str) else None
    key = meant.key if meant else named
    if isinstance(key, str) and is_path(key) and not is_trusted(key):
        module = key.partition(":")[0][:40]
        raise _unreadable(f"{module} is not imported here", f"Run import {module} in a cell, then paste again.")
    return Settings.from_json(plain)


def _plain_text(text: str) -> str:
    """Return a text with settings as JSON."""
    if len(text) > LONGEST_TEXT:
        raise _unreadable(f"The text has {len(text):,} characters, and settings never have more than {LONGEST_TEXT:,}")
    word = text.strip().removeprefix("\ufeff").strip()
    if not word:
        raise _unreadable("There is no text")
    return word if _names_optimizer(word) else _json_of(_call(word))


def _names_optimizer(text: str) -> bool:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and isinstance(data.get("optimizer"), str)


def _call(text: str) -> ast.Call:
    """Find the call in `Settings(…)`, `s = dw.Settings(…)` or `AdamW(params, …)`; raise SettingsError for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns about odd code
            (statement,) = ast.parse(text).body
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # ValueError: not one statement
        raise _unreadable("The text holds no settings") from None
    call = statement.value if isinstance(statement, ast.Assign | ast.Expr) else None
    if not isinstance(call, ast.Call):
        raise _unreadable("The text holds no settings")
    name = _source(call.func)
    if name.rpartition(".")[2] == "Settings":
        return call
    meant = meant_by(name) if re.fullmatch(r"[\w.]+", name) else None
    if meant is None or (is_path(meant.key) and not is_trusted(meant.key)):
        raise _unreadable("The text holds no settings")
    for extra in call.args[2:]:
        raise _not_an_argument(_source(extra))
    rates = [ast.keyword("lr", rate) for rate in call.args[1:2]]  # after the parameters, as in every optimizer
    keywords = [*rates, *(keyword for keyword in call.keywords if keyword.arg != "params")]
    return ast.Call(call.func, [ast.Constant(name)], keywords)


def _json_of(call: ast.Call) -> str:
    """Write the arguments of a call of Settings as JSON. Only names and plain values are read."""
    keywords = [*(ast.keyword("optimizer", first) for first in call.args[:1]), *call.keywords]
    values: dict[str, object] = {}
    for extra in call.args[1:]:
        raise _not_an_argument(_source(extra))
    for keyword in keywords:
        if keyword.arg is None or keyword.arg in values:
            raise _not_an_argument(_source(keyword))
        values[keyword.arg] = _value(keyword.value)
    if not values:
        raise _not_an_argument("")
    return json.dumps(values)


def _value(node: ast.expr) -> str | float | bool | list[str | float | bool | None] | None:
    """Read a plain value, or a tuple or list of them; raise SettingsError for anything else."""
    if isinstance(node, ast.Tuple | ast.List) and node.elts:
        return [_plain_value(part) for part in node.elts]
    return _plain_value(node)


def _plain_value(node: ast.expr) -> str | float | bool | None:
    match node:
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str() as text)]) if _INFINITE.fullmatch(text):
            node = ast.Constant(math.inf)
        case ast.Attribute(attr="inf", value=ast.Name()) | ast.Name(id="inf"):
            node = ast.Constant(math.inf)
    try:
        value = ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        value = ...
    if value is None or isinstance(value, str | int | float):
        return value
    raise _unreadable(f"{_source(node)[:40]!r} is not a value", "Write 0.9, 1e-4, True, None or 'COSINE'.")


def _source(node: ast.AST) -> str:
    try:
        return ast.unparse(node)
    except RecursionError:  # the text has thousands of signs or brackets
        return "…"


def _not_an_argument(text: str) -> SettingsError:
    return _unreadable(f"{text[:40]!r} is not name=value", "Write it as Settings('PRODIGY', lr=1.0).")


def _unreadable(problem: str, todo: str = "Paste the text that Copy settings copied, or Settings(…).") -> SettingsError:
    return SettingsError((Fault("", None, problem, "", todo),))
