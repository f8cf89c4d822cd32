"""Steps of somebody's own that only pass the step on, told by their bytecode.

Python code can do anything to weights, gradients and rates, so what is not seen to be harmless counts as a change: what is
allowed is listed here.
"""

from __future__ import annotations

import builtins
import dis
import logging
import time
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

import torch

from diffopt_widgets.rates.unwrap import INNER_NAMES

PASSING_ON = {"accelerate", "deepspeed", "lightning", "lightning_fabric", "pytorch_lightning"}
"""Packages whose wrappers change no more than gradients and precision."""

_SCALERS = {"scaler", "grad_scaler", "_scaler"}
_HARMLESS = {
    "no_grad",
    "enable_grad",
    "item",
    "append",
    "debug",
    "info",
    "warning",
    "perf_counter",
    "monotonic",
    "time",
}
"""Attributes that change neither weights nor gradients nor rates, unless the object has its own of that name."""
_BUILTINS = {"super", "print", "len", "int", "float", "str", "bool", "isinstance", "type", "max", "min", "abs", "round"}
_PLAIN = (int, float, str, type(None))
_MODULES = (torch, logging, time)
_INTERNAL = ("_init_group", "_single_tensor", "_multi_tensor")
"""Beginnings of the names of methods in which torch's optimizers compute their steps."""
_OUTSIDE = {"add_param_group", "eval", "load_state_dict", "state_dict", "step", "train", "zero_grad"}
"""Methods of optimizers that are not called by `step`, or are looked at on their own."""
_KEPT = {"defaults", "lr", "param_groups", "state", "step", *INNER_NAMES, *_SCALERS}
"""Attributes that a step of one's own may not set."""


def passes_on(owner: object, cls: type, *, to_base: bool) -> bool:
    """Return whether the `step` that `cls` defines, a class of `owner`, does one step of what it is around and nothing else.

    It calls `step` once in every case, of a base or of an optimizer inside it. It has no other call of a method of its own, and
    sets no more than counters. With `to_base` it must be the step of a base, by `super()` or by the base's name.
    """
    function = unhooked(vars(cls)["step"])
    code = getattr(function, "__code__", None)
    if not isinstance(function, FunctionType) or not isinstance(code, CodeType):
        return False
    if any(isinstance(const, CodeType) or const == "lr" for const in code.co_consts) or not code.co_argcount:
        return False
    if set(code.co_freevars) - {"__class__"} or code.co_cellvars:
        return False
    return _Reading(owner, cls, function, code).harmless(to_base=to_base)


def calls_base(cls: type) -> bool:
    """Return whether the `step` that a class defines names a base, by `super()` or by the base's name."""
    code = getattr(unhooked(vars(cls)["step"]), "__code__", None)
    names = set(code.co_names) if isinstance(code, CodeType) else set()
    return bool(names & {"super", *(base.__name__ for base in cls.__mro__[1:])})


def overrides_step(cls: type) -> bool:
    """Return whether a class has a `step` of its own. Torch puts its hooks around an inherited one too, into the class itself."""
    if "step" not in vars(cls):
        return False
    inherited = next((vars(base)["step"] for base in cls.__mro__[1:] if "step" in vars(base)), None)
    return unhooked(vars(cls)["step"]) is not unhooked(inherited)


def overrides_internals(cls: type, known: type) -> bool:
    """Return whether a subclass of a known class has its own version of a method in which that one computes its step."""
    inherited = {
        name for base in known.__mro__ if base not in (torch.optim.Optimizer, object) for name in vars(base)
    } - _OUTSIDE
    return any(
        name.startswith(_INTERNAL) or (name in inherited and not name.startswith("__") and _is_code(thing))
        for name, thing in vars(cls).items()
    )


def replaced(optimizer: object) -> bool:
    """Return whether an optimizer has a `step` on the object itself that is not that of its class.

    Torch's schedulers and `torch.compile` put a function around it, and so does this package.
    """
    own = getattr(optimizer, "__dict__", {}).get("step")
    usual = unhooked(getattr(type(optimizer), "step", None))
    while own is not None:
        function = getattr(own, "__func__", own)
        if unhooked(function) is usual:
            return False
        package = _package(function)
        if package == "diffopt_widgets" or package in PASSING_ON:
            return False
        own = getattr(function, "__wrapped__", None) or _scheduled(function)
        if package != "torch" or own is None:
            return True
    return False


def _scheduled(function: Any) -> Any:  # Any: whatever stands in an optimizer as `step`
    """Return the function that a scheduler of torch 2.4 is around; later ones have it as `__wrapped__`."""
    if not getattr(function, "_wrapped_by_lr_sched", False):
        return None
    inside = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return inside["func"].cell_contents if "func" in inside else None


def unhooked(function: Any) -> Any:  # Any: whatever stands in a class as `step`
    """Return the function that torch's decorators and hooks are wrapped around; a decorator of somebody else stays."""
    while _package(function) == "torch" and (wrapped := getattr(function, "__wrapped__", None)) is not None:
        function = wrapped
    return function


def _package(function: Any) -> str:  # Any: as above
    """Return the package that a function was written in, which `functools.wraps` leaves as it is."""
    return str(getattr(function, "__globals__", {}).get("__name__", "")).partition(".")[0]


def _is_code(thing: object) -> bool:
    return callable(thing) or isinstance(thing, (property, staticmethod, classmethod))


