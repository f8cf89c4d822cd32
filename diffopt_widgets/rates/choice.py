"""The one place that decides how the applied rate of a class is read, or that it is not known.

Every class is one of three. For a class of the catalogue or of `READERS` there is a reader. A class that `READERS` lists with
`GROUP` applies the rate of its group as it is. What any other class applies is not known. A class is found by its package and
name, or by those of its bases. `docs/applied-rates.md` shows how each of them was checked; `tests/shared/rate_scan.py` does it.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.rates.passing_on import (
    PASSING_ON,
    calls_base,
    overrides_internals,
    overrides_step,
    passes_on,
    replaced,
)
from diffopt_widgets.rates.unwrap import inner_optimizer, path_to_optimizer

if TYPE_CHECKING:
    from diffopt_widgets.rates.base import RateReader

GROUP = "base:RateReader"
"""Reader of the group's rate as it is."""
NOT_KNOWN = "unknown:NotKnown"
"""Reader for classes of which it is not known what they apply."""
INNER = "wrappers:Inner"
"""Reader for optimizers that apply what the optimizer inside them applies."""


def _as_the_group_says(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), GROUP)


READERS: dict[str, dict[str, str]] = {
    "torch": {
        **_as_the_group_says("SGD Adam AdamW Adamax Adadelta RMSprop SparseAdam"),
        "ASGD": "torch_own:ASGD",
        "Adafactor": "torch_own:Adafactor",
        "Adagrad": "torch_own:Adagrad",
        "LBFGS": NOT_KNOWN,  # a step moves the weights several times, by what its line search finds
        "Muon": "torch_own:Muon",
        "PostLocalSGDOptimizer": NOT_KNOWN,  # a step may also average the weights of all processes
        "RAdam": "torch_own:RAdam",
        "Rprop": "torch_own:Rprop",
        "ZeroRedundancyOptimizer": "wrappers:Sharded",
    },
    "bitsandbytes": {
        **_as_the_group_says("PagedAdEMAMix PagedAdEMAMix8bit Adagrad32bit"),
        **_as_the_group_says("Adam Adam32bit AdamW AdamW32bit PagedAdam PagedAdam32bit PagedAdam8bit PagedAdamW"),
        **_as_the_group_says("PagedAdamW32bit PagedAdamW8bit Lion Lion32bit PagedLion PagedLion32bit PagedLion8bit"),
        **_as_the_group_says("RMSprop32bit SGD SGD32bit"),
        "LAMB32bit": "per_tensor:Trust",
        "LARS32bit": "per_tensor:Trust",
    },
    "dadaptation": {"DAdaptAdamPreprint": "preprint:DAdaptAdamPreprint"},
    "prodigyopt": {"ProdigyReference": "estimating:Prodigy"},
    "pytorch_optimizer": {
        **_as_the_group_says(
            "AdEMAMix AdaDelta AdaGC AdaMax AdaNorm Adai AdamC AdamP AdamS AdamWSN Ano FAdam Grams GrokFastAdamW LaProp"
        ),
        **_as_the_group_says("Lion MSVAG PID QHAdam QHM SGDP SGDW SignSGD"),
        "APOLLO": "pytorch_optimizers:WithoutRank",
        "AdaMod": "pytorch_optimizers:AdaMod",
        "DAdaptAdaGrad": NOT_KNOWN,  # dual averaging has no rate of a single step
        "DAdaptAdam": "pytorch_optimizers:DAdaptAdam",
        "DAdaptAdan": NOT_KNOWN,  # it moves some tensors further than d times the rate
        "DAdaptLion": "pytorch_optimizers:Estimate",
        "DAdaptSGD": "pytorch_optimizers:DAdaptSGD",
        "DeMo": NOT_KNOWN,  # its base SGD steps along signs that several processes agree on
        "Fira": "pytorch_optimizers:WithoutRank",
        "FriendlySAM": INNER,
        "GSAM": NOT_KNOWN,
        "GaLore": "pytorch_optimizers:WithoutRank",
        "LARS": "pytorch_optimizers:Lars",
        "Lamb": "pytorch_optimizers:Lamb",
        "LookSAM": NOT_KNOWN,  # most steps use a direction of an earlier one
        "Lookahead": "wrappers:Lookahead",
        "MARS": "pytorch_optimizers:Mars",
        "MuonClip": NOT_KNOWN,  # it may scale weights after the step
        "OrthoGrad": INNER,
        "PCGrad": INNER,
        "Prodigy": "pytorch_optimizers:Prodigy",
        "RAdam": "pytorch_optimizers:RAdam",
        "Ranger": "pytorch_optimizers:Ranger",
        "Ranger21": "pytorch_optimizers:Ranger21",
        "SAM": INNER,
        "ScheduleFreeAdamW": "pytorch_optimizers:ScheduleFree",
        "ScheduleFreeRAdam": "pytorch_optimizers:ScheduleFreeRAdam",
        "ScheduleFreeSGD": "pytorch_optimizers:ScheduleFree",
        "ScheduleFreeWrapper": INNER,
        "TRAC": NOT_KNOWN,  # it scales the whole way from the first weights
        "WSAM": NOT_KNOWN,
    },
    "schedulefree": {
        "AdamWScheduleFreeClosure": "schedule_free:ScheduleFree",
        "AdamWScheduleFreePaper": "schedule_free:ScheduleFree",
        "AdamWScheduleFreeReference": "schedule_free:ScheduleFree",
        "RAdamScheduleFreeClosure": "schedule_free:ScheduleFreeRAdam",
        "SGDScheduleFreeClosure": "schedule_free:ScheduleFree",
        "SGDScheduleFreeReference": "schedule_free:ScheduleFree",
        "ScheduleFreeWrapper": INNER,
        "ScheduleFreeWrapperReference": INNER,
    },
    "transformers": {"Adafactor": "per_tensor:TransformersAdafactor"},
}
"""Readers of classes that the catalogue does not have, by package and class."""

