"""Checks of the arguments of public functions: each error names the argument, what it takes, and what to write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diffopt_widgets.settings.faults import Fault, SettingsError, kind_of

LONGEST_NAME = 255
"""Most characters of the name of a file or folder."""


def wrong_kind(argument: str, value: object, wanted: str, todo: str) -> SettingsError:
    """Make the error of an argument that is another kind of object than it should be.

    >>> str(wrong_kind("run", 3, "a run", "Write run = dw.train(…)."))
    'run: a run is wanted, and this is an int. Write run = dw.train(…).'
    """
    return SettingsError((Fault(argument, None, f"{wanted} is wanted, and this is {kind_of(value)}", "", todo),))


def check_kind(argument: str, value: object, kinds: type | tuple[type, ...], wanted: str, todo: str) -> None:
    """Check that an argument is of a kind.

    Raises:
        SettingsError: it is not.
    """
    if not isinstance(value, kinds):
        raise wrong_kind(argument, value, wanted, todo)


def check_text(argument: str, value: object, todo: str) -> None:
    """Check that an argument is a text.

    Raises:
        SettingsError: it is not.
    """
    check_kind(argument, value, str, "a text", todo)


def check_flag(argument: str, value: object) -> None:
    """Check that an argument is true or false.

    Raises:
        SettingsError: it is not.
    """
    check_kind(argument, value, bool, "True or False", f"Write {argument}=True.")


def check_number(argument: str, value: object) -> None:
    """Check that an argument is a finite number.

    Raises:
        SettingsError: it is not.
    """
    check_kind(argument, value, (int, float), "a number", f"Write {argument}=0.9.")
    if isinstance(value, bool) or not abs(value) < 1e300:  # type: ignore[arg-type]  # it is a number
        raise wrong_kind(argument, value, "a number", f"Write {argument}=0.9.")


def checked_path(argument: str, value: object, todo: str = 'Write it as a text, such as "runs.sqlite".') -> Path:
    """Return the path of a file or folder that an argument names.

    Raises:
        SettingsError: it is no path.
    """
    if isinstance(value, str | os.PathLike) and not isinstance(path := os.fspath(value), bytes):
        problem = _path_problem(path)
        if not problem:
            return Path(path)
        raise SettingsError((Fault(argument, None, problem, "", todo),))
    raise wrong_kind(argument, value, "the path of a file or folder", todo)


def _path_problem(path: str) -> str:
    if not path:
        return "the path is empty"
    if "\0" in path:
        return "the path has a character that no path can have"
    longest = max(map(len, Path(path).parts), default=0)
    if longest > LONGEST_NAME:
        return f"a name in the path has {longest:,} characters, and at most {LONGEST_NAME} are possible"
    return ""


def checked_list(argument: str, value: object, kinds: tuple[str, ...], wanted: str, todo: str) -> list[Any]:
    """Return an argument that holds several objects as a list.

    Args:
        argument: its name.
        value: what was passed.
        kinds: names of attributes that each of the objects must have.
        wanted: such as "runs".
        todo: what to write.

    Raises:
        SettingsError: it holds no such objects.
    """
    if all(hasattr(value, kind) for kind in kinds):
        one = f"a list of {wanted} is wanted, and this is one of them"
        raise SettingsError((Fault(argument, None, one, "", todo),))
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | type):
        raise wrong_kind(argument, value, f"a list of {wanted}", todo)
    try:
        listed = list(value)
    except TypeError:  # such as an array without dimensions
        raise wrong_kind(argument, value, f"a list of {wanted}", todo) from None
    for place, entry in enumerate(listed):
        if isinstance(entry, type) or not all(hasattr(entry, kind) for kind in kinds):
            problem = f"a list of {wanted} is wanted, and number {place} in it is {kind_of(entry)}"
            raise SettingsError((Fault(argument, None, problem, "", todo),))
    return listed
