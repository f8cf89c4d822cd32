"""What is logged in a loop: to which step it belongs, and what happens to values that cannot be recorded."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
import torch

import diffopt_widgets as dw

NAN = np.nan


@pytest.fixture
def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)


def column(w, name="loss"):
    return w.history.column(name).tolist()


def test_logging_before_the_step_and_after_it_is_the_same(optimizer):
    with dw.watch(optimizer) as before:
        for i in range(3):
            before.log(loss=i)
            optimizer.step()
    with dw.watch(optimizer) as after:
        for i in range(3):
            optimizer.step()
            after.log(loss=i)
    assert column(before) == column(after) == [0, 1, 2]


@pytest.mark.parametrize("first", [0, 2])
def test_micro_batches_are_averaged_whether_they_begin_at_once_or_later(optimizer, first):
    with dw.watch(optimizer) as w:
        for step in range(4):
            if step >= first:
                for micro in range(4):
                    w.log(loss=torch.tensor(10.0 * step + micro))
            optimizer.step()
    expected = np.array([10.0 * step + 1.5 for step in range(4)])
    expected[:first] = NAN
    np.testing.assert_array_equal(w.history.column("loss"), expected)


def test_a_rare_value_belongs_to_the_step_just_taken(optimizer):
    with dw.watch(optimizer) as w:
        for step in range(1, 7):
            w.log(loss=step)
            optimizer.step()
            if step % 3 == 0:
                w.log({"val/loss": step / 10})
    assert column(w) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(w.history.column("val/loss"), [NAN, NAN, 0.3, NAN, NAN, 0.6])


def test_a_step_that_is_over_is_shown_before_the_next_one_ends(optimizer):
    with dw.watch(optimizer) as w:
        w.log(loss=1)
        optimizer.step()
        w._recorder._due = 0
        w.log(test=0.5)  # may be followed by others
        assert len(w._recorder.published) == 0
        w._recorder._due = 0
        w.log(loss=2)
        assert len(w._recorder.published) == 1
        w.log(late=0.25)
        optimizer.step()
    np.testing.assert_array_equal(w.history.column("test"), [0.5, NAN])
    np.testing.assert_array_equal(w.history.column("late"), [NAN, 0.25])


def test_a_record_that_is_read_meanwhile_is_whole(optimizer):
    with dw.watch(optimizer) as w:
        for step in range(1, 4):
            optimizer.step()
            w.log(loss=step)
            assert column(w) == list(range(1, step + 1))
    assert column(w) == [1, 2, 3]


def test_values_of_all_kinds(optimizer):
    with dw.watch(optimizer) as w:
        optimizer.step()
        w.log(a=1, b=np.float32(2.5), c=torch.tensor([[3.0]], requires_grad=True), d_=True, e=np.array([4.0]))
        w.log(f=torch.tensor(5, dtype=torch.int64), g=torch.tensor(0.1, dtype=torch.float64), h=float("nan"))
    assert [column(w, name) for name in "abcefg"] == [[1], [2.5], [3], [4], [5], [0.1]]
    assert column(w, "d_") == [1]
    assert "h" not in w.history.names()  # nothing but NaN is no column


def test_nan_is_a_value_like_others(optimizer):
    with dw.watch(optimizer) as w:
        for loss in (1.0, NAN, torch.tensor(NAN), 2.0):
            w.log(loss=loss)
            optimizer.step()
    np.testing.assert_array_equal(w.history.column("loss"), [1, NAN, NAN, 2])


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.ones(3), "a Tensor with 3 elements cannot be converted to Scalar"),
        (np.ones(2), r"an array of shape \(2,\) is not one number"),
        ([1.0], "a list is not a real number"),
        ("0.5", "a str is not a real number"),
        (None, "a NoneType is not a real number"),
        (1 + 2j, "a complex is not a real number"),
        (torch.ones(1, device="meta"), "meta"),
        (torch.tensor(1 + 2j), "a complex is not a real number"),
        (torch.ones(0), "a Tensor with 0 elements"),
    ],
)
def test_a_value_that_is_no_number_is_told_once_and_left_out(optimizer, value, told):
    with dw.watch(optimizer) as w, pytest.warns(UserWarning, match=f"'wrong' is not recorded: .*{told}") as seen:  # noqa: PT031
        for i in range(3):
            w.log(wrong=value, loss=i)
            optimizer.step()
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert w.history.names() == ("loss", "lr", "applied_lr", "seconds")
    assert column(w) == [0, 1, 2]


@pytest.mark.parametrize("name", ["lr", "d", "step", "seconds", "a[b]", "", "grad_norm"])
def test_a_name_that_is_taken_is_told_once_and_left_out(optimizer, name):
    with dw.watch(optimizer, measure="grad_norm") as w, pytest.warns(UserWarning, match="is not recorded") as seen:  # noqa: PT031
        for i in range(3):
            w.log({name: 0.5, "loss": i})
            optimizer.step()
    assert len(seen) == 1
    assert column(w) == [0, 1, 2]
    assert column(w, "lr") == [[0.1], [0.1], [0.1]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (torch.tensor(1.0), "a Tensor without a name is not recorded: log values by name, such as loss=loss"),
        ({7: 0.5}, "7 is not recorded: a name is a text, such as 'loss'"),
    ],
)
def test_a_value_without_a_name_is_told_once_and_left_out(optimizer, given, told):
    with dw.watch(optimizer) as w, pytest.warns(UserWarning, match=told) as seen:  # noqa: PT031
        for i in range(3):
            w.log(given, loss=i)
            optimizer.step()
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert column(w) == [0, 1, 2]


def test_known_columns_may_be_logged_where_they_are_not_measured(optimizer):
    with dw.watch(optimizer) as w:
        optimizer.step()
        w.log(grad_norm=torch.tensor(2.0), eval_loss=0.5)
    assert column(w, "grad_norm") == [2]
    assert column(w, "eval_loss") == [0.5]


def test_warnings_made_errors_do_not_end_the_training(optimizer, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING), dw.watch(optimizer) as w:
        warnings.simplefilter("error")
        w.log(loss=[1.0])
        optimizer.step()
    assert "'loss' is not recorded: a list is not a real number" in caplog.text
    assert len(w.history) == 1


def test_many_values_without_a_step_are_told_once_and_do_not_grow(optimizer):
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    with (  # noqa: PT031
        dw.watch(other) as w,
        pytest.warns(UserWarning, match="is the watched SGD the optimizer that this loop") as seen,
    ):
        for i in range(3000):
            w.log(loss=float(i))
            optimizer.step()
    assert len(seen) == 1
    assert len(w._recorder._logged._next["loss"]) == 1000
