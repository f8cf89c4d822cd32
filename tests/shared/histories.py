"""Histories for plots, and a name that must never be taken for markup."""

from __future__ import annotations

from diffopt_widgets.records import History, StepRecord

NASTY = '<img src=x onerror="alert(1)"></script><b>&amp;'


def append(history: History, count: int, **values: float | None) -> None:
    """Add records of a run whose loss is the step and whose groups agree."""
    groups = len(history.groups)
    first = len(history) + 1
    records = [
        StepRecord(s, 0.1 * s, float(s), (0.5,) * groups, (1e-3,) * groups, **values)
        for s in range(first, first + count)
    ]
    history.extend(records)
