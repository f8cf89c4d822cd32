"""Rows: steps that are not published yet, and their conversion to columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from diffopt_widgets.training.numbers_of import numbers
from diffopt_widgets.watching.columns import Columns
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


def skipped(rows: list[Row]) -> list[bool]:
    """Return which steps were skipped; for fused steps under GradScaler this waits for the device."""
    if all(row.found_inf is None for row in rows):
        return [False] * len(rows)
    return (numbers([row.found_inf for row in rows]) > 0).tolist()  # type: ignore[no-any-return]  # an array of bool


def without_skipped(rows: list[Row], skips: list[bool], carried: dict[str, Cell]) -> tuple[list[Row], dict[str, Cell]]:
    """Drop the steps that were skipped; the values logged for a skipped step go to the next one.

    Args:
        rows: the steps.
        skips: which of them were skipped.
        carried: values of skipped steps before them.

    Returns:
        the steps that moved the weights, and the values logged for skipped steps at the end, with no step after them.
    """
    taken: list[Row] = []
    for row, skip in zip(rows, skips, strict=True):
        logged = merge(carried, row.logged) if carried else row.logged
        if skip:
            carried = logged
        else:
            taken.append(row._replace(logged=logged))
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
