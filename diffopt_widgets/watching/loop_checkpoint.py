"""Checkpoints of your own training loop: `Watcher.checkpoint` saves them, and `resume_loop` continues from the newest."""

from __future__ import annotations

import io
import math
import random
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.plain_text import printable, printed_readably
from diffopt_widgets.rates.unwrap import hooked_optimizer, inner_optimizer
from diffopt_widgets.settings.arguments import check_kind, checked_path, wrong_kind
from diffopt_widgets.settings.faults import Fault, SettingsError, whole_number
from diffopt_widgets.training.checkpoint import (
    FORMAT,
    CheckpointError,
    load_optimizer_state,
    optimizer_state,
    plain,
    plain_ones,
    read_saved,
    refuse_unknown,
)
from diffopt_widgets.whole_file import written_whole

if TYPE_CHECKING:
    import os

    import torch

    Models = torch.nn.Module | Sequence[torch.nn.Module] | None

FOLDER = "checkpoints"
KEEP = 3
EVERY = "5 min"
WAIT_SECONDS = 30.0
"""Longest time that the end of a watch waits for a disk."""

_NAME = re.compile(r"step-(\d{8,})\.pt")
_EVERY = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|steps?)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_COMPILED = "_orig_mod."
"""What torch.compile puts into the names of a model's weights."""


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

    Weights, optimizer, schedule, scaler and all random states become what they were. On the CPU the training then goes on bit for
    bit as if it had not been interrupted. Where the newest file is damaged, the one before is used, with a warning. Files are
    read without executing anything in them.

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
        CheckpointError: the checkpoint belongs to another training (the message names what differs), or all are damaged;
            nothing was changed.
        SettingsError: an argument is of another kind than it should be.

    >>> import tempfile, torch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> resume_loop(tempfile.mkdtemp(), model, optimizer)
    LoopState(step 0, no checkpoint)
    """
    path = checked_path("folder", folder, 'Write the folder of the checkpoints, such as "checkpoints".')
    parts = _Parts.of(model, optimizer, scheduler, scaler, more)
    damaged: list[str] = []
    for file in reversed(_files(path)):
        try:
            data = read_saved(file.read_bytes(), parts.kind)
            break
        except OSError as error:
            raise CheckpointError(printable(f"{file} cannot be read: {error.strerror or error}")) from error
        except CheckpointError as error:
            if "damaged" not in str(error):
                raise CheckpointError(printable(f"{file}: {error}")) from error
            damaged.append(file.name)
    else:
        if damaged:
            raise CheckpointError(
                printable(
                    f"all checkpoints in {path} are damaged ({', '.join(damaged)}). To train from the start, move them away"
                )
            )
        return LoopState()
    try:
        parts.check(data)
        parts.restore(data)
    except CheckpointError as error:
        raise CheckpointError(printable(f"{file} does not fit this training: {error}")) from error
    for name in damaged:
        (path / name).replace(path / f"{name}.damaged")
    if damaged:
        text = f"{', '.join(damaged)} in {path} could not be read and got the ending .damaged; the training continues from {file.name}"
        warnings.warn(printable(text), stacklevel=2)
    values = {name: value for name, (is_state, value) in data["more"].items() if not is_state}
    return LoopState(int(data["step"]), values, file, data["averages"])


@dataclass(frozen=True)
class _Moment:
    """A loop at its last call: its parts, and what changes between the steps and cannot be read later."""

    step: int
    parts: _Parts
    random: dict[str, Any]
    more: Mapping[str, Any]


class LoopCheckpoints:
    """Saves the checkpoints of one loop: after which steps, in which files, and without holding up the training for a disk.

    Args:
        folder: where they are saved; it is made when the first one is.
        every: a time such as "5 min", or a number of steps such as "200 steps".
        keep: number of checkpoints that are kept.
        start: number of steps at which the loop began.
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
        start: int,
        facts: Callable[[], tuple[int, Sequence[Any]]],
        report: Callable[[str, str], None],
    ) -> None:
        self.folder = checked_path("folder", folder, 'Write a folder, such as "checkpoints".')
        self._seconds, self._steps = _interval(every)
        self._keep = whole_number("keep", keep, 1)
        self._facts = facts
        self._report = report
        self._due, self._due_step = time.monotonic() + self._seconds, start + self._steps
        self._thread: threading.Thread | None = None
        self._moment: _Moment | None = None
        """The newest one that is not saved."""
        self._last = start
        self._checked = self._refused = False
        later = [file for file in _files(self.folder) if _step_of(file) > start]
        if later:
            todo = f"Continue it with dw.resume_loop({str(self.folder)!r}, …), or save in another folder."
            there = (
                f"it has a checkpoint of step {_step_of(later[-1]):,}, and this training has begun at step {start:,}"
            )
            raise SettingsError((Fault("folder", str(self.folder), there, "", todo),))

    def note(
        self,
        step: int,
        model: Models,
        optimizer: object,
        scheduler: object | None,
        scaler: object | None,
        more: Mapping[str, Any] | None,
    ) -> None:
        """Note the state of the loop between two steps, and save it if that is due; nothing happens without a new step.

        Raises:
            SettingsError: an argument is of another kind than it should be.
        """
        if step == self._last:
            return
        self._last = step
        parts = _Parts.of(model, optimizer, scheduler, scaler, more)
        if not self._checked:
            self._checked = True
            self._refused = self._refuses(parts)
        if self._refused:
            return
        self._moment = _Moment(step, parts, _random(), parts.more)
        busy = self._thread is not None and self._thread.is_alive()
        if (step >= self._due_step or time.monotonic() >= self._due) and not busy:
            self._save(self._moment)

    def _refuses(self, parts: _Parts) -> bool:
        """Return whether a part of the loop cannot be saved, and report it at once rather than when a checkpoint is due."""
        try:
            parts.refuse()
            for name, value in parts.more.items():
                _saved_more(name, value)
        except CheckpointError as error:
            self._report(
                "saving a checkpoint", f"no checkpoint of this loop can be saved; the training goes on. {error}"
            )
            return True
        return False

    def finish(self, step: int | None) -> None:
        """Wait for the disk a while, and save the last state too if it was noted after this step; None saves nothing."""
        if self._wait() and self._moment is not None and self._moment.step == step:
            self._save(self._moment)
            self._wait()

    def _save(self, moment: _Moment) -> None:
        self._moment = None
        self._due, self._due_step = time.monotonic() + self._seconds, moment.step + self._steps
        try:
            step, averages = self._facts()
            data = moment.parts.saved(step, moment, averages)
        except Exception as error:  # noqa: BLE001  # a loop must go on, whatever its parts hold
            self._report(
                "saving a checkpoint", f"no checkpoint of this loop can be saved; the training goes on. {error}"
            )
            return
        self._thread = threading.Thread(target=self._write, args=(step, data), name="checkpoint", daemon=True)
        self._thread.start()

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
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_whole(self.folder / f"step-{step:08d}.pt") as part:
                part.write_bytes(data)
            for old in _files(self.folder)[: -self._keep]:
                old.unlink(missing_ok=True)
        except OSError as error:
            self._report(
                "writing a checkpoint",
                f"the checkpoint of step {step:,} could not be saved in {self.folder}: {error.strerror or error}. The training "
                "goes on, and the next one is tried as usual",
            )


