"""Records of training steps: StepRecord for one step, and History, which keeps many of them in columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat, TypeAlias, TypeVar

import numpy as np

from diffopt_widgets.catalogue.tables import Tabular, frame_of, text_table
from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.plain_text import printable, printed_readably

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

_Number = TypeVar("_Number", np.int64, np.float64)

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
    if isinstance(name, str) and name in {"step", *GROUPED, *SINGLE}:
        raise ValueError(
            f"a metric cannot be named {name!r}: that column is recorded already. "
            f"Choose another name, such as {f'my_{name}'!r}"
        )
    if (
        not isinstance(name, str)
        or not name.strip()
        or len(name) > LONGEST_NAME
        or "[" in name
        or not name.isprintable()
    ):
        raise ValueError(
            f"a metric cannot be named {safe_repr(name)}: use 1 to {LONGEST_NAME} printable characters without '['"
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
        self.groups = _texts("groups", groups)
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
        if not isinstance(name, str) or name not in self._columns:
            known = ", ".join(self.names()) or "none yet"
            raise KeyError(printable(f"this history has no column {safe_repr(name)}; it has {known}"))
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
        groups = (*self.groups, *_texts("names", names))
        for name, column in self._columns.items():
            if column.ndim > 1:
                nothing = np.full((len(column), len(groups) - len(self.groups)), np.nan)
                self._columns[name] = np.concatenate([column, nothing], axis=1)
        self.groups = groups

    def copy(self, *, room: int = 0) -> History:
        """Return a copy with room for more rows; a row that is added to one of them is not in the other."""
        other = History(self.groups)
        other._length, other._capacity = self._length, self._length + room
        other._step = self._grown(self._step, other._capacity)
        other._columns = {name: self._grown(column, other._capacity) for name, column in self._columns.items()}
        return other

    def extend(self, records: Iterable[StepRecord]) -> None:
        """Append records, whose values must be plain numbers (`training.loop.fetch` converts tensors).

        Raises:
            TypeError: it is no record, or a value of one is no number; that record and those after it are left out.
        """
        if not isinstance(records, Iterable):
            raise _wrong("records", "a list of StepRecord", records)
        for record in records:
            if not isinstance(record, StepRecord):
                raise _wrong("records", "a list of StepRecord", record)
            _check_record(record, len(self.groups))
            if self._length == self._capacity:
                self._reserve(self._length + 1)
            row = self._length
            self._step[row] = record.step
            for name in (*GROUPED, *SINGLE):
                self._put(row, name, getattr(record, name))
            for name, value in ({} if record.metrics is None else record.metrics).items():
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
        if not isinstance(columns, Mapping):
            raise _wrong("columns", 'a dict of columns by name, such as {"loss": [0.5]},', columns)
        steps = _array("step", step, np.dtype(np.int64))
        arrays = {name: _array(name, values, np.dtype(np.float64)) for name, values in columns.items()}
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
        self._step = self._grown(self._step, self._capacity)
        for name, column in self._columns.items():
            self._columns[name] = self._grown(column, self._capacity)

    def _grown(self, values: NDArray[_Number], rows: int) -> NDArray[_Number]:
        """Copy the rows so far into an array for `rows` rows; the others are 0 or NaN."""
        grown = np.empty((rows, *values.shape[1:]), values.dtype)
        grown[: self._length] = values[: self._length]
        grown[self._length :] = 0 if values.dtype.kind == "i" else np.nan
        return grown

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


def _wrong(argument: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{argument}: {wanted} is wanted, and not {safe_repr(value)}")


def _texts(argument: str, names: object) -> tuple[str, ...]:
    """Return names as a tuple.

    Raises:
        TypeError: they are not texts.
    """
    if isinstance(names, Iterable) and not isinstance(names, str | bytes | type | Mapping):
        texts = tuple(names)
        if all(isinstance(name, str) for name in texts):
            return texts
    raise _wrong(argument, 'a list of names, such as ["unet"],', names)


def _array(name: object, values: ArrayLike, dtype: np.dtype[_Number]) -> NDArray[_Number]:
    """Return a column as an array.

    Raises:
        TypeError: it is not a list of numbers.
    """
    try:
        array = np.asarray(values, dtype=dtype)
    except Exception as error:
        raise _wrong(str(name)[:LONGEST_NAME], "a list of numbers", values) from error
    if not array.ndim:
        raise _wrong(str(name)[:LONGEST_NAME], "a list of numbers", values)
    return array


def _check_record(record: StepRecord, groups: int) -> None:
    """Check that a record holds numbers, one for each group where there are several.

    Raises:
        TypeError: it does not.
    """
    metrics = {} if record.metrics is None else record.metrics
    if not isinstance(metrics, Mapping):
        raise _wrong("metrics", 'a dict of numbers by name, such as {"accuracy": 0.5},', metrics)
    if not isinstance(record.step, Integral) or isinstance(record.step, bool) or not 0 <= record.step < 2**63:
        raise _wrong("step", "a whole number", record.step)
    for name in (*GROUPED, *SINGLE, *metrics):
        value = metrics[name] if name in metrics else getattr(record, name)
        parts = value if isinstance(value, tuple) else (value,)
        if (isinstance(value, tuple) and len(parts) not in {1, groups}) or (
            name in GROUPED and not isinstance(value, tuple)
        ):
            raise _wrong(str(name)[:LONGEST_NAME], f"a tuple with a number for each of the {groups} groups", value)
        for part in parts:
            if part.__class__ is not float and part is not None and not _is_number(part):
                raise _wrong(str(name)[:LONGEST_NAME], "a number", part)


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]  # that is the question
    except Exception:  # noqa: BLE001  # an object of any package may raise anything
        return False
    return not isinstance(value, str | bytes)


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
