"""Kinds of value that an argument takes, as far as annotation, default and docstring say it for certain."""

from __future__ import annotations

import enum
import inspect
import math
import re
import types
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from diffopt_widgets.catalogue.values import Kind, ValueProblem, parse_value

_DOCUMENTED: dict[str, type] = {"float": float, "int": int, "integer": int, "bool": bool, "boolean": bool}
_WITHOUT_MEANING = {"optional", "tensor", "torch", "none", "or"}
_TEXT = "Its signature does not say which texts it takes."
_WHOLE = (
    "Its default is a whole number, and neither annotation nor docstring says whether it takes others: only whole numbers "
    "can be given here."
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Kind of value that an argument takes."""

    kind: Kind
    nullable: bool = False
    choices: tuple[str, ...] = ()
    note: str = ""


def shape_of(annotation: Any, default: Any, documented: str = "") -> Shape | str:  # Any: as a signature has them
    """Find the kind of value that an argument takes, or the reason why a form cannot show it.

    Args:
        annotation: as in the signature; `inspect.Parameter.empty` if there is none.
        default: as in the signature; `inspect.Parameter.empty` if there is none.
        documented: the type that the docstring names; used only without an annotation.

    >>> shape_of(float, 0)
    Shape(kind='float', nullable=False, choices=(), note='')
    >>> shape_of(inspect.Parameter.empty, None)
    'its default is None, and nothing says what else it takes'
    >>> shape_of(str, "constant").kind, shape_of(str, "none")
    ('text', "its default 'none' is a text that cannot be typed")
    """
    if isinstance(default, enum.Enum):
        return f"it takes a member of {type(default).__name__}"
    if isinstance(default, float) and math.isnan(default):
        return "its default is not a number"
    members = _members(annotation)
    nullable = default is None or type(None) in members
    types_ = [member for member in members if member is not type(None)] or _documented_types(documented)
    if not types_:
        return _from_default(default)
    choices = [choice for member in types_ if get_origin(member) is Literal for choice in get_args(member)]
    if choices:
        return _choice(types_, choices, default, nullable=nullable)
    return _plain(types_, default, nullable=nullable)


def tuple_shapes(annotation: Any, default: tuple[Any, ...], documented: str = "") -> list[Shape] | str:  # Any: as above
    """Find the kind of each part of a tuple, or the reason why a form cannot show them; the default gives their number.

    >>> [shape.kind for shape in tuple_shapes(tuple[float, float] | None, (1, 2.5))]
    ['float', 'float']
    """
    if not default:
        return "its default is an empty tuple"
    parts: list[Any] = [inspect.Parameter.empty] * len(default)
    for member in _members(annotation):
        annotations = get_args(member) if get_origin(member) is tuple else ()
        if len(annotations) == 2 and annotations[1] is Ellipsis:
            annotations = (annotations[0],) * len(default)
        if len(annotations) == len(default):
            parts = list(annotations)
    documented = "float" if re.search(r"\bfloats?\b", documented) else ""
    shapes = []
    for place, (part, value) in enumerate(zip(parts, default, strict=True), 1):
        shape = shape_of(part, value, documented)
        if isinstance(shape, str):
            return f"of part {place}: {shape}"
        shapes.append(shape)
    return shapes


def _members(annotation: Any) -> list[Any]:  # Any: as above
    """Return the types that an annotation allows, without tensors, which a form cannot give; none if it says nothing."""
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return []
    if get_origin(annotation) in {Union, types.UnionType}:
        return [member for part in get_args(annotation) for member in _members(part)]
    if getattr(annotation, "__module__", "") == "torch" and getattr(annotation, "__name__", "") == "Tensor":
        return []
    return [type(None) if annotation is None else annotation]


def _documented_types(documented: str) -> list[type]:
    before, *_ = re.split(r",\s*defaults?\b", documented.lower())
    words = set(re.findall(r"[\w.]+", before)) - _WITHOUT_MEANING
    return [_DOCUMENTED[word] for word in sorted(words)] if words and words <= _DOCUMENTED.keys() else []


def _from_default(default: Any) -> Shape | str:  # Any: as above
    if type(default) in {bool, int, float}:
        kinds: dict[type, Shape] = {bool: Shape("bool"), int: Shape("int", note=_WHOLE), float: Shape("float")}
        return kinds[type(default)]
    if default is None:
        return "its default is None, and nothing says what else it takes"
    if default is inspect.Parameter.empty:
        return "nothing says what it takes"
    return _text(default) if isinstance(default, str) else f"its default is a {type(default).__name__}"


def _text(default: Any, *, nullable: bool = False) -> Shape | str:  # Any: as above
    """Return a line of text, unless the default itself could not be typed there, such as an empty text or "none"."""
    if isinstance(default, str):
        try:
            typed = parse_value("text", default, nullable=nullable)
        except ValueProblem:
            typed = None
        if typed != default:
            return f"its default {default!r} is a text that cannot be typed"
    return Shape("text", nullable, note=_TEXT)


def _choice(types_: list[Any], choices: list[Any], default: Any, *, nullable: bool) -> Shape | str:  # Any: as above
    others = [member for member in types_ if get_origin(member) is not Literal]
    nullable = nullable or None in choices
    listed = [choice for choice in choices if choice is not None]
    if others or not all(isinstance(choice, str) for choice in listed):
        return "it takes one of several kinds of value"
    if default not in {None, inspect.Parameter.empty, *listed}:
        return f"its default {default!r} is none of the choices that its annotation lists"
    return Shape("choice", nullable, tuple(listed))


def _plain(types_: list[Any], default: Any, *, nullable: bool) -> Shape | str:  # Any: as above
    allowed = set(types_)
    missing = default is None or default is inspect.Parameter.empty
    if allowed == {bool}:
        return Shape("bool", nullable) if missing or isinstance(default, bool) else _contradiction("bool", default)
    if allowed <= {int, float}:
        if not missing and (isinstance(default, bool) or not isinstance(default, int | float)):
            return _contradiction("a number", default)
        return Shape("float" if float in allowed or isinstance(default, float) else "int", nullable)
    if allowed == {str}:
        return (
            _text(default, nullable=nullable) if missing or isinstance(default, str) else _contradiction("str", default)
        )
    names = " or ".join(inspect.formatannotation(member) for member in types_)
    return f"it takes {names}"


def _contradiction(named: str, default: object) -> str:
    return f"it is annotated as {named}, but its default is {default!r}"
