"""LoopParts: what a checkpoint of your own training loop holds, and how it is given back."""

from __future__ import annotations

import copy
import io
import operator
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.rates.unwrap import hooked_optimizer, inner_optimizer
from diffopt_widgets.settings.arguments import check_kind, wrong_kind
from diffopt_widgets.training.checkpoint import (
    FORMAT,
    CheckpointError,
    load_optimizer_state,
    optimizer_state,
    plain,
    refuse_unknown,
)

if TYPE_CHECKING:
    import torch

    Models = torch.nn.Module | Sequence[torch.nn.Module] | None

MOST_COPIED = 100_000
"""Most numbers that are copied after each step, so that a loop which is interrupted can be saved as of its last step."""
_COMPILED = "_orig_mod."
"""What torch.compile puts into the names of a model's weights."""


@dataclass(frozen=True)
class RandomStates:
    """The global random states that a loop may draw from."""

    python: Any  # Any: as the modules give and take them
    numpy: Any
    torch_state: torch.Tensor
    cuda: list[torch.Tensor]

    @classmethod
    def now(cls) -> RandomStates:
        """Read the present ones; this does not wait for a device."""
        import torch

        started = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return cls(
            random.getstate(),
            np.random.get_state(),  # noqa: NPY002  # the global one, which loops use
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if started else [],
        )

    def saved(self) -> dict[str, Any]:
        """Return them as plain values, for a file."""
        import torch

        kind, keys, place, has, value = self.numpy
        numpy = (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(place), int(has), float(value))
        return {"python": self.python, "numpy": numpy, "torch": self.torch_state, "cuda": self.cuda}


@dataclass(frozen=True)
class Kept:
    """Copies of what may change between a call and the next step of the optimizer."""

    buffers: list[dict[str, torch.Tensor]]
    schedule: dict[str, Any] | None
    more: dict[str, tuple[bool, Any]]


@dataclass(frozen=True)
class LoopParts:
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
        before: LoopParts | None = None,
    ) -> LoopParts:
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
        """The weights that the optimizer trains, in its order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @property
    def device(self) -> torch.device:
        """Device of the first weight."""
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

    def kept(self) -> Kept | None:
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
        copied: Kept = copy.deepcopy(Kept(buffers, schedule, more))
        return copied

    def saved(self, step: int, drawn: RandomStates, kept: Kept | None, averages: Sequence[Any]) -> bytes:
        """Return the file of a checkpoint.

        Args:
            step: number of steps taken.
            drawn: the random states.
            kept: copies of what has changed since the step; None where nothing has.
            averages: averages over the rates of past steps.

        Raises:
            CheckpointError: a part keeps something that cannot be saved.
        """
        import torch

        kept = kept or Kept(
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
            "random": drawn.saved(),
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


def _saved_schedule(schedule: Any) -> dict[str, Any] | None:  # Any: as in `LoopParts`
    """Return the state of a schedule without its functions, which the one that is made anew has."""
    if schedule is None:
        return None
    try:
        return {name: plain(value) for name, value in schedule.state_dict().items() if not callable(value)}
    except CheckpointError:
        raise CheckpointError(f"its {type(schedule).__name__} keeps what cannot be saved") from None


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
