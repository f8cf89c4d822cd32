"""Every order of steps and logged values: nothing is lost, doubled or moved, and reading or showing changes nothing."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.training.numbers_of import numbers
from diffopt_widgets.watching.logged_values import LoggedValues, as_list

NAMES = ("loss", "val/loss", "fid", "speed")
STEP, READ, PUBLISH, GROUP, SKIPPED = "step", "read", "publish", "group", "skipped step"
LOGS = st.sets(st.sampled_from(NAMES), min_size=1).map(lambda names: tuple(sorted(names)))
ORDERS = st.lists(st.one_of(LOGS, st.just(STEP), st.sampled_from([STEP, READ, PUBLISH, GROUP, SKIPPED])), max_size=40)


def assigned(order):
    """Assign the values of an order, numbered from 0; return their intervals, and each name's values of each step."""
    logged, rows, intervals = LoggedValues(), [], []
    for what in order:
        if what == STEP:
            rows.append(logged.close_step())
        elif isinstance(what, tuple):
            where = logged.where(what)
            for name in what:
                logged.put(name, len(intervals), None if name == "val/loss" else where)
                intervals.append((name, len(rows)))
    by_call = logged.close()
    return intervals, [{n: as_list(cell) for n, cell in row.items()} for row in [logged.before, *rows, by_call]]


@pytest.mark.slow
@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(ORDERS)
@hypothesis.example([("loss",), STEP, ("loss",), ("fid",), STEP, ("fid",), ("fid",), STEP])
@hypothesis.example([STEP, ("fid",), ("fid",), STEP, STEP, ("fid",), STEP, ("fid",)])
@hypothesis.example([("fid",), STEP, ("fid", "speed"), STEP, ("fid", "speed"), STEP, ("fid",), ("fid",)])
@hypothesis.example([("fid",), ("speed",), STEP, ("loss", "speed"), STEP, ("fid", "loss"), STEP, ("loss",)])
@hypothesis.example([("fid",), STEP, ("fid", "loss"), ("fid", "loss"), STEP])
def test_each_value_stands_once_at_the_step_before_it_or_after_it(order):
    intervals, rows = assigned(order)
    steps = len(rows) - 2
    places = {}
    for place, row in enumerate(rows):
        for name, values in row.items():
            for value in values:
                assert value not in places
                assert intervals[value][0] == name
                places[value] = place
    assert sorted(places) == list(range(len(intervals)))
    for value, (name, interval) in enumerate(intervals):
        if steps == 0:
            assert places[value] == 1  # by call
        elif places[value] == 0:  # the first step has a value of its own
            assert interval == 0
            assert any(other == (name, 1) and places[place] == 1 for place, other in enumerate(intervals))
        elif name == "val/loss":
            assert places[value] == max(1, interval)
        else:
            assert places[value] in {min(interval, steps), min(interval + 1, steps)} - {0}


@pytest.mark.slow
@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=12))
def test_a_loop_that_logs_after_its_steps_has_each_value_at_its_step(after):
    order = [part for names in after for part in (STEP, *((name,) for name in sorted(names)))]
    intervals, rows = assigned(order)
    for value, (name, interval) in enumerate(intervals):
        assert rows[interval][name] == [value]


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    st.sets(st.sampled_from(["loss", "fid", "speed"]), min_size=1),
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=10),
)
def test_a_loop_that_logs_before_its_steps_has_each_value_at_its_step_and_each_evaluation_after_it(names, steps):
    order = []
    for micro, evaluates in steps:
        order += [tuple(sorted(names))] * micro + [STEP] + [("val/loss",)] * evaluates
    intervals, rows = assigned(order)
    for value, (name, interval) in enumerate(intervals):
        assert value in rows[interval + (name != "val/loss")][name]


def recorded(order, without=()):
    """Record an order with a real optimizer, without some of its parts."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, fused=True)
    count = 0
    with dw.watch(optimizer, start=10) as w:
        for what in order:
            if isinstance(what, tuple):
                w.log({name: float(count + place) for place, name in enumerate(what)})
                count += len(what)
            elif what in without:
                continue
            elif what == READ:
                assert len(w.history) <= w._recorder.steps - 10
            elif what == PUBLISH:
                w._recorder.publish()
            elif what == GROUP:
                optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
            else:
                optimizer.found_inf = torch.tensor(float(what == SKIPPED))
                optimizer.step()
    return w


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # values without a step are told of
@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(ORDERS)
def test_reading_and_showing_change_nothing(order):
    w, calm = recorded(order), recorded(order, without={READ, PUBLISH})
    assert (w.history.names(), w.before_first_step) == (calm.history.names(), calm.before_first_step)
    np.testing.assert_array_equal(w.history.step, calm.history.step)
    for name in set(w.history.names()) - {"seconds"}:
        np.testing.assert_array_equal(w.history.column(name), calm.history.column(name))


@pytest.mark.filterwarnings("ignore")  # as above
@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(ORDERS)
def test_the_record_has_the_means_of_the_values_of_each_step(order):
    w = recorded(order, without={SKIPPED})
    _, (before, *rows, by_call) = assigned(order)
    steps = len(rows)
    assert (w.history.step - 10).tolist() == list(range(1, steps + w._recorder.by_call + 1))
    assert w.before_first_step == {name: np.mean(values) for name, values in before.items()}
    for name in NAMES:
        expected = [np.mean(row[name]) if name in row else math.nan for row in rows]
        expected += by_call.get(name, [])
        if np.isfinite(expected).any():
            found = w.history.column(name)
            np.testing.assert_array_equal(found, expected + [math.nan] * (len(found) - len(expected)))


def test_whole_numbers_keep_their_digits():
    large = [2**24 + 1, 2**31 + 1, 2**53 - 1]
    tensors = [torch.tensor(value) for value in large]
    mixed = [
        *tensors,
        torch.tensor(0.25),
        torch.tensor(0.1, dtype=torch.float64),
        torch.tensor(2**24 + 1, dtype=torch.int32),
    ]
    assert numbers(mixed).tolist() == [*large, 0.25, 0.1, 2**24 + 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only some systems fork")
def test_a_forked_process_records_nothing_and_ends_nothing(tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    w = dw.watch(optimizer, store=tmp_path / "runs.sqlite")
    for step in range(3):
        optimizer.step()
        w.log(loss=step)
    w._recorder.publish()

    def child():
        for _ in range(100):
            optimizer.step()
            w.log(loss=7)
            w._recorder._due = 0
        w.close()
        sys.exit(len(w.history))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 2  # of the three steps, the last was not shown yet
    (running,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (running.status, running.steps) == ("running", 2)
    optimizer.step()
    w.log(loss=3)
    w.close()
    (kept,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (kept.status, kept.steps) == ("done", 4)
    assert w.history.column("loss").tolist() == [0, 1, 2, 3]