_SCALING = ("lookahead", "larc", "lars", "trac")
"""Parts of the names of wrappers that are known to change what is applied."""


def load_reader(name: str) -> type[RateReader]:
    """Import the class that `OptimizerSpec.rate` names: a module of `rates/` and a class in it, `"first_steps:Rectified"`.

    >>> load_reader("base:RateReader").__name__
    'RateReader'
    """
    module, _, cls = name.partition(":")
    reader: type[RateReader] = getattr(importlib.import_module(f"{__package__}.{module}"), cls)
    return reader


def reader_of(optimizer: object) -> RateReader:
    """Make the reader of an optimizer's applied rates; wrappers are looked through.

    Raises:
        TypeError: it has no parameter groups and holds no optimizer, or it holds several.
    """
    *wrappers, stepping = path_to_optimizer(optimizer)
    reader = load_reader(rate_kind(stepping))(stepping)
    for wrapper in reversed(wrappers):
        kind = _wrapper_kind(wrapper)
        if kind == NOT_KNOWN:
            return load_reader(NOT_KNOWN)(stepping)
        if kind != INNER:
            reader = load_reader(kind)(wrapper)
    return reader


def rate_kind(optimizer: object) -> str:
    """Return the name of the reader for this optimizer: that of its class or of its nearest base that has one.

    A subclass whose own `step` is not seen to call its base's once and to do nothing else is not known, nor is one that has its
    own version of what the base's step calls, or an object with a `step` of its own. An optimizer that only passes its steps on
    to one inside it is read like that one.
    """
    if replaced(optimizer):
        return NOT_KNOWN
    readers = _readers()
    subclasses: list[type] = []
    for cls in type(optimizer).__mro__:
        kind = readers.get((_package(cls), cls.__name__))
        if kind is not None:
            return kind if all(_steps_like(cls, sub, optimizer) for sub in subclasses) else NOT_KNOWN
        subclasses.append(cls)
    inner = inner_optimizer(optimizer)
    if inner is None or not _same_groups(inner, optimizer):
        return NOT_KNOWN
    return _wrapper_kind(optimizer)


@functools.cache
def _readers() -> dict[tuple[str, str], str]:
    readers = {(package, name): kind for package, kinds in READERS.items() for name, kind in kinds.items()}
    for key in list_optimizers():
        module, _, name = spec(key).target.partition(":")
        readers[module.split(".")[0], name] = spec(key).rate
    return readers


def _wrapper_kind(wrapper: object) -> str:
    """Return the reader for a wrapper: `INNER` for one that is seen to pass steps on, and to do nothing else in them."""
    for cls in type(wrapper).__mro__:
        package = _package(cls)
        if package in PASSING_ON:
            return INNER
        if (listed := READERS.get(package, {}).get(cls.__name__)) is not None:
            return listed
        if replaced(wrapper) or any(part in cls.__name__.lower() for part in _SCALING):
            return NOT_KNOWN
        if overrides_step(cls):
            if not passes_on(wrapper, cls, to_base=False):
                return NOT_KNOWN
            if not calls_base(cls):
                break
    return INNER


def _steps_like(known: type, subclass: type, optimizer: object) -> bool:
    """Return whether a class between an optimizer's and a known one leaves the step as it is."""
    if overrides_step(subclass) and not passes_on(optimizer, subclass, to_base=True):
        return False
    return _package(subclass) in _packages() or not overrides_internals(subclass, known)


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


@functools.cache
def _packages() -> frozenset[str]:
    return frozenset(package for package, _ in _readers())


def _same_groups(inner: Any, optimizer: Any) -> bool:  # Any: optimizers of any kind
    return len(inner.param_groups) == len(optimizer.param_groups) and all(
        {id(p) for p in one["params"]} == {id(p) for p in other["params"]}
        for one, other in zip(inner.param_groups, optimizer.param_groups, strict=True)
    )
