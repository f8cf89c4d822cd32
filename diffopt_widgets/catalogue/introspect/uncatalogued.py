"""An optimizer that nobody catalogued: its form from its signature and its docstring, and nothing that is guessed.

Such an optimizer is named by where it is imported from, `"torch.optim:RAdam"`. The name alone is enough to make its spec
again, so there is no list to enter it into: settings, form, JSON and another process all come by it in the same way.

Nothing here imports torch or a back end; only a name that somebody gives is imported.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from functools import cache
from importlib import metadata

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.introspect.docstrings import docstring_of, first_sentence, quoted
from diffopt_widgets.catalogue.introspect.signatures import read_signature
from diffopt_widgets.catalogue.schema import OptimizerSpec
from diffopt_widgets.catalogue.shared import LIBRARY, with_common_rules

FAMILY = "Not catalogued"


def spec_of(cls: type) -> OptimizerSpec:
    """The spec of any torch optimizer class; of one in the catalogue the catalogue's own.

    A class that nobody catalogued gets its options from its signature, their words from its docstring, and each of them
    the standing "not catalogued": what it may be and whether it does anything is not known. What a form cannot show is
    among `hidden`, with the reason. `Settings`, `Form` and `lab` take such a spec like every other.

    Raises:
        TypeError: it is no optimizer class, an abstract one, one that wraps an optimizer or needs a model, or one that
            cannot be imported again by its name.

    >>> import torch
    >>> found = spec_of(torch.optim.RAdam)
    >>> found.key, found.use("beta1").default
    ('torch.optim:RAdam', 0.9)
    >>> found.use("eps").option.help
    'Not catalogued: its docstring says “term added to the denominator to improve numerical stability (default: 1e-8)”.'
    >>> spec_of(torch.optim.AdamW) is spec("ADAMW")
    True
    """
    if not _is_optimizer(cls):
        name = getattr(cls, "__name__", None) or type(cls).__name__
        given = "" if isinstance(cls, type) else "; give the class itself, not one that is built"
        raise TypeError(f"{name} is not a class derived from torch.optim.Optimizer{given}")
    return _catalogued(cls) or _made(cls)


def spec_at(key: str) -> OptimizerSpec:
    """The spec of the class with this import path, such as `"torch.optim:RAdam"`; its module is imported.

    Raises:
        KeyError: there is no such class, or it is none that `spec_of` takes; the message says why.
    """
    module, _, name = key.partition(":")
    try:
        found = vars(importlib.import_module(module)).get(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a foreign module may raise anything, and one exits
        raise KeyError(f"{module!r} cannot be imported ({type(error).__name__}: {error})") from None
    if found is None:
        raise KeyError(f"there is no {name!r} in {module}")
    try:
        return spec_of(found)
    except TypeError as error:
        raise KeyError(str(error)) from None


def is_loaded(key: str) -> bool:
    """Whether the spec of an import path can be had without importing anything."""
    return key.partition(":")[0] in sys.modules


def _is_optimizer(cls: object) -> bool:
    """Whether it is a class derived from torch's; asked without importing torch, which is loaded if there is one."""
    bases = inspect.getmro(cls)[1:] if isinstance(cls, type) else ()
    return any((base.__module__, base.__qualname__) == ("torch.optim.optimizer", "Optimizer") for base in bases)


def _catalogued(cls: type) -> OptimizerSpec | None:
    for key in list_optimizers():
        module, _, name = spec(key).target.partition(":")
        if vars(sys.modules[module]).get(name) is cls if module in sys.modules else False:
            return spec(key)
    return None


@cache
def _made(cls: type) -> OptimizerSpec:
    """The spec of a class; made once, so that it is the same as long as the class is."""
    if inspect.isabstract(cls):
        raise TypeError(f"{cls.__name__} is an abstract class; give one that can be built")
    target = _target(cls)
    read = read_signature(cls)
    begins = first_sentence(docstring_of(cls))
    return with_common_rules(
        OptimizerSpec(
            key=target,
            title=cls.__name__,
            family=FAMILY,
            summary="Not catalogued: all that stands here is read from its signature and its docstring"
            + (f", which begins {quoted(begins)}" if begins else "."),
            formula="",
            links=(),
            target=target,
            package=_package(target),
            lr=read.lr,
            uses=read.uses,
            presets=() if read.needs else (LIBRARY,),
            rules=read.needs,
            hidden=read.hidden,
            rate_words="the learning rate as scheduled; not catalogued, so whether the optimizer scales it is not known",
            has_modes=all(callable(getattr(cls, name, None)) for name in ("train", "eval")),
            catalogued=False,
        )
    )


def _target(cls: type) -> str:
    """Where a class is imported from: the shortest way there is."""
    parts = cls.__module__.split(".")
    for count in range(1, len(parts) + 1):
        module = ".".join(parts[:count])
        if module in sys.modules and vars(sys.modules[module]).get(cls.__name__) is cls:
            return f"{module}:{cls.__name__}"
    raise TypeError(
        f"{cls.__name__} cannot be found again as {cls.__name__} of {cls.__module__}; define it in a module or a cell, "
        "not inside a function or a class"
    )


def _package(target: str) -> str:
    """The distribution that a module belongs to; the module's own name where there is none."""
    top = target.partition(":")[0].partition(".")[0]
    try:
        return str(metadata.metadata(top)["Name"])
    except metadata.PackageNotFoundError:
        return metadata.packages_distributions().get(top, [top])[0]
