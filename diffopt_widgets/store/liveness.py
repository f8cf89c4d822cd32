"""Liveness: the process that writes a run, and a check that it is still alive."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from functools import lru_cache
from pathlib import Path

import psutil

LINUX: bool = psutil.LINUX
SILENT_SECONDS = 300.0
"""Time without a save after which a writer on another machine counts as gone; if it is alive, its next save fixes that."""


def this_writer() -> str:
    """Return a name for this process by which any process on this machine can check that it is still alive."""
    return json.dumps({"host": _host(), "pid": os.getpid(), "began": _began(os.getpid())})


def is_gone(writer: str, silent: float) -> bool:
    """Return whether the process that wrote a run is gone.

    Args:
        writer: the result of `this_writer` in that process.
        silent: seconds since its last save.

    On the same machine the system knows: it has a process with that number and start time, or none. For another machine
    the silence decides. (Process numbers are compared within one namespace only: containers have their own.)
    """
    try:
        data = json.loads(writer)
        host, pid, began = data["host"], int(data["pid"]), data["began"]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return silent > SILENT_SECONDS
    if host != _host() or not began:
        return silent > SILENT_SECONDS
    try:
        return bool(_began(pid) != began)
    except psutil.AccessDenied:
        return silent > SILENT_SECONDS


@lru_cache(maxsize=1)
def _host() -> str:
    """Name of this machine since its last boot, within which process numbers are comparable."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # not Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts)


def _began(pid: int) -> str:
    """Start time of a process; empty when there is no such process.

    On Linux it is in ticks since boot, which no change of the clock moves; elsewhere the system keeps it with the process.

    Raises:
        psutil.AccessDenied: the system does not tell.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return ""
        if not LINUX:
            return f"{process.create_time():.3f}"
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (psutil.NoSuchProcess, OSError):
        return ""
    return text.rpartition(")")[2].split()[19]  # the process name, in brackets, may hold anything
