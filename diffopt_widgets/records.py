"""Records of training steps: StepRecord for one step, and History, which keeps many of them in columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat, TypeAlias

import numpy as np

from diffopt_widgets.catalogue.tables import Tabular, frame_of, text_table
from diffopt_widgets.plain_text import printable, printed_readably

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

Scalar: TypeAlias = SupportsFloat
"""A number, or a tensor of one element that may still be on the device."""
Grouped: TypeAlias = "Scalar | tuple[Scalar, ...]"
"""One value for all parameter groups, or one for each."""

GROUPED = ("lr", "applied_lr")
"""Columns with one value per parameter group."""
SINGLE = ("loss", "d", "d_hat", "grad_norm", "update_rms", "weight_norm", "eval_loss", "seconds")
"""Columns with one value per step; `d` and `d_hat` with one per group where each group has its own."""
LONGEST_NAME = 100
_SHOWN = 3
"""Number of first and of last steps that a history prints."""


@printed_readably
@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer step. A value that the optimizer does not have is None, never zero.

    `loss` and the norms may be tensors that are still on the device (`float()` waits for it).
    """

    step: int
    """Number of steps taken so far, this one included: 1 for the first."""
    seconds: float
    """Training time since the run began, without pauses."""
    loss: Scalar
    """Training loss before the step."""
    lr: tuple[float, ...]
    """Learning rate of the schedule, per parameter group."""
    applied_lr: tuple[Scalar, ...]
    """Learning rate that this step applied, per parameter group; NaN where that is not known."""
    d: float | tuple[float, ...] | None = None
    """Estimate that this step used; one per parameter group where each has its own."""
    d_hat: Grouped | None = None
    """Raw estimate after this step, before it was bounded."""
    grad_norm: Scalar | None = None
    """Euclidean norm of the whole gradient."""
    update_rms: Scalar | None = None
    weight_norm: Scalar | None = None
    eval_loss: Scalar | None = None
    """Loss on the fixed evaluation set after this step, at the steps where it was measured."""
    metrics: Mapping[str, Grouped] | None = None
    """Further measurements by name; `check_metric` says which names are allowed."""


def check_metric(name: str) -> None:
    """Raise ValueError if a metric cannot have this name; the message says why.

    >>> check_metric("val/loss")
    >>> check_metric("lr")
    Traceback (most recent call last):
    ValueError: a metric cannot be named 'lr': that column is recorded already. Choose another name, such as 'my_lr'
    """
    if name in {"step", *GROUPED, *SINGLE}:
        raise ValueError(
            f"a metric cannot be named {name!r}: that column is recorded already. "
            f"Choose another name, such as {f'my_{name}'!r}"
        )
    if not name.strip() or len(name) > LONGEST_NAME or "[" in name or not name.isprintable():
        raise ValueError(
            f"a metric cannot be named {name[:LONGEST_NAME]!r}: use 1 to {LONGEST_NAME} printable characters without '['"
        )


