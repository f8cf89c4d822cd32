"""Checkpoints of your own training loop: `Watcher.checkpoint` saves them, and `resume_loop` continues from the newest."""

from __future__ import annotations

import math
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.plain_text import printable, printed_readably
from diffopt_widgets.settings.arguments import checked_path
from diffopt_widgets.settings.faults import Fault, SettingsError, whole_number
from diffopt_widgets.training.checkpoint import CheckpointError, DamagedError, read_saved
from diffopt_widgets.watching.loop_parts import Kept, LoopParts, RandomStates
from diffopt_widgets.whole_file import written_whole

if TYPE_CHECKING:
    from diffopt_widgets.watching.loop_parts import Models

FOLDER = "checkpoints"
KEEP = 3
EVERY = "5 min"
WAIT_SECONDS = 30.0
"""Longest time that the end of a watch waits for a disk."""

_NAME = re.compile(r"step-(\d{8,})\.pt")
_EVERY = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|steps?)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@printed_readably
@dataclass(frozen=True, repr=False)
class LoopState:
    """State that `resume_loop` has restored; `step` is 0 where there was no checkpoint."""

    step: int = 0
    """Number of steps that the optimizer has taken."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Values that were saved with it, by name."""
    path: Path | None = None
    """The checkpoint's file; None where there was none."""
    damaged: tuple[Path, ...] = ()
    """Files that are not whole, instead of which an older one was used."""
    averages: Sequence[Any] = field(default=(), repr=False)  # Any: as the reader of applied rates saves them
    """Averages over the rates of past steps, with which a watch continues: `dw.watch(optimizer, start=state)`."""

    def __repr__(self) -> str:
        return f"LoopState(step {self.step:,}, {'no checkpoint' if self.path is None else f'from {self.path}'})"


def resume_loop(
    folder: str | os.PathLike[str],
    model: Models = None,
    optimizer: object = None,
    scheduler: object | None = None,
    scaler: object | None = None,
    *,
    more: Mapping[str, Any] | None = None,
) -> LoopState:
    """Continue your own loop from the newest checkpoint that `Watcher.checkpoint` has saved in a folder.

    Weights, optimizer, schedule, scaler and the global random states of Python, NumPy and torch become what they were. On the CPU
    the training then goes on bit for bit as if it had not been interrupted. Where the newest file is damaged, the one before is
    used, with a warning. Files are read without executing anything in them.

    Args:
        folder: the folder of the checkpoints.
        model: the model, or several; the same as when it was saved.
        optimizer: the optimizer that the loop steps, made anew.
        scheduler: its schedule, made anew.
        scaler: the GradScaler, if there is one.
        more: further objects with `load_state_dict`, such as an average of the weights or a data loader that knows its place,
            by the names with which they were saved. Plain values need not be named: they are in the result's `more`.

    Returns:
        LoopState, with `step` 0 where the folder has no checkpoint, so that one cell serves for the first start too.

    Raises:
        CheckpointError: the checkpoint belongs to another training (the message names what differs), or all are damaged, or the
            folder cannot be read.
        SettingsError: an argument is of another kind than it should be.

    >>> import tempfile, torch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> resume_loop(tempfile.mkdtemp(), model, optimizer)
    LoopState(step 0, no checkpoint)
    """
    path = checked_path("folder", folder, 'Write the folder of the checkpoints, such as "checkpoints".').absolute()
    parts = LoopParts.of(model, optimizer, scheduler, scaler, more)
    damaged: list[Path] = []
    data: Mapping[str, Any] | None = None
    file = path
    for file in reversed(_files(path)):
        try:
            data = read_saved(file.read_bytes(), parts.device)
            break
        except OSError as error:
            raise CheckpointError(printable(f"{file} cannot be read: {error.strerror or error}")) from error
        except DamagedError:
            damaged.append(file)
        except CheckpointError as error:
            raise CheckpointError(printable(f"{file}: {error}")) from error
    names = ", ".join(one.name for one in damaged)
    if data is None:
        if damaged:
            todo = "To train from the start, move them away"
            raise CheckpointError(printable(f"all checkpoints in {path} are damaged ({names}). {todo}"))
        return LoopState()
    try:
        parts.check(data)
        parts.restore(data)
    except CheckpointError as error:
        raise CheckpointError(printable(f"{file} does not fit this training: {error}")) from error
    if damaged:
        text = f"{names} in {path} could not be read: damaged; the training continues from {file.name}"
        warnings.warn(printable(text), stacklevel=2)
    values = {name: value for name, (is_state, value) in data["more"].items() if not is_state}
    return LoopState(int(data["step"]), values, file, tuple(damaged), data["averages"])


