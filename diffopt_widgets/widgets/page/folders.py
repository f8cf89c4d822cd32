"""Texts of errors without this machine's folders: what a page shows is saved with the notebook, and given away with it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_END_OF_NAME = r"(?![\w+@%=~#-]|\.\w)"
"""After `/home/ann` neither `a/x` nor `.txt`, which are others' names; a full stop may end a sentence."""


def without_folders(text: str) -> str:
    """Write paths in a text as short as they can be understood: from the working directory, a folder of modules, or home.

    >>> without_folders(f'File "{Path(os.__file__)}", line 1')
    'File "os.py", line 1'
    """
    if os.sep not in text:
        return text
    for folder in sorted(_folders(), key=len, reverse=True):
        text = _at_start_of_path(f"{folder}{os.sep}").sub("", text)
    home = Path.home()
    return _at_start_of_path(str(home), _END_OF_NAME).sub("~", text) if _is_own(home) else text


def _at_start_of_path(part: str, end: str = "") -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.~/\\-]){re.escape(part)}{end}")


def _folders() -> set[str]:
    """Return the working directory and the folders that modules are imported from."""
    try:
        here = Path.cwd()
    except OSError:  # it was deleted
        here = Path()
    return {str(folder) for folder in (here, *map(Path, sys.path)) if _is_own(folder)}


def _is_own(folder: Path) -> bool:
    """Return whether its name tells more than that this is some computer."""
    return folder.is_absolute() and len(folder.parts) > 1
