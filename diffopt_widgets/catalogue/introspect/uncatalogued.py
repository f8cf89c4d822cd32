"""Specs of optimizers outside the catalogue, made from signature and docstring without guessing.

The key of such an optimizer is its import path, `"torch.optim:RAdam"`. The path is enough to make its spec again, so it
needs no registration: settings, form, JSON and other processes all find it in the same way.

Nothing here imports torch or a back end, except a module that the user names.
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
from diffopt_widgets.catalogue.names import explain_class
from diffopt_widgets.catalogue.remedies import known_remedies
from diffopt_widgets.catalogue.schema import OptimizerSpec
from diffopt_widgets.catalogue.shared import LIBRARY, with_common_rules

FAMILY = "Not catalogued"


def spec_of(cls: type) -> OptimizerSpec:
    """Return the spec of any torch optimizer class; the catalogue's own spec if the class is in the catalogue.

    A class outside the catalogue gets its options from its signature and their help from its docstring. Each option has
    the standing "not catalogued": its range and its effect are not known. Arguments that a form cannot show are in
    `hidden`, with the reason. `Settings`, `Form` and `lab` accept such a spec like any other.

    Raises:
        TypeError: it is not an optimizer class, or is abstract, wraps an optimizer, needs a model, or cannot be imported
            again by its name.

    >>> import torch
    >>> radam = spec_of(torch.optim.RAdam)
    >>> radam.key, radam.use("beta1").default
    ('torch.optim:RAdam', 0.9)
    >>> radam.use("eps").option.help
    'Not catalogued: its docstring says “term added to the denominator to improve numerical stability (default: 1e-8)”.'
    >>> spec_of(torch.optim.AdamW) is spec("ADAMW")
    True
    """
    if not _is_optimizer(cls):
        name = getattr(cls, "__name__", None) or type(cls).__name__
        hint = "" if isinstance(cls, type) else "; give the class itself, not an instance"
        raise TypeError(f"{name} is not a class derived from torch.optim.Optimizer{hint}")
    return _catalogued(cls) or _make_spec(cls)


def spec_at(key: str) -> OptimizerSpec:
    """Return the spec of the class with this import path, such as `"torch.optim:RAdam"`; its module is imported.

    Raises:
        KeyError: there is no such class, or `spec_of` does not accept it; the message says why.
    """
    module, _, name = key.partition(":")
    try:
        cls = vars(importlib.import_module(module)).get(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a foreign module may raise anything, and one exits
        raise KeyError(f"{module!r} cannot be imported ({type(error).__name__}: {error})") from None
    if cls is None:
        hint = explain_class(name)
        raise KeyError(f"there is no {name!r} in {module}{hint and f'. {hint}'}")
    try:
        return spec_of(cls)
    except TypeError as error:
        raise KeyError(str(error)) from None


def is_trusted(key: str) -> bool:
    """Return whether a text from elsewhere may name this import path.

    Its module must be imported already, or be one from which the catalogue takes its classes: else a file could choose what
    code is executed here.

    >>> is_trusted("torch.optim:RAdam"), is_trusted("antigravity:Adam")
    (True, False)
    """
    module = key.partition(":")[0]
    return module in sys.modules or any(spec(known).target.partition(":")[0] == module for known in list_optimizers())


def _is_optimizer(cls: object) -> bool:
    """Return whether it is a class derived from torch's; this imports nothing, since such a class has loaded torch."""
    bases = inspect.getmro(cls)[1:] if isinstance(cls, type) else ()
    return any((base.__module__, base.__qualname__) == ("torch.optim.optimizer", "Optimizer") for base in bases)


def _catalogued(cls: type) -> OptimizerSpec | None:
    for key in list_optimizers():
        module, _, name = spec(key).target.partition(":")
        if vars(sys.modules[module]).get(name) is cls if module in sys.modules else False:
            return spec(key)
    return None


@cache
def _make_spec(cls: type) -> OptimizerSpec:
    """Make the spec of a class; it is cached, so a class always has the same spec."""
    if inspect.isabstract(cls):
        raise TypeError(f"{cls.__name__} is an abstract class; give one that can be built")
    target = _target(cls)
    signature = read_signature(cls)
    sentence = first_sentence(docstring_of(cls))
    return with_common_rules(
        OptimizerSpec(
            key=target,
            title=cls.__name__,
            family=FAMILY,
            summary="Not catalogued: everything here is read from its signature and its docstring"
            + (f", which begins {quoted(sentence)}" if sentence else "."),
            formula="",
            links=(),
            target=target,
            package=_package(target),
            lr=signature.lr,
            uses=signature.uses,
            presets=() if signature.needs else (LIBRARY,),
            rules=signature.needs,
            remedies=known_remedies({use.name for use in signature.uses}),
            hidden=signature.hidden,
            rate_words="the rate that the plot shows as applied; where that is not known, the plot shows its group's rate and says so",
            has_modes=all(callable(getattr(cls, name, None)) for name in ("train", "eval")),
            catalogued=False,
        )
    )


def _target(cls: type) -> str:
    """Return the shortest import path of a class."""
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
    """Return the distribution that a module belongs to, or the module's own name if there is none."""
    top = target.partition(":")[0].partition(".")[0]
    try:
        return str(metadata.metadata(top)["Name"])
    except metadata.PackageNotFoundError:
        return metadata.packages_distributions().get(top, [top])[0]