@dataclass(frozen=True)
class _Moment:
    """A loop at one of its calls. `kept` holds what may change before the next step, None where a copy would cost too much."""

    call: int
    parts: LoopParts
    random: RandomStates
    kept: Kept | None


class LoopCheckpoints:
    """Saves the checkpoints of one loop: after which steps, in which files, and without holding up the training for a disk.

    Args:
        folder: where they are saved; it is made when the first one is.
        every: a time such as "5 min", or a number of steps such as "200 steps".
        keep: number of checkpoints that are kept.
        start: where the loop began.
        facts: returns the number of steps taken, without those that the device skipped, and the averages of past rates; this
            may wait for the device.
        report: called with a topic and a text when saving fails; the training goes on, and the next one is tried as usual.

    Raises:
        SettingsError: an argument cannot be used, or the folder has checkpoints of another training.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: str,
        keep: int,
        start: LoopState,
        facts: Callable[[], tuple[int, Sequence[Any]]],
        report: Callable[[str, str], None],
    ) -> None:
        self.folder = checked_path("folder", folder, 'Write a folder, such as "checkpoints".').absolute()
        self._seconds, self._steps = _interval(every)
        self._keep = whole_number("keep", keep, 1)
        self._facts = facts
        self._report = report
        self._due, self._due_call = time.monotonic() + self._seconds, self._steps
        self._thread: threading.Thread | None = None
        self._moment: _Moment | None = None
        """The newest one that is not saved."""
        self._parts: LoopParts | None = None
        self._call = 0
        self._newest = False
        """True when the last call has noted a moment."""
        self._refused = False
        self._own = self._files_of(start)
        """Files of this training, the newest last. Others in the folder are left alone."""

    def _files_of(self, start: LoopState) -> list[Path]:
        """Return the files from which the training goes on; those of another one are refused."""
        try:
            files = _files(self.folder)
        except CheckpointError as error:
            raise SettingsError((Fault("folder", str(self.folder), str(error), ""),)) from error
        later = [file for file in files if _step_of(file) > start.step and file not in start.damaged]
        if later:
            there = f"it has a checkpoint of step {_step_of(later[-1]):,}, and this training has begun at step {start.step:,}"
            todo = (
                f"Continue it with state = dw.resume_loop({str(self.folder)!r}, …) and dw.watch(optimizer, start=state), or save in "
                "another folder."
            )
            raise SettingsError((Fault("folder", str(self.folder), there, "", todo),))
        return files if start.path is not None and start.path.parent == self.folder else []

    def note(
        self,
        call: int,
        model: Models,
        optimizer: object,
        scheduler: object | None,
        scaler: object | None,
        more: Mapping[str, Any] | None,
    ) -> None:
        """Note the state of the loop between two steps, and save it if that is due; nothing happens without a new step.

        Args:
            call: number of calls of the optimizer's step since the watch began.
            model: the model, or several.
            optimizer: the optimizer.
            scheduler: its schedule.
            scaler: the GradScaler.
            more: further values and objects, by name.

        Raises:
            SettingsError: an argument is of another kind than it should be.
        """
        self._newest = False
        if call == self._call or self._refused:
            return
        first, self._call, self._newest = self._parts is None, call, True
        self._parts = parts = LoopParts.of(model, optimizer, scheduler, scaler, more, self._parts)
        if first and self._refuses(parts):
            return
        self._moment = _Moment(call, parts, RandomStates.now(), parts.kept())
        busy = self._thread is not None and self._thread.is_alive()
        if (call >= self._due_call or time.monotonic() >= self._due) and not busy:
            self._save(self._moment)

    def _refuses(self, parts: LoopParts) -> bool:
        """Return whether a part of the loop cannot be saved, and report it at once rather than when a checkpoint is due."""
        try:
            parts.refuse()
        except CheckpointError as error:
            self._refused = True
            self._report("refusing", f"no checkpoint of this loop can be saved; the training goes on. {error}")
        return self._refused

    def finish(self, call: int | None, *, whole: bool) -> None:
        """Save the last state too, and wait for the disk a while.

        Args:
            call: number of calls of the optimizer's step; None where one was broken off: then nothing is saved.
            whole: whether the loop has ended by itself, so that nothing has changed since its last call.
        """
        moment = self._moment
        if self._wait() and moment is not None and moment.call == call:
            if moment.kept is not None or (whole and self._newest):
                self._save(moment)
            self._wait()

    def _save(self, moment: _Moment) -> None:
        self._moment = None
        self._due, self._due_call = time.monotonic() + self._seconds, moment.call + self._steps
        try:
            step, averages = self._facts()
            data = moment.parts.saved(step, moment.random, moment.kept, averages)
        except Exception as error:  # noqa: BLE001  # a loop must go on, whatever its parts hold
            self._report("saving", f"a checkpoint could not be made; the next one is tried as usual. {error}")
            return
        self._thread = threading.Thread(target=self._write, args=(step, data), name="checkpoint", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no further thread can be started, as at the end of the process
            self._thread = None
            self._write(step, data)

    def _wait(self) -> bool:
        """Wait for the disk, and return whether it is free."""
        if self._thread is not None:
            self._thread.join(WAIT_SECONDS)
            if self._thread.is_alive():
                text = f"{self.folder} has not taken the last checkpoint within {WAIT_SECONDS:.0f} s; the one before it is whole"
                self._report("slow disk", text)
                return False
        return True

    def _write(self, step: int, data: bytes) -> None:
        path = self.folder / f"step-{step:08d}.pt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path not in self._own and path.exists():
                text = f"{path} is of another training, and is left alone: give each training a folder of its own"
                self._report("another training", text)
                return
            with written_whole(path) as part, part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._own = [*(one for one in self._own if one != path), path]
            while len(self._own) > self._keep:
                self._own.pop(0).unlink(missing_ok=True)
        except OSError as error:
            self._report(
                "writing a checkpoint",
                f"the checkpoint of step {step:,} could not be saved in {self.folder}: {error.strerror or error}. The training "
                "goes on, and the next one is tried as usual",
            )


def _files(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the newest last; none where there is no such folder.

    Raises:
        CheckpointError: the folder cannot be read.
    """
    try:
        return sorted((file for file in folder.iterdir() if _NAME.fullmatch(file.name)), key=_step_of)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(printable(f"{folder} cannot be read: {error.strerror or error}")) from error


def _step_of(file: Path) -> int:
    match = _NAME.fullmatch(file.name)
    return int(match[1]) if match else 0


def _interval(every: object) -> tuple[float, float]:
    """Return the seconds and the steps between two checkpoints; one of them is infinite.

    >>> _interval("5 min"), _interval("200 steps")
    ((300.0, inf), (inf, 200))
    """
    match = _EVERY.fullmatch(every.strip().lower()) if isinstance(every, str) else None
    number = float(match[1]) if match else 0.0
    if match is None or number <= 0:
        todo = 'Write every="5 min", "30 s", "1 h" or "200 steps".'
        raise SettingsError(
            (Fault("every", safe_repr(every), "a time or a number of steps with its unit is wanted", "", todo),)
        )
    if match[2].startswith("step"):
        return math.inf, math.ceil(number)
    return number * _SECONDS[match[2][0]], math.inf
