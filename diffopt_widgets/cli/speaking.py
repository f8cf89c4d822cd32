"""Printing of the commands: a stream that cannot be written costs nothing else."""

from __future__ import annotations

import contextlib
import os
import sys


def tell(message: str) -> None:
    """Print a message on the error stream, or nowhere if it is closed or full."""
    with contextlib.suppress(OSError, ValueError):
        print(f"diffopt: {message}", file=sys.stderr, flush=True)


def say(text: str) -> str:
    """Print a text; return why that was impossible, and an empty text if it was possible or nobody reads any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_output()
    except (OSError, ValueError) as error:
        discard_output()
        return str(error)
    return ""


def flush() -> None:
    """Write what is waiting in the output stream. Raises OSError where that is impossible."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Discard what could not be written, so that the end of the process does not try again."""
    try:
        flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
