"""What is kept of each step until it is published, and how that becomes columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from diffopt_widgets.watching.columns import Columns, numbers
from diffopt_widgets.watching.logged_values import merged

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.rates.base import Rates
    from diffopt_widgets.records import Grouped
    from diffopt_widgets.training.measures import Measured
    from diffopt_widgets.watching.columns import Cell


class Row(NamedTuple):
    """One step; a plain tuple in memory. Its tensors may still be on their device."""

    seconds: float
    lr: Rates
    applied: Rates
    d: float | tuple[float, ...] | None
    d_hat: Grouped | None
    found_inf: torch.Tensor | None
    """Of a fused step under GradScaler, which is skipped on the device where this is not zero."""
    measured: Measured
    notes: dict[str, Cell]


def without_skipped(rows: list[Row]) -> tuple[list[Row], dict[str, Cell]]:
    """The steps that moved the weights. What was logged for one that was skipped goes to the next.

    Returns:
        the steps, and what was logged for a skipped one with no other after it.
    """
    if all(row.found_inf is None for row in rows):
        return rows, {}
    skipped = numbers([row.found_inf for row in rows]) > 0
    left: list[Row] = []
    carried: dict[str, Cell] = {}
    for row, skip in zip(rows, skipped.tolist(), strict=True):
        carried = merged(carried, row.notes)
        if not skip:
            left.append(row._replace(notes=carried))
            carried = {}
    return left, carried


def table(rows: list[Row], groups: int, measures: Iterable[str]) -> Columns:
    """The steps by column, one value of a rate for each of so many groups."""
    columns = Columns()
    columns.put("seconds", [row.seconds for row in rows])
    columns.put("lr", [_of_groups(row.lr, groups) for row in rows])
    columns.put("applied_lr", [_of_groups(row.applied, groups) for row in rows])
    columns.put("d", [_of_groups(row.d, groups) for row in rows])
    columns.put("d_hat", [_of_groups(row.d_hat, groups) for row in rows])
    for name in measures:
        columns.put(name, [_of_groups(row.measured.get(name), groups) for row in rows])
    for name in dict.fromkeys(name for row in rows for name in row.notes):
        columns.put(name, [row.notes.get(name) for row in rows])
    return columns


def _of_groups(cell: Cell, groups: int) -> Cell:
    """A cell that has one value for each group, with nothing for groups that there were not at the step."""
    if cell.__class__ is not tuple or len(cell) == groups:
        return cell
    return (*cell[:groups], *(None,) * (groups - len(cell)))
