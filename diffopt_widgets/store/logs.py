"""Other tools' TensorBoard logs as runs."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

from diffopt_widgets.interop.event_files import Event, read_events
from diffopt_widgets.interop.tensorboard import history_of, without_repeated
from diffopt_widgets.store.logged_run import LoggedRun


def read_logs(path: str | os.PathLike[str]) -> list[LoggedRun]:
    """The runs that OneTrainer, kohya's scripts or any other tool logged for TensorBoard.

    Of a file that is still being written, or was cut off, what is whole is read, and the run's `message` says so. Where a
    later file of a folder goes back to an earlier step, as after a restart from a backup, it counts from there on. A rate
    is what the tool says: see `interop.tensorboard`.

    Args:
        path: an event file, or a folder that has some, also in folders below; the files of one folder are one run.

    Raises:
        FileNotFoundError: there is no such path, or no event file in it.
        ValueError: a file is no event file.
    """
    root = Path(path).expanduser()
    if root.is_dir():
        files = sorted(file for file in root.rglob("*tfevents*") if file.is_file())
    else:
        files = [root] if root.exists() else []
    if not files:
        wanted = "no event files (events.out.tfevents.…) in it" if root.exists() else "no such file or folder"
        raise FileNotFoundError(
            f"{root}: there is {wanted}. Give the folder that you would give to tensorboard --logdir"
        )
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    runs = (_run(folder, root, found) for folder, found in folders.items())
    return [run for run in runs if run is not None]


def _run(folder: Path, root: Path, files: list[Path]) -> LoggedRun | None:
    """The run of the files of one folder; None when no scalars are in them."""
    read: list[list[Event]] = []
    problems = []
    for file in files:
        found, problem = read_events(file)
        read.append(found)
        if problem:
            problems.append(f"{file.name} was read only in part: {problem}.")
    events = without_repeated(read)
    if not events:
        return None
    inner = folder.relative_to(root).as_posix() if root.is_dir() else "."
    name = inner if inner != "." else folder.resolve().name
    began = datetime.fromtimestamp(min(event.wall_time for event in events), timezone.utc)
    about = {"logs": str(folder.resolve())}
    return LoggedRun(name, history_of(events), message=" ".join(problems), about=about, started=began)
