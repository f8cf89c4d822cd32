"""Options of an optimizer's constructor, read from its signature and docstring without guessing."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from diffopt_widgets.catalogue.introspect.argument_shapes import Shape, shape_of, tuple_shapes
from diffopt_widgets.catalogue.introspect.docstrings import Entry, argument_entries, docstring_of, quoted
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.options import LR
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS, TASK
from diffopt_widgets.catalogue.schedules import TRAINING_DEFAULTS
from diffopt_widgets.catalogue.schema import Hidden, Rule, Standing, Use, Values
from diffopt_widgets.catalogue.values import Interval

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.values import Value

RESERVED = frozenset({"settings", "lr", "optimizer", "preset", "out", *TRAINING_DEFAULTS, TASK.name, *RUN_OPTIONS})
"""Names that mean something else on the bench; an argument of such a name becomes an option with `_` after it."""
START_LR = 1e-3
"""Learning rate of an optimizer that has no default for it."""

_WRAPPED = {"optimizer", "base_optimizer", "model", "module", "network", "net"}
"""Names of a first argument that is not the parameters."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Arguments of a constructor after the trained parameters."""

    lr: Use
    uses: tuple[Use, ...]
    hidden: tuple[Hidden, ...]
    """Arguments that a form cannot show, with the reason."""
    needs: tuple[Rule, ...]
    """Rules, one for each option without a default, that a value must be given."""


def read_signature(cls: type) -> Signature:
    """Read the signature of a class.

    Raises:
        TypeError: it needs an argument that a form cannot give, such as another optimizer or a model.
    """
    own = cls.__dict__.get("__init__")
    source = _Source(
        cls, {**argument_entries(getattr(own, "__doc__", None) or ""), **argument_entries(docstring_of(cls))}
    )
    parameters = _parameters(cls)
    lr = _lr_use(source, next((p for p in parameters if p.name == "lr"), None))
    uses: list[Use] = []
    hidden: list[Hidden] = []
    for parameter in parameters:
        if parameter.name != "lr":
            made = _uses(source, parameter, {"lr", *(p.name for p in parameters), *(use.name for use in uses)})
            if isinstance(made, Hidden):
                hidden.append(made)
            else:
                uses.extend(made)
    needed = [use for use in uses if use.option.nullable and use.option.null_words == _TO_GIVE]
    return Signature(lr, tuple(uses), tuple(hidden), tuple(_needed(cls, use) for use in needed))


@dataclass(frozen=True, slots=True)
class _Source:
    """Class that is read, with the entries of its docstrings."""

    cls: type
    entries: dict[str, Entry]

    def help(self, argument: str) -> str:
        entry = self.entries.get(argument)
        if entry is None:
            return "Not catalogued, and its docstring has no entry for it that could be read."
        return f"Not catalogued: its docstring says {quoted(entry.text)}"

    def type(self, argument: str) -> str:
        return self.entries[argument].type if argument in self.entries else ""


def _parameters(cls: type) -> list[inspect.Parameter]:
    """Return the constructor's arguments after the trained parameters."""
    try:
        signature = inspect.signature(cls, eval_str=True)
    except Exception:  # noqa: BLE001  # an annotation may have an unknown name; it is then read as a text
        signature = inspect.signature(cls)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}:
        raise TypeError(f"{cls.__name__} takes no parameters to train as its first argument")
    for place, parameter in enumerate(parameters):
        if (not place or parameter.default is parameter.empty) and _wraps(parameter):
            raise TypeError(
                f"{cls.__name__} needs {_article(parameter.name)} besides or instead of the parameters to train, and a "
                "form cannot give that; allowed are classes that are built from parameters and plain values"
            )
    return parameters[1:]


def _wraps(parameter: inspect.Parameter) -> bool:
    """Return whether an argument is another optimizer or a model."""
    annotation = parameter.annotation
    types = [annotation, *getattr(annotation, "__args__", ())]
    classes = [part for part in types if isinstance(part, type)]
    return parameter.name in _WRAPPED or any(
        (base.__module__, base.__qualname__)
        in {("torch.optim.optimizer", "Optimizer"), ("torch.nn.modules.module", "Module")}
        for part in classes
        for base in inspect.getmro(part)
    )


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _lr_use(source: _Source, parameter: inspect.Parameter | None) -> Use:
    """Make the learning rate, which the bench's own schedule scales: so it must be a number above 0."""
    option = replace(LR, help=source.help("lr"))
    own = None if parameter is None else parameter.default
    default = float(own) if isinstance(own, int | float) and not isinstance(own, bool) and own > 0 else None
    note, argument = "", "lr"
    if parameter is None:
        note, argument = "Its signature has no lr, so what is set here does not reach its constructor.", ""
    elif default is None:
        fact = "It has no default for it" if own is parameter.empty else f"Its own default is {own}"
        note = f"{fact}; a run of the bench needs a number, and starts with {START_LR}."
    return Use(
        option,
        START_LR if default is None else default,
        argument or None,
        note=note,
        standing=Standing.UNCATALOGUED,
        fixed=default is None,
    )


