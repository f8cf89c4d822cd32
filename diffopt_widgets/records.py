"""What a training step leaves behind: StepRecord, and History, which keeps many of them in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsFloat, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scalar: TypeAlias = SupportsFloat
"""A number, or a tensor of one element that may still be on the device."""
Grouped: TypeAlias = "Scalar | tuple[Scalar, ...]"
"""One value for all parameter groups, or one for each."""

GROUPED = ("lr", "applied_lr")
"""Columns with one value per parameter group."""
SINGLE = ("loss", "d", "d_hat", "grad_norm", "update_rms", "weight_norm", "eval_loss", "seconds")
"""Columns with one value per step; `d` and `d_hat` with one per group where each group has its own."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer step. What an optimizer does not have is None, never zero.

    `loss` and the norms may be tensors still on the device (`float()` waits for it).
    """

    step: int
    """How many steps have been taken, this one included: 1 for the first."""
    seconds: float
    """Training time since the run began, pauses left out."""
    loss: Scalar
    """Training loss before the step."""
    lr: tuple[float, ...]
    """What the schedule says, per parameter group."""
    applied_lr: tuple[Scalar, ...]
    """What this step applied, per parameter group."""
    d: float | tuple[float, ...] | None = None
    """The estimate that this step was made with; one per parameter group where each has its own."""
    d_hat: Grouped | None = None
    """The raw estimate that this step came to, before it was bounded."""
    grad_norm: Scalar | None = None
    """Euclidean norm of the whole gradient."""
    update_rms: Scalar | None = None
    weight_norm: Scalar | None = None
    eval_loss: Scalar | None = None
    """Loss on the fixed evaluation set after this step, at the steps where it was taken."""


class History:
    """The records of one run, by column; only grows.

    >>> h = History(("unet",))
    >>> h.extend([StepRecord(1, 0.1, 2.0, (0.1,), (0.1,)), StepRecord(2, 0.2, 1.5, (0.1,), (0.1,), d=0.5)])
    >>> len(h), h.names(), h.column("loss"), h.column("d"), h.column("applied_lr").shape
    (2, ('loss', 'lr', 'applied_lr', 'd', 'seconds'), array([2. , 1.5]), array([nan, 0.5]), (2, 1))
    """

    def __init__(self, groups: Sequence[str]) -> None:
        self.groups = tuple(groups)
        """Names of the parameter groups."""
        self._length = 0
        self._capacity = 256
        self._step = np.zeros(self._capacity, dtype=np.int64)
        self._columns: dict[str, NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"History({len(self)} steps: {', '.join(self.names())})"

    @property
    def step(self) -> NDArray[np.int64]:
        """Step numbers, shape (n,)."""
        return self._step[: self._length]

    def names(self) -> tuple[str, ...]:
        """The columns that have at least one value, in a fixed order."""
        order = ("loss", *GROUPED, *SINGLE[1:])
        return tuple(name for name in order if name in self._columns)

    def column(self, name: str) -> NDArray[np.float64]:
        """One column: shape (n,), or (n, groups) for `lr` and `applied_lr`. NaN where a step has no value.

        `d` and `d_hat` have shape (n, groups) where each group has its own estimate.

        Raises:
            KeyError: the run has no such column.
        """
        if name not in self._columns:
            raise KeyError(f"this history has no column {name!r}; it has {', '.join(self.names()) or 'none yet'}")
        return self._columns[name][: self._length]

    def extend(self, records: Iterable[StepRecord]) -> None:
        """Append records; their values must be numbers by now (`training.loop.fetch` makes them so)."""
        for record in records:
            if self._length == self._capacity:
                self._grow()
            row = self._length
            self._step[row] = record.step
            for name in (*GROUPED, *SINGLE):
                value = getattr(record, name)
                if isinstance(value, tuple):
                    self._ensure(name, len(self.groups))[row] = [float(part) for part in value]
                elif value is not None:
                    self._ensure(name)[row] = float(value)
            self._length += 1

    def _ensure(self, name: str, *groups: int) -> NDArray[np.float64]:
        column = self._columns.get(name)
        if column is None:
            shape = (self._capacity, *groups)
            column = self._columns[name] = np.full(shape, np.nan)
        return column

    def _grow(self) -> None:
        self._capacity *= 2
        step = np.zeros(self._capacity, dtype=np.int64)
        step[: self._length] = self._step
        self._step = step
        for name, old in self._columns.items():
            column = np.full((self._capacity, *old.shape[1:]), np.nan)
            column[: self._length] = old
            self._columns[name] = column

    def to_columns(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """Flat columns by name, grouped ones as `applied_lr[unet]`; for tables and files."""
        flat: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {"step": self.step}
        for name in self.names():
            column = self.column(name)
            if column.ndim == 1:
                flat[name] = column
            else:
                flat.update({f"{name}[{group}]": column[:, i] for i, group in enumerate(self.groups)})
        return flat
