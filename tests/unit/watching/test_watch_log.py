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


def test_a_step_is_shown_when_the_next_one_has_ended_and_values_until_then_are_its_own(optimizer):
    with dw.watch(optimizer) as w:
        w.log(loss=1)
        optimizer.step()
        for values in ({"fid": 0.5}, {"loss": 2}, {"late": 0.25}, {"val/loss": 0.75}):
            w._recorder._due = 0
            w.log(values)
            assert len(w._recorder.published) == 0
        w._recorder._due = 0
        optimizer.step()
        assert len(w._recorder.published) == 1
    np.testing.assert_array_equal(w.history.column("fid"), [0.5, NAN])
    np.testing.assert_array_equal(w.history.column("late"), [NAN, 0.25])  # after a value of the next step
    np.testing.assert_array_equal(w.history.column("val/loss"), [0.75, NAN])


@pytest.mark.parametrize("name", ["val/loss", "fid", "validation", "top1 accuracy"])
@pytest.mark.parametrize("every", [2, 5])
def test_a_value_from_before_the_first_step_moves_no_later_one(optimizer, name, every):
    with dw.watch(optimizer) as w:
        w.log({name: 9.0})
        for step in range(1, 11):
            w.log(loss=step)
            optimizer.step()
            if step % every == 0:
                w.log({name: step / 10})
    assert column(w) == list(range(1, 11))
    expected = {step: step / 10 for step in range(every, 11, every)} | {1: 9.0}
    values = w.history.column(name)
    assert dict(zip(w.history.step[~np.isnan(values)].tolist(), values[~np.isnan(values)].tolist(), strict=True)) == (
        expected
    )


