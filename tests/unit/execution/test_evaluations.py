"""The evaluation loss on the way: at which steps, and that training does not notice."""

import math

import numpy as np
import pytest
import torch
from own_tasks import LINE

import diffopt_widgets as dw
from diffopt_widgets.execution import driver
from diffopt_widgets.execution.driver import drive, evaluation_points, resume, run_to_end
from diffopt_widgets.runs.run import Run
from diffopt_widgets.tasks import task_key
from diffopt_widgets.training.loop import Training


@pytest.fixture
def every_two_steps(monkeypatch):
    monkeypatch.setattr(driver, "EVALUATION_STEPS", 2)
    monkeypatch.setattr(driver, "EVALUATION_COST", math.inf)
    evaluation_points.cache_clear()
    yield
    evaluation_points.cache_clear()


def carried_out(key="ADAMW", task="swiss_roll", steps=8, **options):
    run = run_to_end(Run(dw.RunPlan(dw.Settings(key, **options), task, steps)), progress=False)
    assert run.status == "done", run.message
    return run


def told(run):
    """Steps of the history that have an evaluation loss."""
    return run.history.step[np.isfinite(run.history.column("eval_loss"))].tolist()


@pytest.mark.parametrize("steps", [1, 99, 100, 149, 300, 499, 500, 100_000])
def test_points_are_spread_over_the_run_and_few(steps):
    points = evaluation_points(steps)
    assert points == tuple(sorted(set(points)))
    assert len(points) <= 10
    assert (len(points) >= 5) == (steps >= 250)
    if points:
        assert points[-1] == steps
        assert min(np.diff([0, *points])) >= 50


@pytest.mark.parametrize(
    ("key", "task", "options"),
    [
        ("PRODIGY", "swiss_roll", {}),
        ("SCHEDULE_FREE_ADAMW", "swiss_roll", {}),
        pytest.param("PRODIGY_PLUS_SCHEDULE_FREE", "swiss_roll", {}, marks=pytest.mark.slow),
        pytest.param("ADAMW", "digits", {"stochastic_rounding": True}, marks=pytest.mark.slow),
        pytest.param("ADAMW_8BIT", "digits", {}, marks=pytest.mark.slow),
    ],
)
def test_evaluations_change_nothing(key, task, options, request):
    torch.manual_seed(3)
    state, legacy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    plain = carried_out(key, task, **options)
    request.getfixturevalue("every_two_steps")
    watched = carried_out(key, task, **options)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert "eval_loss" not in plain.history.names()
    assert told(watched) == [2, 4, 6, 8]
    for name in set(plain.history.names()) - {"seconds"}:
        np.testing.assert_array_equal(plain.history.column(name), watched.history.column(name))
    assert (plain.eval_before, plain.eval_after) == (watched.eval_before, watched.eval_after)


@pytest.mark.usefixtures("every_two_steps")
def test_the_last_one_is_the_runs_evaluation_loss_and_is_not_computed_twice(monkeypatch):
    count = 0
    evaluate = Training.evaluate

    def counted(training):
        nonlocal count
        count += 1
        return evaluate(training)

    monkeypatch.setattr(Training, "evaluate", counted)
    run = carried_out()
    assert run.eval_after == run.history.column("eval_loss")[-1]
    assert count == 1 + 4  # before the first step, and after every second one


@pytest.mark.usefixtures("every_two_steps")
def test_a_stopped_run_has_them_as_one_that_went_through():
    whole, stopped = carried_out(), Run(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 8))
    steps = drive(stopped)
    for _ in range(4):
        next(steps)
    steps.close()
    assert stopped.eval_after is not None
    resume(stopped, progress=False)
    np.testing.assert_array_equal(whole.history.column("eval_loss"), stopped.history.column("eval_loss"))
    assert whole.eval_after == stopped.eval_after


@pytest.mark.usefixtures("every_two_steps")
def test_an_interrupt_in_an_evaluation_loses_no_step(monkeypatch):
    evaluate = Training.evaluate

    def interrupted(training):
        if training.taken == 4:
            raise KeyboardInterrupt
        return evaluate(training)

    run = Run(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 8))
    with monkeypatch.context() as patch:
        patch.setattr(Training, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            for _ in drive(run):
                pass
    assert run.history.step.tolist() == [1, 2, 3, 4]
    resume(run, progress=False)
    assert run.history.step.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert told(run) == [2, 6, 8]


def test_one_of_a_task_of_ones_own_that_takes_long_beside_the_run_is_left_out(every_two_steps, monkeypatch):
    monkeypatch.setattr("diffopt_widgets.tasks.registry._OWN", {})
    monkeypatch.setattr(driver, "EVALUATION_COST", 0.0)
    run = carried_out(task=task_key(LINE))
    assert told(run) == [8]  # which is computed anyway


def test_the_records_of_the_benchs_tasks_do_not_depend_on_the_clock(every_two_steps, monkeypatch):
    monkeypatch.setattr(driver, "EVALUATION_COST", 0.0)
    assert told(carried_out()) == [2, 4, 6, 8]
