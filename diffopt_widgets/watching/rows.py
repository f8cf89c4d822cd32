"""Rows: steps that are not published yet, and their conversion to columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from diffopt_widgets.watching.columns import Columns, numbers
from diffopt_widgets.watching.logged_values import merge

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.rates.base import Rates
    from diffopt_widgets.records import Grouped
    from diffopt_widgets.training.measures import Measured
    from diffopt_widgets.watching.columns import Cell


class Row(NamedTuple):
    """One step, as a plain tuple. Its tensors may still be on their device."""

    seconds: float
    lr: Rates
    applied: Rates
    d: float | tuple[float, ...] | None
    d_hat: Grouped | None
    found_inf: torch.Tensor | None
    """Flag of a fused step under GradScaler: the device skips the step if it is not zero."""
    measured: Measured
    logged: dict[str, Cell]


def without_skipped(rows: list[Row]) -> tuple[list[Row], dict[str, Cell]]:
    """Drop the steps that were skipped; the values logged for a skipped step go to the next one.

    Returns:
        the steps that moved the weights, and the values logged for skipped steps at the end, with no step after them.
    """
    if all(row.found_inf is None for row in rows):
        return rows, {}
    skipped = numbers([row.found_inf for row in rows]) > 0
    taken: list[Row] = []
    carried: dict[str, Cell] = {}
    for row, skip in zip(rows, skipped.tolist(), strict=True):
        carried = merge(carried, row.logged)
        if not skip:
            taken.append(row._replace(logged=carried))
            carried = {}
    return taken, carried


def table(rows: list[Row], groups: int, measures: Iterable[str]) -> Columns:
    """Arrange the steps by column; a rate has one value for each parameter group."""
    columns = Columns()
    columns.put("seconds", [row.seconds for row in rows])
    columns.put("lr", [_of_groups(row.lr, groups) for row in rows])
    columns.put("applied_lr", [_of_groups(row.applied, groups) for row in rows])
    columns.put("d", [_of_groups(row.d, groups) for row in rows])
    columns.put("d_hat", [_of_groups(row.d_hat, groups) for row in rows])
    for name in measures:
        columns.put(name, [_of_groups(row.measured.get(name), groups) for row in rows])
    for name in dict.fromkeys(name for row in rows for name in row.logged):
        columns.put(name, [row.logged.get(name) for row in rows])
    return columns


def _of_groups(cell: Cell, groups: int) -> Cell:
    """Fit a cell to this number of groups: None for a group that did not exist at the step."""
    if cell.__class__ is not tuple or len(cell) == groups:
        return cell
    return (*cell[:groups], *(None,) * (groups - len(cell)))
