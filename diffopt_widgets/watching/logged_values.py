"""Values that a loop logs, put together with the steps that they belong to."""

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
"""Columns that are filled at every step, whatever is logged."""
MOST_WAITING = 1000
"""Most values of one name that are kept between two steps."""


class Notes:
    """What is logged between the steps of a loop, by name.

    A loop may log before or after its optimizer steps, once or for each of several micro-batches, at each step or seldom.
    So each name follows its own habit: first logged before the first step, or several times between two steps, it belongs
    to the step that comes, and so does what is logged after it; otherwise a value belongs to the step just taken. Several
    values for one step are to be averaged.

    >>> notes = Notes()
    >>> fits, first = notes.put("loss", 2.0), notes.close_step()
    >>> for name, value in (("accuracy", 0.5), ("loss", 1.0), ("loss", 3.0)):
    ...     fits = notes.put(name, value)
    >>> first, notes.close_step()
    ({'loss': 2.0, 'accuracy': 0.5}, {'loss': [1.0, 3.0]})
    """

    def __init__(self) -> None:
        self._coming: dict[str, Cell] = {}
        """For the step that comes."""
        self._last: dict[str, Cell] | None = None
        """Of the step just taken, while something may still be added to it."""
        self._ahead: set[str] = set()
        """Names whose values belong to the step that comes."""
        self._begun = False

    def put(self, name: str, value: Scalar) -> bool:
        """Take in a value; False when too many of this name wait for a step already."""
        if name not in self._ahead:
            last = self._last
            if last is not None:
                if name not in last:
                    last[name] = value
                    return True
                self._coming[name] = last.pop(name)
                self._ahead.add(name)
            elif not self._begun:
                self._ahead.add(name)
        if name in self._ahead:
            self._last = None
        coming = self._coming
        if name not in coming:
            coming[name] = value
            return True
        waiting = coming[name]
        if not isinstance(waiting, list):
            coming[name] = [waiting, value]  # type: ignore[list-item]  # only lists and single values are put here
        elif len(waiting) < MOST_WAITING:
            waiting.append(value)
        else:
            return False
        return True

    def close_step(self) -> dict[str, Cell]:
        """A step was taken: give what belongs to it. What is put in next may still be added there."""
        entry = self._coming
        self._coming = {}
        self._last = entry
        self._begun = True
        return entry

    @property
    def sealed(self) -> bool:
        """Whether nothing more can be added to the step just taken."""
        return self._last is None

    def seal(self) -> None:
        """Add nothing more to the step just taken: it has been read."""
        self._last = None


def merged(first: dict[str, Cell], second: dict[str, Cell]) -> dict[str, Cell]:
    """What belongs to two steps that count as one.

    >>> merged({"loss": 1.0, "a": 5.0}, {"loss": [2.0, 3.0]})
    {'loss': [1.0, 2.0, 3.0], 'a': 5.0}
    """
    both = dict(first)
    for name, cell in second.items():
        both[name] = [*several(both[name]), *several(cell)] if name in both else cell
    return both


def several(cell: Cell) -> list[Scalar]:
    """A cell that holds one value or several, as a list."""
    return cell if isinstance(cell, list) else [cell]  # type: ignore[list-item]  # notes hold nothing else


def check_name(name: object, measures: Collection[str]) -> None:
    """Raise where nothing can be logged under a name, beside these measures.

    Raises:
        TypeError: it is no text.
        ValueError: the column is filled otherwise, or a column cannot have that name.
    """
    if not isinstance(name, str):
        raise TypeError("a name is a text, such as 'loss'")
    if name in RECORDED_BY_ITSELF or name in measures:
        raise ValueError("the watch records that by itself at every step")
    if name not in {"loss", "eval_loss", *MEASURES}:
        check_metric(name)


def kept(value: object) -> Scalar:
    """A value as a number, or as a tensor of its own that is still on its device: the loop may go on to change its.

    Raises:
        TypeError: it is nothing like a number.
        ValueError: it is more than one number.

    >>> kept(torch.tensor([2.0])), kept("0.5")
    Traceback (most recent call last):
    TypeError: a str is no number
    """
    if isinstance(value, torch.Tensor):
        if value.__class__ is not torch.Tensor and hasattr(value, "full_tensor"):
            raise TypeError("a DTensor is spread over processes: log its full_tensor()")
        if value.is_cpu:
            number = value.item()  # raises where there is not one number in it
            if number.__class__ is complex:
                raise TypeError("a complex is no number")
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
        raise TypeError(f"a {type(value).__name__} is no number")
    return float(value)