@printed_readably
class History(Tabular):
    """Records of one run, by column; rows are only ever added. It prints as a table of the first and the last steps.

    A step takes 8 bytes for its number and 8 for each value, and up to a quarter more for future rows.

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

    @classmethod
    def from_columns(cls, groups: Sequence[str], step: ArrayLike, columns: Mapping[str, ArrayLike]) -> History:
        """History with all these columns, also those without any value; arguments and errors as `extend_columns`."""
        history = cls(groups)
        history.extend_columns(step, columns)
        for name, values in columns.items():
            history._ensure(name, *np.shape(values)[1:])
        history._columns = {name: history._columns[name] for name in columns}
        return history

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"History({len(self)} steps: {', '.join(self.names())})"

    def __str__(self) -> str:
        if not len(self):
            return "History without a step yet"
        columns = self.to_columns()
        few = len(self) <= 2 * _SHOWN + 1
        rows = [*range(len(self))] if few else [*range(_SHOWN), *range(len(self) - _SHOWN, len(self))]
        cells: list[list[object]] = [[column[row].item() for column in columns.values()] for row in rows]
        if not few:
            cells.insert(_SHOWN, ["…", *[""] * (len(columns) - 1)])
        return f"History of {len(self):,} steps\n{text_table(list(columns), cells)}"

    @property
    def step(self) -> NDArray[np.int64]:
        """Step numbers, shape (n,)."""
        return self._step[: self._length]

    def names(self) -> tuple[str, ...]:
        """Columns that have at least one value or were asked for: the standard ones in a fixed order, then metrics in order of arrival."""
        order = ("loss", *GROUPED, *SINGLE[1:])
        return tuple(name for name in dict.fromkeys((*order, *self._columns)) if name in self._columns)

    def column(self, name: str) -> NDArray[np.float64]:
        """One column: shape (n,), or (n, groups) for `lr` and `applied_lr`. NaN where a step has no value.

        `d` and `d_hat` have shape (n, groups) where each group has its own estimate.

        Raises:
            KeyError: the run has no such column.
        """
        if name not in self._columns:
            known = ", ".join(self.names()) or "none yet"
            raise KeyError(printable(f"this history has no column {name!r}; it has {known}"))
        return self._columns[name][: self._length]

    def add_groups(self, names: Iterable[str]) -> None:
        """Add parameter groups from the next row on; the rows so far have no value for them.

        >>> h = History(("unet",))
        >>> h.extend_columns([1], {"lr": [[0.1]]})
        >>> h.add_groups(["text"])
        >>> h.extend_columns([2], {"lr": [[0.1, 0.2]]})
        >>> h.groups, h.column("lr").tolist()
        (('unet', 'text'), [[0.1, nan], [0.1, 0.2]])
        """
        groups = (*self.groups, *names)
        for name, column in self._columns.items():
            if column.ndim > 1:
                nothing = np.full((len(column), len(groups) - len(self.groups)), np.nan)
                self._columns[name] = np.concatenate([column, nothing], axis=1)
        self.groups = groups

    def extend(self, records: Iterable[StepRecord]) -> None:
        """Append records, whose values must be plain numbers (`training.loop.fetch` converts tensors)."""
        for record in records:
            if self._length == self._capacity:
                self._reserve(self._length + 1)
            row = self._length
            self._step[row] = record.step
            for name in (*GROUPED, *SINGLE):
                self._put(row, name, getattr(record, name))
            for name, value in (record.metrics or {}).items():
                if name not in self._columns:
                    check_metric(name)
                self._put(row, name, value)
            self._length += 1

    def extend_columns(self, step: ArrayLike, columns: Mapping[str, ArrayLike], *, keep: Collection[str] = ()) -> None:
        """Append many rows at once.

        Args:
            step: step numbers, shape (n,).
            columns: values by name, each of shape (n,), or (n, groups) with one value per group; NaN where there is none.
            keep: names of the columns that exist even if all their values are NaN.

        Raises:
            ValueError: shapes do not fit, or a metric cannot have its name; nothing is appended then.
        """
        steps = np.asarray(step, dtype=np.int64)
        arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
        for name, values in arrays.items():
            shape = (len(steps), *values.shape[1:])
            present = self._columns.get(name)
            if values.shape != shape or values.shape[1:] not in {(), (len(self.groups),)}:
                raise ValueError(
                    f"{name} has shape {values.shape}; {len(steps)} steps of {len(self.groups)} groups are put in"
                )
            if present is not None and present.shape[1:] != values.shape[1:]:
                raise ValueError(f"{name} has shape {values.shape}; its rows so far have shape {present.shape[1:]}")
            if name not in {*GROUPED, *SINGLE}:
                check_metric(name)
        stop = self._length + len(steps)
        if stop > self._capacity:
            self._reserve(stop)
        self._step[self._length : stop] = steps
        for name, values in arrays.items():
            if name in self._columns or name in keep or not np.isnan(values).all():
                self._ensure(name, *values.shape[1:])[self._length : stop] = values
        self._length = stop

    def _put(self, row: int, name: str, value: Grouped | None) -> None:
        if isinstance(value, tuple):
            if name == "applied_lr" and name not in self._columns and all(map(math.isnan, map(float, value))):
                return  # not known so far: a rate of NaN is no rate
            self._ensure(name, len(self.groups))[row] = [float(part) for part in value]
        elif value is not None:
            self._ensure(name)[row] = float(value)

    def _ensure(self, name: str, *groups: int) -> NDArray[np.float64]:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = np.full((self._capacity, *groups), np.nan)
        return column

    def _reserve(self, rows: int) -> None:
        """Make room for `rows` rows and a quarter more, so that a step of 8 columns stays under 100 bytes."""
        self._capacity = max(rows, self._capacity + self._capacity // 4)
        step = np.zeros(self._capacity, dtype=np.int64)
        step[: self._length] = self._step[: self._length]
        self._step = step
        for name, old in self._columns.items():
            column = np.full((self._capacity, *old.shape[1:]), np.nan)
            column[: self._length] = old[: self._length]
            self._columns[name] = column

    def to_columns(self, *, named: bool = False) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """Return flat columns by name, for tables and files; with several groups a grouped one is `applied_lr[unet]`.

        >>> h = History(("unet",))
        >>> h.extend([StepRecord(1, 0.1, 2.0, (0.1,), (0.1,))])
        >>> list(h.to_columns()), list(h.to_columns(named=True))
        (['step', 'loss', 'lr', 'applied_lr', 'seconds'], ['step', 'loss', 'lr[unet]', 'applied_lr[unet]', 'seconds'])

        Args:
            named: whether the group is named where there is only one too.
        """
        flat: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {"step": self.step}
        for name in self.names():
            column = self.column(name)
            if column.ndim == 1:
                flat[name] = column
            elif len(self.groups) == 1 and not named:
                flat[name] = column[:, 0]
            else:
                flat.update({f"{name}[{group}]": column[:, i] for i, group in enumerate(self.groups)})
        return flat

    def to_frame(self) -> pd.DataFrame:
        """Return the history as a pandas DataFrame, one row per step.

        Raises:
            ImportError: pandas is not installed.
        """
        return frame_of(self.to_columns(), "step")


def write_csv(
    path: Path, histories: Sequence[tuple[tuple[str, ...], History]], labels: Sequence[str] = ("run",)
) -> None:
    """Write every step of some runs as one table: the labels of the run, then every column that any of them has.

    Values are written in full; a cell without a value is empty.

    Args:
        path: the file; an existing one is replaced.
        histories: each history with a text for each of `labels`.
        labels: names of the label columns.

    Raises:
        OSError: the file cannot be written.
    """
    tables = [(texts, history.to_columns()) for texts, history in histories]
    names = list(dict.fromkeys(name for _, columns in tables for name in columns))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*labels, *names])
        for texts, columns in tables:
            for start in range(0, len(columns["step"]), 10_000):  # a table of Python's numbers is large
                part = [columns[name][start : start + 10_000].tolist() if name in columns else None for name in names]
                rows = len(columns["step"][start : start + 10_000])
                cells = [[""] * rows if column is None else map(_cell, column) for column in part]
                writer.writerows(zip(*([text] * rows for text in texts), *cells, strict=True))


def _cell(value: float) -> float | str:
    return "" if value != value else value  # noqa: PLR0124  # NaN alone differs from itself