class _Reading:
    """Reading of the instructions of one `step`."""

    def __init__(self, owner: object, cls: type, function: FunctionType, code: CodeType) -> None:
        self._owner = owner
        self._cls = cls
        self._globals = function.__globals__
        self._self = code.co_varnames[0]
        skipped = {"CACHE", "EXTENDED_ARG", "PRECALL", "NOP", "RESUME"}
        self._all = [one for one in dis.get_instructions(code) if one.opname not in skipped]
        self._bases = {base.__name__ for base in cls.__mro__[1:]}
        self._paths = {part for base in cls.__mro__[1:] for part in base.__module__.split(".")}
        self._values = getattr(owner, "__dict__", {})

    def harmless(self, *, to_base: bool) -> bool:
        """Return whether each instruction is allowed, and `step` is called exactly once, in every case."""
        loads = [place for place, one in enumerate(self._all) if self._loads(one) and one.argval == "step"]
        if len(loads) != 1:
            return False
        (self._place,) = loads
        if to_base and not self._of_base():
            return False
        return self._always_steps() and all(self._allowed(place, one) for place, one in enumerate(self._all))

    @staticmethod
    def _loads(one: dis.Instruction) -> bool:
        return one.opname in {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}

    def _of_base(self) -> bool:
        before = self._all[self._place - 1]
        called_super = before.opname.startswith("CALL") and any(one.argval == "super" for one in self._all)
        return called_super or self._all[self._place].opname == "LOAD_SUPER_ATTR" or before.argval in self._bases

    def _always_steps(self) -> bool:
        """Return whether the step is called where it is loaded, once: no jump leads around it or back before it."""
        step = self._all[self._place]
        if self._all[self._place + 1].opname.startswith(("STORE", "COPY", "DUP", "RETURN")):
            return False
        for one in self._all[: self._place]:
            if one.opname.startswith("RETURN"):
                return False
            if self._jumps(one) and not one.opname.startswith("SETUP") and one.argval > step.offset:
                return False
        for one in self._all[self._place :]:
            if one.opname == "PUSH_EXC_INFO":  # handlers stand behind the code, and jump back into it
                return True
            if self._jumps(one) and one.argval <= step.offset:
                return False
        return True

    @staticmethod
    def _jumps(one: dis.Instruction) -> bool:
        return one.opcode in dis.hasjrel or one.opcode in dis.hasjabs

    def _allowed(self, place: int, one: dis.Instruction) -> bool:
        name = one.opname
        if name.startswith(
            ("FOR_ITER", "GET_ITER", "YIELD", "SEND", "DELETE", "IMPORT", "STORE_SUBSCR", "BINARY_SUBSCR")
        ):
            return False
        if name.startswith(("STORE_GLOBAL", "STORE_SLICE", "BINARY_SLICE")) or one.argrepr == "[]":
            return False
        if name == "LOAD_GLOBAL":
            return self._global(one.argval)
        if name == "STORE_ATTR":
            return self._stores(place, one.argval)
        if self._loads(one):
            return self._attribute(place, one.argval)
        return one.opcode not in dis.hasname

    def _global(self, name: str) -> bool:
        if name not in self._globals:
            return name in _BUILTINS or self._is_error(getattr(builtins, name, None))
        value = self._globals[name]
        if any(value is module for module in _MODULES) or isinstance(value, logging.Logger):
            return True
        if isinstance(value, BuiltinFunctionType):
            return value in (time.perf_counter, time.monotonic, time.time)
        return self._is_error(value) or value in self._cls.__mro__[1:]

    @staticmethod
    def _is_error(value: object) -> bool:
        return isinstance(value, type) and issubclass(value, BaseException)

    def _attribute(self, place: int, name: str) -> bool:
        """Return whether an attribute may be used: it leads to the step, or is harmless, or a number of the owner's own."""
        before, after = self._all[place - 1], self._all[place + 1]
        # Newer versions of Python load `self` right before an attribute of `super()`.
        of_self = self._is_self(before) and self._all[place].opname != "LOAD_SUPER_ATTR"
        if place == self._place:
            allowed = not of_self
        elif name.endswith("_") or name.startswith("_foreach"):
            allowed = False
        elif name in INNER_NAMES:
            allowed = True
        elif name in _SCALERS:
            allowed = isinstance(self._values.get(name), (torch.amp.GradScaler, type(None)))
        elif name == "update":
            allowed = before.argval in _SCALERS
        elif name == "zero_grad":
            allowed = place > self._place and not of_self
        elif isinstance(value := self._values.get(name), list):
            allowed = after.argval == "append"
        elif name in self._values:
            allowed = isinstance(value, (*_PLAIN, logging.Logger))
        elif of_self:
            allowed = isinstance(getattr(type(self._owner), name, None), (int, float, str))
        else:
            harmless = name in _HARMLESS and not hasattr(type(self._owner), name)
            allowed = harmless or name in self._bases or name in self._paths
        return allowed

    def _is_self(self, one: dis.Instruction) -> bool:
        loaded = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        return "LOAD_FAST" in one.opname and bool(loaded) and loaded[-1] == self._self

    def _stores(self, place: int, name: str) -> bool:
        """Return whether an attribute may be set: one of the owner's own, that holds a number or a text, or nothing yet."""
        before = self._all[place - 1]
        if name in _KEPT or not (self._is_self(before) or before.opname in {"SWAP", "ROT_TWO"}):
            return False
        there = getattr(type(self._owner), name, None)
        return isinstance(there, _PLAIN) and isinstance(self._values.get(name), _PLAIN)
