"""Checkpoints of your own training loop: `Watcher.checkpoint` saves them, and `resume_loop` continues from the newest."""

from __future__ import annotations

import copy
import io
import math
import operator
import os
import random
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    DamagedError,
    load_optimizer_state,
    optimizer_state,
    plain,
    read_saved,
    refuse_unknown,
)
from diffopt_widgets.whole_file import written_whole

if TYPE_CHECKING:
    import torch

    Models = torch.nn.Module | Sequence[torch.nn.Module] | None

FOLDER = "checkpoints"
KEEP = 3
EVERY = "5 min"
WAIT_SECONDS = 30.0
"""Longest time that the end of a watch waits for a disk."""

MOST_COPIED = 100_000
"""Most numbers that are copied after each step, so that a loop which is interrupted can be saved as of its last step."""

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

    Weights, optimizer, schedule, scaler and the global random states of Python, NumPy and torch become what they were. On the CPU the training then goes on bit for
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
        CheckpointError: the checkpoint belongs to another training (the message names what differs), or all are damaged, or the
            folder cannot be read.
        SettingsError: an argument is of another kind than it should be.

    >>> import tempfile, torch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> resume_loop(tempfile.mkdtemp(), model, optimizer)
    LoopState(step 0, no checkpoint)
    """
    path = checked_path("folder", folder, 'Write the folder of the checkpoints, such as "checkpoints".')
    parts = _Parts.of(model, optimizer, scheduler, scaler, more)
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
    parts: _Parts
    random: _Random
    kept: _Kept | None


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
        self.folder = checked_path("folder", folder, 'Write a folder, such as "checkpoints".')
        self._seconds, self._steps = _interval(every)
        self._keep = whole_number("keep", keep, 1)
        self._facts = facts
        self._report = report
        self._due, self._due_call = time.monotonic() + self._seconds, self._steps
        self._thread: threading.Thread | None = None
        self._moment: _Moment | None = None
        """The newest one that is not saved."""
        self._parts: _Parts | None = None
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
        self._parts = parts = _Parts.of(model, optimizer, scheduler, scaler, more, self._parts)
        if first and self._refuses(parts):
            return
        self._moment = _Moment(call, parts, _Random.now(), parts.kept())
        busy = self._thread is not None and self._thread.is_alive()
        if (call >= self._due_call or time.monotonic() >= self._due) and not busy:
            self._save(self._moment)

    def _refuses(self, parts: _Parts) -> bool:
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
            data = moment.parts.saved(step, moment, averages)
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


@dataclass(frozen=True)
class _Random:
    """The random states that a loop may draw from."""

    python: Any  # Any: as the modules give and take them
    numpy: Any
    torch_state: torch.Tensor
    cuda: list[torch.Tensor]

    @classmethod
    def now(cls) -> _Random:
        import torch

        started = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return cls(
            random.getstate(),
            np.random.get_state(),  # noqa: NPY002  # the global one, which loops use
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if started else [],
        )

    def saved(self) -> dict[str, Any]:
        import torch

        kind, keys, place, has, value = self.numpy
        numpy = (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(place), int(has), float(value))
        return {"python": self.python, "numpy": numpy, "torch": self.torch_state, "cuda": self.cuda}


@dataclass(frozen=True)
class _Kept:
    """Copies of what may change between a call and the next step of the optimizer."""

    buffers: list[dict[str, torch.Tensor]]
    schedule: dict[str, Any] | None
    more: dict[str, tuple[bool, Any]]


@dataclass(frozen=True)
class _Parts:
    """Parts of a loop that a checkpoint holds."""

    models: tuple[torch.nn.Module, ...]
    optimizer: torch.optim.Optimizer
    scheduler: Any  # Any: schedules, scalers and the like share no class, but two methods
    scaler: Any
    more: Mapping[str, Any]
    places: list[list[tuple[str, torch.nn.Module, str]]]
    """Of each model its buffers that are saved: the whole name, the module that has it, and its name there."""
    given: tuple[object, ...]

    @classmethod
    def of(
        cls,
        model: Models,
        optimizer: object,
        scheduler: object | None,
        scaler: object | None,
        more: Mapping[str, Any] | None,
        before: _Parts | None = None,
    ) -> _Parts:
        """Check the parts of a loop; those of the call before are not looked at again."""
        import torch

        check_kind("more", more, (Mapping, type(None)), "a dict by name", 'Write more={"step": step}.')
        for name in more or ():
            check_kind("more", name, str, "a text as each name", 'Write more={"step": step}.')
        models = tuple(model) if isinstance(model, (list, tuple)) else () if model is None else (model,)
        given = (*models, optimizer, scheduler, scaler)
        if before is not None and len(given) == len(before.given) and all(map(operator.is_, given, before.given)):
            return replace(before, more=dict(more or {}))
        for one in models:
            check_kind("model", one, torch.nn.Module, "the model, or a list of models", "Write model=model.")
        for name, thing in (("scheduler", scheduler), ("scaler", scaler)):
            if thing is not None and not _has_state(thing):
                wanted = "an object with state_dict() and load_state_dict()"
                raise wrong_kind(name, thing, wanted, f"Write {name}={name}, or leave it out.")
        try:
            hooked = hooked_optimizer(optimizer)
        except TypeError:
            todo = "Write optimizer=optimizer."
            raise wrong_kind("optimizer", optimizer, "the optimizer that the loop steps", todo) from None
        places = [_persistent(one) for one in models]
        return cls(models, hooked, scheduler, scaler, dict(more or {}), places, given)

    @property
    def params(self) -> list[torch.Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def device(self) -> torch.device:
        import torch

        return self.params[0].device if self.params else torch.device("cpu")

    @property
    def names(self) -> list[str]:
        """Name of each weight, as its model has it, for messages."""
        known = {id(p): name.replace(_COMPILED, "") for model in self.models for name, p in model.named_parameters()}
        return [known.get(id(p), f"weight {number}") for number, p in enumerate(self.params, 1)]

    @property
    def _package(self) -> str:
        return type(self.optimizer).__module__.split(".")[0]

    def refuse(self) -> None:
        """Check that all of it can be saved.

        Raises:
            CheckpointError: something cannot.
        """
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            raise CheckpointError(
                "it trains in several processes, of which each has its own random states and perhaps weights"
            )
        if inner := inner_optimizer(self.optimizer):
            raise CheckpointError(
                f"its {type(self.optimizer).__name__} holds another optimizer, {type(inner).__name__}"
            )
        if self._package not in {spec(key).package for key in list_optimizers()}:
            refuse_unknown(self.optimizer)
        _saved_schedule(self.scheduler)
        for name, value in self.more.items():
            _saved_more(name, value)

    def buffers(self) -> list[dict[str, torch.Tensor]]:
        """Return the buffers of each model, by name."""
        return [{name: getattr(module, own).detach() for name, module, own in of} for of in self.places]

    def kept(self) -> _Kept | None:
        """Copy what may change before the next step, unless that would cost time: large buffers, objects, a scaler on a GPU."""
        if self.scaler is not None or any(map(_has_state, self.more.values())):
            return None
        try:
            more = {name: _saved_more(name, value) for name, value in self.more.items()}
            schedule = _saved_schedule(self.scheduler)
        except CheckpointError:
            return None
        buffers = self.buffers()
        tensors = [b for of in buffers for b in of.values()] + _tensors((schedule, more))
        if sum(tensor.numel() for tensor in tensors) > MOST_COPIED:
            return None
        copied: _Kept = copy.deepcopy(_Kept(buffers, schedule, more))
        return copied

    def saved(self, step: int, moment: _Moment, averages: Sequence[Any]) -> bytes:
        """Return the file of a checkpoint.

        Raises:
            CheckpointError: a part keeps something that cannot be saved.
        """
        import torch

        kept = moment.kept or _Kept(
            self.buffers(),
            _saved_schedule(self.scheduler),
            {name: _saved_more(name, value) for name, value in self.more.items()},
        )
        data = {
            "format": FORMAT,
            "device": self.device.type,
            "step": step,
            "class": type(self.optimizer).__name__,
            "names": self.names,
            **optimizer_state(self.optimizer, self.params, self._package),
            "buffers": kept.buffers,
            "schedule": kept.schedule,
            "schedule_class": _class_of(self.scheduler),
            "scaler": None if self.scaler is None else plain(self.scaler.state_dict()),
            "random": moment.random.saved(),
            "averages": averages,
            "more": kept.more,
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
        self._check_beside(data)

    def _check_beside(self, data: Mapping[str, Any]) -> None:
        """Check what is saved beside weights and optimizer."""
        if len(data["buffers"]) != len(self.models):
            raise CheckpointError(
                f"it has the buffers of {len(data['buffers'])} models, and here are {len(self.models)}"
            )
        for own, saved in zip(self.buffers(), data["buffers"], strict=True):
            for name in {**own, **saved}:
                if name not in own or name not in saved or own[name].shape != saved[name].shape:
                    raise CheckpointError(f"the buffer {name} of its model is another one")
        if data["schedule_class"] != (kind := _class_of(self.scheduler)):
            raise CheckpointError(f"its schedule is {data['schedule_class'] or 'none'}, and here is {kind or 'none'}")
        empty = (
            None if one is None else bool(one) for one in (data["scaler"], self.scaler and self.scaler.state_dict())
        )
        there, here = ({None: "no scaler", False: "a scaler that is off", True: "a scaler"}[one] for one in empty)
        if there != here:
            raise CheckpointError(f"it has {there}, and here is {here}")
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
                for buffers, saved in zip(self.buffers(), data["buffers"], strict=True):
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


def _class_of(thing: object | None) -> str:
    return "" if thing is None else type(thing).__name__


def _persistent(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module, str]]:
    """Return the buffers of a model that its own `state_dict` would have."""
    places = []
    for path, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer is not None and name not in module._non_persistent_buffers_set:  # noqa: SLF001  # torch has no other way
                places.append((f"{path}.{name}".removeprefix(".").replace(_COMPILED, ""), module, name))
    return places


def _saved_schedule(schedule: Any) -> dict[str, Any] | None:  # Any: as in `_Parts`
    """Return the state of a schedule without its functions, which the one that is made anew has."""
    if schedule is None:
        return None
    try:
        return {name: plain(value) for name, value in schedule.state_dict().items() if not callable(value)}
    except CheckpointError as error:
        raise CheckpointError(f"its {type(schedule).__name__} keeps what cannot be saved: {error}") from None


def _saved_more(name: str, value: Any) -> tuple[bool, Any]:  # Any: an object with a state, or a plain value
    """Return whether it is an object's state, and what is saved of it."""
    try:
        return (True, plain(value.state_dict())) if _has_state(value) else (False, plain(value))
    except CheckpointError:
        raise CheckpointError(
            f"{name!r} in more is a {type(value).__name__}: numbers, texts, lists, dicts, tensors and objects with a "
            "state_dict() of these can be saved; write array.tolist() or generator.get_state()"
        ) from None


def _tensors(value: Any) -> list[torch.Tensor]:
    import torch

    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, torch.Tensor) else []


def _set_random(saved: Mapping[str, Any]) -> None:
    import torch

    kind, keys, place, has, value = saved["numpy"]
    random.setstate(saved["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), int(place), int(has), value))  # noqa: NPY002  # as above
    torch.set_rng_state(saved["torch"].cpu())
    for index, state in enumerate(saved["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state.cpu(), index)


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


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
