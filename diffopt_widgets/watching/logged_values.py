"""LoggedValues: values that a loop logs, assigned to the steps that they belong to."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, SupportsFloat, TypeAlias

import numpy as np
import torch

from diffopt_widgets.records import check_metric
from diffopt_widgets.training.measures import MEASURES
from diffopt_widgets.training.numbers_of import numbers

if TYPE_CHECKING:
    from diffopt_widgets.records import Scalar
    from diffopt_widgets.watching.columns import Cell

Where: TypeAlias = Literal["last", "next"]
"""Step that a value belongs to: the one just taken, or the one that comes."""

RECORDED_BY_ITSELF = {"lr", "applied_lr", "d", "d_hat"}
"""Columns that the watch itself fills at every step."""
MANY = 50
"""Number of values of one name without a step at which the loop may step another optimizer."""
FETCHED_AT_ONCE = 1000
"""Number of values that may wait for a step on their device."""
MOST_WAITING = 1_000_000
"""Largest number of values of one name between two steps."""
HABIT = 2
"""Number of steps with one value logged after each, from which a name is known to be logged after its steps."""

_EVALUATION = frozenset({"val", "valid", "validation", "eval", "evaluation", "test", "testing"})
_BATCH = frozenset({"loss", "train", "training"})


class LoggedValues:
    """Values logged between the steps of a loop, by name.

    A loop may log before or after its optimizer steps, once or for each of several micro-batches, at each step or seldom.
    These rules decide; docs/watch.md explains them.

    1. A value belongs to the step just taken; before the first step, to the first one.
    2. A name that is logged before the first step, or several times between two steps, is *ahead*: its values belong to the
       next step. It stays so if it is logged before the step after that too, or if it is a loss of a batch (`loss`, `train/…`).
    3. After a value of the next step, or in one call with it, values of other names belong to the next step too.
    4. Evaluations (`val/loss`, `eval_loss`, `test_accuracy`) belong to the step just taken, always. One from before the first
       step is moved to `before` when the first step gets its own.
    5. At the end, values that wait for a step belong to the last one.

    Several values for one step are averaged later.

    >>> logged = LoggedValues()
    >>> fits, first = logged.put("loss", 2.0), logged.close_step()
    >>> for name, value in (("accuracy", 0.5), ("loss", 1.0), ("loss", 3.0)):
    ...     count = logged.put(name, value)
    >>> first, logged.close_step()
    ({'loss': 2.0, 'accuracy': 0.5}, {'loss': [1.0, 3.0]})
    """

    def __init__(self) -> None:
        self.before: dict[str, Cell] = {}
        """Evaluations before the first step, of names that were evaluated again after it."""
        self._next: dict[str, Cell] = {}
        """Values of the next step."""
        self._last: dict[str, Cell] | None = None
        """Values of the last step, to which more may be added; None before the first."""
        self._entered: Collection[str] = ()
        """Names that had a value of the last step before it was taken."""
        self._logged_now: set[str] = set()
        """Names that were logged since the last step."""
        self._over = False
        """True when a value of the next step was logged."""
        self._ahead: set[str] = set()
        """Names whose values belong to the next step."""
        self._ahead_now: set[str] = set()
        """Those of them that are so since the last step: the next one tells whether they stay so."""
        self._ahead_before: set[str] = set()
        """Those of them that are so since the step before the last."""
        self._early: set[str] = set()
        """Evaluations that were logged before the first step, until the second step."""
        self._begins = True
        """True until the second step."""
        self._habit: dict[str, int] = {}
        """Number of steps after which a name was logged, once each."""
        self._most = 1
        """Largest number of values of one name for one step so far."""

    def put(self, name: str, value: Scalar, where: Where | None = None) -> int:
        """Add a value, to this step if it is known; return how many values of this name the step has, 0 if too many."""
        last = self._last
        if last is None:
            cells = self._next
            if where == "last" or (where is None and is_evaluation(name)):
                self._early.add(name)
            elif where is None and name not in cells:
                self._set_ahead(name)
        else:
            cells = self._next if self._is_next(name, last, where) else last
        self._logged_now.add(name)
        if name not in cells:
            cells[name] = value
            return 1
        present = cells[name]
        if not isinstance(present, list):
            cells[name] = [present, value]  # type: ignore[list-item]  # only lists and single values are put here
            return 2
        if len(present) >= MOST_WAITING:
            return 0
        if len(present) % FETCHED_AT_ONCE == 0:
            present[-FETCHED_AT_ONCE:] = numbers(present[-FETCHED_AT_ONCE:]).tolist()
        present.append(value)
        return len(present)

    def _is_next(self, name: str, last: dict[str, Cell], where: Where | None) -> bool:
        """Return whether a value that comes after the first step belongs to the next step."""
        if where == "last" or (where is None and is_evaluation(name)):
            if name in self._early and name not in self._logged_now:
                self._move_before(name, last)
            return False
        if not (where == "next" or self._over or name in self._ahead):
            if name not in self._logged_now:
                if name not in self._entered:
                    return False
            elif self._habit.get(name, 0) >= HABIT:
                return False
            elif name in last:  # a second value since the step: those of micro-batches
                self._next[name] = last.pop(name)
                if self._begins and name in self.before:
                    last[name] = self.before.pop(name)
                self._set_ahead(name)
        self._over = True
        return True

    def where(self, names: Collection[str]) -> Where | None:
        """Return the step of values that are logged in one call, if one of the names tells it of the others.

        Evaluations have their own. A name from before the first step that is now logged with one that is not from there is
        logged after its steps: its first value moves to `before`.
        """
        last = self._last
        others = {name for name in names if not is_evaluation(name)}
        ahead = self._ahead & others
        if last is None or self._over or not ahead or ahead == others:
            return None
        for name in ahead:
            if not (self._begins and name in self._ahead_before and last[name].__class__ is not list):
                return "next"
        for name in ahead:
            self._ahead.discard(name)
            self._move_before(name, last)
        return "last"

    def _move_before(self, name: str, last: dict[str, Cell]) -> None:
        """Move the values of a name from the first step to those from before it."""
        self.before = merge(self.before, {name: last.pop(name)})

    def _set_ahead(self, name: str) -> None:
        self._ahead.add(name)
        if not is_of_batch(name):
            self._ahead_now.add(name)

    def close_step(self) -> dict[str, Cell]:
        """End a step and return its values; values that are put in later may still be added to them."""
        entry, logged = self._next, self._logged_now
        if self._last is not None:
            self._begins = False
            self._early.clear()
            if self._ahead_before:
                self._ahead -= self._ahead_before - logged
            for name in logged:
                if name not in entry:
                    self._habit[name] = self._habit.get(name, 0) + 1
        for name, cell in entry.items():
            if cell.__class__ is list and is_of_batch(name):
                self._most = max(self._most, len(as_list(cell)))
        if self._ahead_now or self._ahead_before:
            self._ahead_before, self._ahead_now = self._ahead_now, set()
        self._next, self._last, self._entered, self._over = {}, entry, tuple(entry), False
        logged.clear()
        return entry

    def without_step(self, name: str, count: int) -> bool:
        """Return whether so many values of one name for one step mean that the loop may step another optimizer."""
        if is_evaluation(name) or not (self._last is None or is_of_batch(name)):
            return False
        return count >= max(MANY, 2 * self._most + 1)

    def close(self) -> dict[str, Cell]:
        """Give the values that wait for a step to the last one; return those that belong to no step, since too many wait."""
        last, waiting, self._next = self._last, self._next, {}
        if last is None:
            return waiting
        by_call: dict[str, Cell] = {}
        for name, cell in waiting.items():
            if self.without_step(name, len(as_list(cell))):
                by_call[name] = cell
            else:
                last[name] = [*as_list(last[name]), *as_list(cell)] if name in last else cell
        for name in self._logged_now - waiting.keys():
            cell = last.get(name)
            if self.without_step(name, len(as_list(cell))):
                last[name], by_call[name] = as_list(cell)[0], as_list(cell)[1:]
        return by_call


@functools.cache
def is_evaluation(name: str) -> bool:
    """Return whether a name tells of an evaluation, whose values describe the weights after the step just taken.

    >>> [is_evaluation(name) for name in ("val/loss", "evalLoss", "test_accuracy", "value", "loss")]
    [True, True, True, False, False]
    """
    return not _EVALUATION.isdisjoint(_words(name))


@functools.cache
def is_of_batch(name: str) -> bool:
    """Return whether a name tells of a loss of a training batch, which belongs to the step that follows.

    >>> [is_of_batch(name) for name in ("loss", "train/loss", "diffusion_loss", "accuracy", "val/loss")]
    [True, True, True, False, False]
    """
    return not _BATCH.isdisjoint(_words(name)) and not is_evaluation(name)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


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
