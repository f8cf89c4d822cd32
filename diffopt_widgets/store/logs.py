"""Other tools' TensorBoard logs as runs."""

from __future__ import annotations

import os
import warnings
from datetime import datetime, timezone
from pathlib import Path

from diffopt_widgets.interop.event_files import Event, read_events
from diffopt_widgets.interop.tensorboard import history_of, without_repeated
from diffopt_widgets.plain_text import printable
from diffopt_widgets.settings.arguments import checked_path
from diffopt_widgets.store.logged_run import LoggedRun
from diffopt_widgets.store.summary import LATEST


def read_logs(path: str | os.PathLike[str]) -> list[LoggedRun]:
    """Read the runs that OneTrainer, kohya's scripts or any other tool logged for TensorBoard.

    When a file is still being written or was cut off, its whole records are read and the run's `message` says so. When a
    later file of a folder goes back to an earlier step, as after a restart from a backup, it replaces the steps from there
    on. A learning rate is that of the schedule, unless its tag says that it was applied: see `interop.log_tags`.

    Args:
        path: an event file, or a folder with event files in it or in its subfolders; the files of one folder are one run.

    Raises:
        FileNotFoundError: there is no such path, or no event file in it.
        ValueError: no file is an event file. A single one that cannot be read gives a warning, and the others are read.
    """
    root = checked_path("path", path, 'Write the folder as a text, such as "workspace/tensorboard".').expanduser()
    if root.is_dir():
        files = sorted(file for file in root.rglob("*tfevents*") if file.is_file())
    else:
        files = [root] if root.is_file() else []
    if not files:
        problem = (
            "it is not an ordinary file"
            if root.exists() and not root.is_dir()
            else "there are no event files (events.out.tfevents.…) in it"
            if root.exists()
            else "there is no such file or folder"
        )
        words = f"{root}: {problem}. Give the folder that you would give to tensorboard --logdir"
        raise FileNotFoundError(printable(words))
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    unread: list[ValueError | OSError] = []
    runs = [_read_folder(folder, root, files, unread) for folder, files in folders.items()]
    if len(unread) == len(files):
        raise unread[0]
    for error in unread:
        warnings.warn(f"{error}. The other files are read.", RuntimeWarning, stacklevel=2)
    return [run for run in runs if run is not None]


def _read_folder(folder: Path, root: Path, files: list[Path], unread: list[ValueError | OSError]) -> LoggedRun | None:
    """Read the files of one folder as one run; None when there are no scalars in them."""
    by_file: list[list[Event]] = []
    problems = []
    for file in files:
        try:
            scalars, problem = read_events(file)
        except (ValueError, OSError) as error:
            unread.append(error)
            problems.append(f"{file.name} could not be read.")
            continue
        by_file.append(scalars)
        if problem:
            problems.append(f"{file.name} was read only in part: {problem}.")
    events = without_repeated(by_file)
    if not events:
        return None
    inner = folder.relative_to(root).as_posix() if root.is_dir() else "."
    name = inner if inner != "." else folder.resolve().name
    about = {"logs": str(folder.resolve())}
    try:
        history = history_of(events)
    except ValueError as error:
        unread += [ValueError(f"{folder}: {error}")] * len(files)
        return None
    return LoggedRun(name, history, message=" ".join(problems), about=about, started=_began(events))


def _began(events: list[Event]) -> datetime | None:
    """Return the time of the first event; None where the file has no time that can be one."""
    times = [event.wall_time for event in events if 0 <= event.wall_time < LATEST]
    return datetime.fromtimestamp(min(times), timezone.utc) if times else None