_TO_GIVE = "none yet: it has to be given"


def _uses(source: _Source, parameter: inspect.Parameter, taken: set[str]) -> Sequence[Use] | Hidden:
    """Make the options of one argument: one, or one for each part of a tuple, or none with the reason."""
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
        several = "it collects further arguments, and the signature does not say which"
        reason = "it can only be given by its place" if parameter.kind is parameter.POSITIONAL_ONLY else several
        return _unshown(source, parameter, reason)
    default = parameter.default
    if type(default) is tuple:
        shapes = tuple_shapes(parameter.annotation, default, source.type(parameter.name))
        if isinstance(shapes, str):
            return _unshown(source, parameter, shapes)
        names = _part_names(parameter.name, len(default), taken)
        return [
            _use(source, parameter, shape, value, name, f"{parameter.name}[{index}]")
            for index, (name, shape, value) in enumerate(zip(names, shapes, default, strict=True))
        ]
    shape = shape_of(parameter.annotation, default, source.type(parameter.name))
    if isinstance(shape, str):
        return _unshown(source, parameter, shape)
    name = f"{parameter.name}_" if parameter.name in RESERVED else parameter.name
    return [_use(source, parameter, shape, default, name, parameter.name)]


def _unshown(source: _Source, parameter: inspect.Parameter, reason: str) -> Hidden:
    positional = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    if parameter.default is parameter.empty and not positional:
        raise TypeError(
            f"{source.cls.__name__} needs {parameter.name}, and a form cannot give that ({reason}); allowed are classes "
            "that are built from parameters and plain values"
        )
    return Hidden(parameter.name, f"{reason}; it keeps its default" if not positional else reason)


def _part_names(name: str, count: int, taken: set[str]) -> list[str]:
    """Name the parts: beta1 and beta2 for betas, but eps_1 and eps_2 if the name is no plural or a short name is taken."""
    short = [f"{name[:-1]}{place}" for place in range(1, count + 1)]
    if name.endswith("s") and name != "eps" and not taken.intersection(short) and not RESERVED.intersection(short):
        return short
    return [f"{name}_{place}" for place in range(1, count + 1)]


def _use(source: _Source, parameter: inspect.Parameter, shape: Shape, own: Any, name: str, argument: str) -> Use:
    """Make one option; `own` is its default in the signature."""
    needed = own is parameter.empty
    default: Value = None if needed else float(own) if shape.kind == "float" and own is not None else own
    infinite = isinstance(default, float) and default in {float("inf"), float("-inf")}
    option = Option(
        name,
        name.rstrip("_").replace("_", " ").capitalize(),
        shape.kind,
        source.help(parameter.name),
        domain=Interval(infinite=True) if infinite else None,
        choices=shape.choices,
        nullable=needed or shape.nullable,
        null_words=_TO_GIVE if needed else "None" if shape.nullable else "",
    )
    return Use(
        option, default, argument, note=" ".join(_notes(parameter, shape, argument)), standing=Standing.UNCATALOGUED
    )


def _notes(parameter: inspect.Parameter, shape: Shape, argument: str) -> Iterator[str]:
    if argument != parameter.name:
        place = int(argument[len(parameter.name) + 1 : -1]) + 1
        yield f"This is part {place} of the {len(parameter.default)} of {parameter.name}."
    if shape.note:
        yield shape.note
    if parameter.default is parameter.empty:
        yield "It has no default."


def _needed(cls: type, use: Use) -> Rule:
    return Rule(
        f"needs-{use.name}",
        (use.name,),
        partial(_is_empty, use.name),
        f"{cls.__name__} has no default for it: give a value.",
    )


def _is_empty(name: str, values: Values) -> bool:
    return values[name] is None
