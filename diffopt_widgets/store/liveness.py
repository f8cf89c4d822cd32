"""Who is writing a run, and whether that process still lives."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from functools import lru_cache
from pathlib import Path

SILENT_SECONDS = 300.0
"""After so long without a save, a writer on another machine counts as gone; if it is not, its next save fixes that."""


def this_writer() -> str:
    """Names this process, so that any process on this machine can tell whether it still lives."""
    return json.dumps({"host": _host(), "pid": os.getpid(), "began": _began(os.getpid())})


def is_gone(writer: str, silent: float) -> bool:
    """Whether the process that wrote a run is gone.

    Args:
        writer: what `this_writer` gave there.
        silent: seconds since its last save.

    On the same machine the system knows: a process of that number that began at that time, or none. Of another machine only
    the silence tells. (Process numbers are told apart by their namespace: containers have their own.)
    """
    try:
        data = json.loads(writer)
        host, pid, began = data["host"], int(data["pid"]), data["began"]
    except (ValueError, KeyError, TypeError):
        return silent > SILENT_SECONDS
    if host != _host() or not began:
        return silent > SILENT_SECONDS
    return bool(_began(pid) != began)


@lru_cache(maxsize=1)
def _host() -> str:
    """This machine, since it was started, as far as process numbers mean the same."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # not Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts)


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty when there is none, or where that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # its name, in brackets, may hold anything
    return "" if fields[0] in {"Z", "X"} else fields[19]
