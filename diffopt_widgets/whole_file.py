"""Whole files: one that is written is there with all of its contents, or as it was before."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write to; at the end it takes its place, with the rights that a file there had.

    Raises:
        OSError: it cannot be written; then `path` is as it was before.

    >>> folder = Path(tempfile.mkdtemp())
    >>> with written_whole(folder / "a.txt") as part:
    ...     _ = part.write_text("all of it", encoding="utf-8")
    >>> [file.name for file in folder.iterdir()], (folder / "a.txt").read_text("utf-8")
    (['a.txt'], 'all of it')
    """
    handle, name = tempfile.mkstemp(".part", f".{path.stem}-", path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with contextlib.suppress(OSError):  # there was none
            part.chmod(path.stat().st_mode)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
