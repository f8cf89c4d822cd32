"""LoggedValues: values that a loop logs, assigned to the steps that they belong to."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np
import torch

from diffopt_widgets.records import check_metric
from diffopt_widgets.training.measures import MEASURES

if TYPE_CHECKING:
    from diffopt_widgets.records import Scalar
    from diffopt_widgets.watching.columns import Cell

RECORDED_BY_ITSELF = {"lr", "applied_lr", "d", "d_hat"}
"""Columns that the watch itself fills at every step."""
MOST_WAITING = 1000
"""Largest number of values of one name between two steps."""


class LoggedValues:
    """Values logged between the steps of a loop, by name.

    A loop may log before or after its optimizer steps, once or for each of several micro-batches, at each step or seldom.
    So each name has a rule of its own. When it is first logged before the first step, or several times between two steps,
    its values belong to the next step, and so do all values logged after it. Otherwise a value belongs to the last step.
    Several values for one step are averaged later.

    >>> logged = LoggedValues()
    >>> fits, first = logged.put("loss", 2.0), logged.close_step()
    >>> for name, value in (("accuracy", 0.5), ("loss", 1.0), ("loss", 3.0)):
    ...     fits = logged.put(name, value)
    >>> first, logged.close_step()
    ({'loss': 2.0, 'accuracy': 0.5}, {'loss': [1.0, 3.0]})
    """

    def __init__(self) -> None:
        self._next: dict[str, Cell] = {}
        """Values of the next step."""
        self._last: dict[str, Cell] | None = None
        """Values of the last step, as long as more may be added to it."""
        self._ahead: set[str] = set()
        """Names whose values belong to the next step."""
        self._begun = False

    def put(self, name: str, value: Scalar) -> bool:
        """Add a value; return False when too many values of this name already wait for a step."""
        if name not in self._ahead:
            last = self._last
            if last is not None:
                if name not in last:
                    last[name] = value
                    return True
                self._next[name] = last.pop(name)
                self._ahead.add(name)
            elif not self._begun:
                self._ahead.add(name)
        if name in self._ahead:
            self._last = None
        upcoming = self._next
        if name not in upcoming:
            upcoming[name] = value
            return True
        waiting = upcoming[name]
        if not isinstance(waiting, list):
            upcoming[name] = [waiting, value]  # type: ignore[list-item]  # only lists and single values are put here
        elif len(waiting) < MOST_WAITING:
            waiting.append(value)
        else:
            return False
        return True

    def close_step(self) -> dict[str, Cell]:
        """End a step and return its values; values that are put in later may still be added to them."""
        entry = self._next
        self._next = {}
        self._last = entry
        self._begun = True
        return entry

    @property
    def sealed(self) -> bool:
        """True when no more values can be added to the last step."""
        return self._last is None

    def seal(self) -> None:
        """Add no more values to the last step: it has been read."""
        self._last = None


def merge(first: dict[str, Cell], second: dict[str, Cell]) -> dict[str, Cell]:
    """Merge the values of two steps that count as one.

    >>> merge({"loss": 1.0, "a": 5.0}, {"loss": [2.0, 3.0]})
    {'loss': [1.0, 2.0, 3.0], 'a': 5.0}
    """
    both = dict(first)
    for name, cell in second.items():
        both[name] = [*as_list(both[name]), *as_list(cell)] if name in both else cell
    return both


def as_list(cell: Cell) -> list[Scalar]:
    """Return a cell with one or several values as a list."""
    return cell if isinstance(cell, list) else [cell]  # type: ignore[list-item]  # logged cells hold nothing else


def check_name(name: object, measures: Collection[str]) -> None:
    """Raise if no value can be logged under a name, beside these measures.

    Raises:
        TypeError: the name is not a text.
        ValueError: the watch fills that column itself, or a column cannot have that name.
    """
    if not isinstance(name, str):
        raise TypeError("a name is a text, such as 'loss'")
    if name in RECORDED_BY_ITSELF or name in measures:
        raise ValueError("the watch records that by itself at every step")
    if name not in {"loss", "eval_loss", *MEASURES}:
        check_metric(name)


def to_scalar(value: object) -> Scalar:
    """Convert a value to a number, or copy it as a tensor on its device, since the loop may change its own later.

    Raises:
        TypeError: the value is not a real number.
        ValueError: it is more than one number.

    >>> to_scalar(torch.tensor([2.0])), to_scalar("0.5")
    Traceback (most recent call last):
    TypeError: a str is not a real number
    """
    if isinstance(value, torch.Tensor):
        if value.__class__ is not torch.Tensor and hasattr(value, "full_tensor"):
            raise TypeError("a DTensor is spread over processes: log its full_tensor()")
        if value.is_cpu:
            number = value.item()  # raises if it is not exactly one number
            if number.__class__ is complex:
                raise TypeError("a complex is not a real number")
            return number
        if value.numel() != 1 or value.is_meta or value.layout is not torch.strided or value.is_complex():
            raise ValueError(
                f"a tensor of shape {tuple(value.shape)} and {value.dtype} on {value.device} is not one number"
            )
        return value.detach().clone()
    if isinstance(value, (np.ndarray, np.generic)):
        if value.size != 1:
            raise ValueError(f"an array of shape {value.shape} is not one number")
        value = value.item()
    if isinstance(value, str) or not isinstance(value, SupportsFloat):
        raise TypeError(f"a {type(value).__name__} is not a real number")
    return float(value)