@dataclass(frozen=True)
class _Parts:
    """Parts of a loop that a checkpoint holds."""

    models: tuple[torch.nn.Module, ...]
    optimizer: torch.optim.Optimizer
    scheduler: Any  # Any: schedules, scalers and the like share no class, but two methods
    scaler: Any
    more: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: Models,
        optimizer: object,
        scheduler: object | None,
        scaler: object | None,
        more: Mapping[str, Any] | None,
    ) -> _Parts:
        import torch

        if optimizer is None:
            raise wrong_kind("optimizer", optimizer, "the optimizer that the loop steps", "Write optimizer=optimizer.")
        models = tuple(model) if isinstance(model, (list, tuple)) else () if model is None else (model,)
        for one in models:
            check_kind("model", one, torch.nn.Module, "the model, or a list of models", "Write model=model.")
        for name, thing in (("scheduler", scheduler), ("scaler", scaler)):
            if thing is not None and not _has_state(thing):
                wanted = "an object with state_dict() and load_state_dict()"
                raise wrong_kind(name, thing, wanted, f"Write {name}={name}, or leave it out.")
        check_kind("more", more, (Mapping, type(None)), "a dict by name", 'Write more={"step": step}.')
        for name in more or ():
            check_kind("more", name, str, "a text as each name", 'Write more={"step": step}.')
        return cls(models, hooked_optimizer(optimizer), scheduler, scaler, dict(more or {}))

    @property
    def params(self) -> list[torch.Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def kind(self) -> str:
        return self.params[0].device.type if self.params else "cpu"

    @property
    def names(self) -> list[str]:
        """Name of each weight, as its model has it, for messages."""
        known = {id(p): name.replace(_COMPILED, "") for model in self.models for name, p in model.named_parameters()}
        return [known.get(id(p), f"weight {number}") for number, p in enumerate(self.params, 1)]

    @property
    def _package(self) -> str:
        return type(self.optimizer).__module__.split(".")[0]

    def refuse(self) -> None:
        """Check that all that the optimizer keeps can be saved.

        Raises:
            CheckpointError: it holds another optimizer, or is of an unknown package and keeps an unknown object.
        """
        if inner := inner_optimizer(self.optimizer):
            raise CheckpointError(
                f"its {type(self.optimizer).__name__} holds another optimizer, {type(inner).__name__}"
            )
        if self._package not in {spec(key).package for key in list_optimizers()}:
            refuse_unknown(self.optimizer)

    def _buffers(self) -> list[dict[str, torch.Tensor]]:
        return [{name.replace(_COMPILED, ""): b for name, b in model.named_buffers()} for model in self.models]

    def saved(self, step: int, moment: _Moment, averages: Sequence[Any]) -> bytes:
        """Return the file of a checkpoint.

        Raises:
            CheckpointError: a part keeps something that cannot be saved.
        """
        import torch

        data = {
            "format": FORMAT,
            "device": self.kind,
            "step": step,
            "class": type(self.optimizer).__name__,
            "names": self.names,
            **optimizer_state(self.optimizer, self.params, self._package),
            "buffers": [{name: b.detach() for name, b in of.items()} for of in self._buffers()],
            "schedule": None if self.scheduler is None else plain_ones(self.scheduler.state_dict()),
            "scaler": None if self.scaler is None else plain(self.scaler.state_dict()),
            "random": moment.random,
            "averages": averages,
            "more": {name: _saved_more(name, value) for name, value in moment.more.items()},
        }
        file = io.BytesIO()
        torch.save(data, file)
        return file.getvalue()

    def check(self, data: Mapping[str, Any]) -> None:
        """Check that saved data fits, before anything is changed.

        Raises:
            CheckpointError: it does not; the message names what differs.
        """
        try:
            self._check(data)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise CheckpointError("it is damaged, or is not one of a loop of your own") from error

    def _check(self, data: Mapping[str, Any]) -> None:
        kind = type(self.optimizer).__name__
        if data["class"] != kind:
            raise CheckpointError(f"it is of the optimizer {data['class']}, and here is {kind}")
        sizes = [len(group["params"]) for group in self.optimizer.param_groups]
        if len(data["weights"]) != sum(sizes) or len(data["groups"]) != len(sizes):
            raise CheckpointError(
                f"it has {len(data['weights'])} weights in {len(data['groups'])} parameter groups, and here are {sum(sizes)} in "
                f"{len(sizes)}"
            )
        for p, saved, name, was in zip(self.params, data["weights"], self.names, data["names"], strict=True):
            if p.shape != saved.shape or p.dtype != saved.dtype:
                raise CheckpointError(
                    f"{was} has the shape {tuple(saved.shape)} in {_type(saved)} there, and {name} here has "
                    f"{tuple(p.shape)} in {_type(p)}. Is it a LoRA of another rank, or another model?"
                )
        shapes = [{name: b.shape for name, b in of.items()} for of in self._buffers()]
        if shapes != [{name: b.shape for name, b in of.items()} for of in data["buffers"]]:
            raise CheckpointError("the model has other buffers, such as those of a normalization")
        for name, thing in (("schedule", self.scheduler), ("scaler", self.scaler)):
            if (data[name] is None) != (thing is None):
                raise CheckpointError(
                    f"it has {'no' if thing is not None else 'a'} {name}, and here is {'one' if thing is not None else 'none'}"
                )
        missing = [name for name, (is_state, _) in data["more"].items() if is_state and name not in self.more]
        if missing:
            raise CheckpointError(f"it has the state of {missing[0]!r}: give it in more={{{missing[0]!r}: …}}")

    def restore(self, data: Mapping[str, Any]) -> None:
        """Give all parts the saved state.

        Raises:
            CheckpointError: it does not fit, or a part refuses it.
        """
        import torch

        try:
            if self.scheduler is not None:
                self.scheduler.load_state_dict({**self.scheduler.state_dict(), **data["schedule"]})
            if self.scaler is not None:
                self.scaler.load_state_dict(data["scaler"])
            load_optimizer_state(self.optimizer, self.params, self._package, data)
            with torch.no_grad():
                for buffers, saved in zip(self._buffers(), data["buffers"], strict=True):
                    for name, buffer in buffers.items():
                        buffer.copy_(saved[name])
            for name, (is_state, value) in data["more"].items():
                if is_state:
                    self.more[name].load_state_dict(value)
            _set_random(data["random"])
        except Exception as error:
            text = f"{type(error).__name__}: {error}. Make model, optimizer and schedule anew before you go on: a part of it was loaded"
            raise CheckpointError(text) from error


def _has_state(thing: object) -> bool:
    return callable(getattr(thing, "state_dict", None)) and callable(getattr(thing, "load_state_dict", None))


def _saved_more(name: str, value: Any) -> tuple[bool, Any]:  # Any: an object with a state, or a plain value
    """Return whether it is an object's state, and what is saved of it."""
    try:
        return (True, plain(value.state_dict())) if _has_state(value) else (False, plain(value))
    except CheckpointError:
        raise CheckpointError(
            f"{name!r} in more is a {type(value).__name__}: numbers, texts, lists, dicts, tensors and objects with a "
            "state_dict() of these can be saved"
        ) from None


def _random() -> dict[str, Any]:
    import torch

    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  # the global one, which loops use
    started = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch does not annotate it
    cuda = torch.cuda.get_rng_state_all() if started else []
    return {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *map(float, rest)),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def _set_random(saved: Mapping[str, Any]) -> None:
    import torch

    kind, keys, place, has, value = saved["numpy"]
    random.setstate(saved["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), int(place), int(has), value))  # noqa: NPY002  # as above
    torch.set_rng_state(saved["torch"].cpu())
    if saved["cuda"]:
        torch.cuda.set_rng_state_all([state.cpu() for state in saved["cuda"]])


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _files(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the newest last; none where there is no such folder."""
    try:
        return sorted((file for file in folder.iterdir() if _NAME.fullmatch(file.name)), key=_step_of)
    except OSError:
        return []


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