def test_an_evaluation_before_the_first_step_and_after_each_one(optimizer, tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    with dw.watch(optimizer, store=store) as w:
        w.log({"val/loss": 9.0})
        for step in range(1, 4):
            w.log(loss=step)
            optimizer.step()
            w.log({"val/loss": step / 10})
    assert column(w, "val/loss") == [0.1, 0.2, 0.3]
    assert w.before_first_step == store.list()[0].about["before_first_step"] == {"val/loss": 9.0}


@pytest.mark.parametrize("names", [("loss", "accuracy"), ("accuracy", "loss")])
def test_the_values_of_one_call_belong_to_one_step(optimizer, names):
    with dw.watch(optimizer) as before:
        for step in range(1, 7):
            before.log({name: step for name in names if name == "loss" or step % 3 == 0})
            optimizer.step()
    np.testing.assert_array_equal(before.history.column("accuracy"), [NAN, NAN, 3, NAN, NAN, 6])
    with dw.watch(optimizer) as after:
        after.log(accuracy=9)
        for step in range(1, 4):
            optimizer.step()
            after.log(dict.fromkeys(names, step))
    assert column(after) == column(after, "accuracy") == [1, 2, 3]
    assert after.before_first_step == {"accuracy": 9}


@pytest.mark.parametrize("micro", [1, 3])
def test_values_of_a_step_that_never_came_go_to_the_last_one(optimizer, micro):
    with dw.watch(optimizer) as w:
        for step in range(3):
            for part in range(micro):
                w.log(loss=10 * step + part, rate=0.5)
            if step < 2:
                optimizer.step()
        w.log(final=1.0)
    last = np.mean([10 * step + part for step in (1, 2) for part in range(micro)])
    assert column(w) == [(micro - 1) / 2, last]
    np.testing.assert_array_equal(w.history.column("final"), [NAN, 1])


def test_a_value_of_a_skipped_step_that_is_logged_after_it_moves_no_other(optimizer):
    """A GradScaler does not call the optimizer's step when the gradients are infinite."""
    with dw.watch(optimizer) as w:
        for i in range(6):
            if i != 3:
                optimizer.step()
            w.log(loss=i)
    assert column(w) == [0, 1, 2.5, 4, 5]


def test_a_loop_that_knows_the_step_says_it(optimizer):
    with dw.watch(optimizer) as w:
        for step in range(3):
            w.log_at("next", {"loss": step})
            optimizer.step()
            for part in range(3):
                w.log_at("last", {"accuracy": step + part})
    assert column(w) == [0, 1, 2]
    assert column(w, "accuracy") == [1, 2, 3]
    with pytest.raises(ValueError, match=r'step is 3; it must be "last"'):
        w.log_at(3, {"loss": 1})


@pytest.mark.slow
@pytest.mark.parametrize("read", ["history", "to_frame", "figure"])
def test_reading_the_record_changes_nothing(optimizer, read):
    with dw.watch(optimizer) as w:
        for step in range(4):
            optimizer.step()
            getattr(w, read) if read == "history" else getattr(w, read)()
            assert w.history.step.tolist() == list(range(1, step + 2))
            w.log(loss=step)
    assert column(w) == [0, 1, 2, 3]


def test_a_record_that_is_read_meanwhile_is_whole(optimizer):
    with dw.watch(optimizer) as w:
        for step in range(1, 4):
            optimizer.step()
            w.log(loss=step)
            assert column(w) == list(range(1, step + 1))
    assert column(w) == [1, 2, 3]


def test_a_record_is_copied_once_for_all_reads_until_something_new_is_recorded(optimizer):
    with dw.watch(optimizer) as w:
        for step in range(1, 600):  # more than a history has room for at first
            optimizer.step()
            if step % 100 == 0:
                before = w.history
                assert w.history is before
                w.log(loss=step)
                assert w.history is not before
                assert (len(before), len(w.history)) == (step, step)
                assert np.isnan(before.column("loss")[-1]) if step > 100 else "loss" not in before.names()
                assert column(w)[-1] == step
    assert len(w.history) == 599
    assert w.history.step.tolist() == list(range(1, 600))


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


def test_values_without_a_step_are_told_early_and_kept_by_call(optimizer, tmp_path):
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    store = dw.RunStore(tmp_path / "runs.sqlite")
    with pytest.warns(UserWarning, match="without a step") as seen:  # noqa: PT031
        w = dw.watch(other, store=store)
        for i in range(200):
            w.log(loss=torch.tensor(float(i)), accuracy=i / 200)
            optimizer.step()
            if i == 60:
                assert len(seen) == 1
        w.close()
    early, late = (str(warning.message) for warning in seen)
    assert "is the watched SGD the optimizer that this loop steps?" in early
    assert "has seen no step of its SGD. 200 values were logged without a step. They are kept by call" in late
    (kept,) = store.list()
    for history in (w.history, store.load(kept.id).history):
        assert history.names() == ("loss", "accuracy")
        np.testing.assert_array_equal(history.column("loss"), np.arange(200.0))
        np.testing.assert_array_equal(history.column("accuracy"), np.arange(200) / 200)
    assert "200 values were logged without a step" in kept.message
    assert repr(w) == "<Watcher 'SGD': done, 0 steps>"


def test_an_optimizer_that_holds_the_one_that_is_stepped_is_named():
    class SAM(torch.optim.Optimizer):
        """As SAM is published: the loop calls first_step and second_step, which steps the base optimizer."""

        def __init__(self, params):
            super().__init__(params, {})
            self.base_optimizer = torch.optim.SGD(self.param_groups, lr=0.1)

        def second_step(self):
            self.base_optimizer.step()

    optimizer = SAM([torch.nn.Parameter(torch.ones(3))])
    with pytest.warns(UserWarning, match="without a step") as seen, dw.watch(optimizer) as w:  # noqa: PT031
        for i in range(100):
            w.log(loss=i)
            optimizer.second_step()
    assert "dw.watch(optimizer.base_optimizer)" in str(seen[0].message)
    assert column(w) == list(range(100))
    with dw.watch(optimizer.base_optimizer) as w:
        for i in range(3):
            w.log(loss=i)
            optimizer.second_step()
    assert column(w) == [0, 1, 2]


def test_an_optimizer_made_anew_in_mid_run_leaves_no_wrong_step(optimizer):
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    with pytest.warns(UserWarning, match="without a step"), dw.watch(optimizer) as w:  # noqa: PT031
        for i in range(120):
            w.log(loss=i)
            (optimizer if i < 20 else other).step()
    assert column(w) == list(range(120))
    assert np.isnan(w.history.column("applied_lr")[:, 0]).tolist() == [False] * 20 + [True] * 100


def test_many_batches_of_one_step_are_averaged_without_a_word(optimizer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dw.watch(optimizer) as w:
            for step in range(2):
                for i in range(40):
                    w.log(loss=step + i)
                optimizer.step()
                for i in range(1500):
                    w.log({"val/loss": torch.tensor(step + i)})
    assert column(w) == [19.5, 20.5]
    assert column(w, "val/loss") == [749.5, 750.5]


def test_all_values_from_before_the_first_step_are_kept_when_a_later_call_moves_them():
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=0.1)
    w = dw.watch(optimizer)
    w.log(accuracy=1.0)
    w.log_at("last", {"accuracy": 2.0})
    p.grad = torch.ones(2)
    optimizer.step()
    w.log_at("last", {"accuracy": 3.0})
    w.log(loss=4.0, accuracy=5.0)
    w.close()
    assert w.before_first_step == {"accuracy": 2.0}  # the mean of 1, 2 and 3
    assert w.history.column("accuracy").tolist() == [5.0]
