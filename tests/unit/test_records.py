"""History: rows and columns, own metrics, and what a step weighs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from diffopt_widgets.records import History, StepRecord, check_metric


def record(step: int, **values: object) -> StepRecord:
    return StepRecord(step, 0.5 * step, 1.0 / step, (0.1, 0.2), (0.1, 0.2), **values)


def test_a_metric_that_comes_late_has_no_value_before() -> None:
    history = History(("a", "b"))
    history.extend([record(1), record(2, metrics={"ssim": 0.5}), record(3)])
    assert history.names() == ("loss", "lr", "applied_lr", "seconds", "ssim")
    np.testing.assert_array_equal(history.column("ssim"), [np.nan, 0.5, np.nan])


def test_a_metric_may_have_a_value_per_group() -> None:
    history = History(("a", "b"))
    history.extend([record(1, metrics={"ratio": (1e-3, 2e-3)})])
    assert history.to_columns()["ratio[b]"].tolist() == [2e-3]


def test_columns_put_in_at_once_are_those_of_records_put_in_one_by_one() -> None:
    one, other = History(("a", "b")), History(("a", "b"))
    one.extend(record(step, d=1e-3 * step) for step in range(1, 1001))
    other.extend_columns(one.step[:300], {name: one.column(name)[:300] for name in one.names()})
    other.extend_columns(one.step[300:], {name: one.column(name)[300:] for name in one.names()})
    assert other.names() == one.names()
    for name, values in one.to_columns().items():
        np.testing.assert_array_equal(other.to_columns()[name], values)


def test_a_history_made_of_columns_has_them_all_in_their_order() -> None:
    columns = {"late": [np.nan, np.nan], "mine": [1.0, 2.0], "loss": [np.nan, np.nan]}
    history = History.from_columns(("a",), [1, 2], columns)
    assert history.names() == ("loss", "late", "mine")
    assert np.isnan(history.column("late")).all()
    history.extend_columns([3], {"late": [3.0]})
    np.testing.assert_array_equal(history.column("late"), [np.nan, np.nan, 3.0])
    np.testing.assert_array_equal(history.column("mine"), [1.0, 2.0, np.nan])


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"loss": [1.0]}, "loss has shape"),
        ({"lr": [[1.0], [1.0]]}, "lr has shape"),
        ({"d": [[1.0, 1.0], [1.0, 1.0]], "step": [1.0, 2.0]}, "'step'"),
        ({"seconds": [[1.0, 1.0], [1.0, 1.0]]}, "its rows so far"),
    ],
)
def test_columns_that_do_not_fit_are_refused_whole(columns: dict[str, list[float]], told: str) -> None:
    history = History(("a", "b"))
    history.extend([record(1)])
    with pytest.raises(ValueError, match=told):
        history.extend_columns([2, 3], columns)
    assert len(history) == 1


@pytest.mark.parametrize("name", ["", "  ", "lr", "step", "a[b]", "x" * 101, "two\nlines"])
def test_names_that_a_metric_cannot_have(name: str) -> None:
    with pytest.raises(ValueError, match="a metric cannot be named"):
        check_metric(name)


def test_a_step_of_eight_columns_weighs_under_100_bytes() -> None:
    rows, block = 200_000, 1_000
    names = ("loss", "d", "d_hat", "grad_norm", "update_rms", "weight_norm", "seconds", "mine")
    values = dict.fromkeys(names, np.ones(block))
    tracemalloc.start()
    history = History(("all",))
    for start in range(0, rows, block):
        history.extend_columns(np.arange(start, start + block), values)
        if start > rows / 2:
            assert tracemalloc.get_traced_memory()[0] < 100 * len(history)
    tracemalloc.stop()
