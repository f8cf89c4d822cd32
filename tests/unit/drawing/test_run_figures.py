"""The figures that a run tells: best loss, plateau, state memory, and samples on the way."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.execution import driver
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.optimizers.factory import build_optimizer
from diffopt_widgets.records import StepRecord
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.state_size.measured import state_bytes

LOSSES = st.lists(st.one_of(st.floats(0, 1e30), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=130)


def told(losses, rates=None):
    """A run with this history; `rates` has one tuple per step."""
    groups = len(rates[0]) if rates else 1
    run = Run(RunPlan(dw.Settings("ADAMW"), steps=max(1, len(losses))))
    run.set_up("cpu", [f"group {i}" for i in range(groups)])
    rows = zip(losses, rates or [(0.1,)] * len(losses), strict=True)
    run.history.extend(StepRecord(i + 1, 0.1 * (i + 1), loss, rate, rate) for i, (loss, rate) in enumerate(rows))
    return run


@pytest.mark.slow
@given(LOSSES)
def test_the_best_loss_is_the_lowest_mean_over_a_stretch_as_long_as_the_final_one(losses):
    run, width = told(losses), max(1, len(losses) // 20)
    means = [np.mean(losses[i : i + width]) for i in range(len(losses) - width + 1)]
    finite = [mean for mean in means if math.isfinite(mean)]
    if math.isfinite(run.final_loss):
        assert run.best_loss <= run.final_loss
    if finite:
        assert run.best_loss == pytest.approx(min(finite), rel=1e-12)
    else:
        assert not math.isfinite(run.best_loss)


def test_before_the_first_step_nothing_is_told():
    run = told([])
    assert (run.best_loss, run.final_loss, run.applied_plateau, run.state_bytes) == (None, None, None, None)
    run = Run(RunPlan(dw.Settings("ADAMW")))
    assert (run.best_loss, run.applied_plateau, run.samples_before, run.samples_after) == (None, None, None, None)


def test_the_plateau_is_what_was_held_and_neither_a_spike_nor_the_end():
    rates = [(1e-6, 0.0)] * 10 + [(9.0, 0.0)] + [(5e-3, 1e-3)] * 60 + [(5e-3 * (1 - i / 29), 0.0) for i in range(29)]
    assert told([1.0] * 100, rates).applied_plateau == pytest.approx(5e-3)


def test_the_plateau_leaves_out_steps_without_a_rate():
    nan = math.nan
    assert told([1.0] * 3, [(nan, nan), (nan, 0.25), (0.25, 0.1)]).applied_plateau == 0.25
    assert told([1.0], [(nan, nan)]).applied_plateau is None
    sgd = dw.train(dw.Settings("DADAPT_SGD"), task="swiss_roll", steps=1, progress=False)
    assert sgd.applied_plateau is not None  # its norm is known after the first step


@pytest.mark.parametrize(
    ("key", "per_weight"), [("SGD", 0), ("ADAMW", 8), ("PRODIGY", 16), ("DADAPT_ADAN", 20), ("ADAMW_8BIT", 2)]
)
def test_the_state_of_a_real_optimizer_is_counted(key, per_weight):
    weights = torch.nn.Parameter(torch.ones(1 << 16))
    optimizer = build_optimizer(dw.Settings(key, lr=1e-3), [weights])
    assert state_bytes(optimizer) == 0
    weights.square().sum().backward()
    optimizer.step()
    # beside the moments: absolute maxima of the blocks and two tables of 256 values, or a counter
    assert per_weight * weights.numel() <= state_bytes(optimizer) <= (per_weight * 1.06 + 0.05) * weights.numel()


def test_a_storage_that_is_shared_counts_once():
    weights = [torch.nn.Parameter(torch.ones(8192)) for _ in range(3)]
    optimizer = build_optimizer(dw.Settings("ADAMW_8BIT", lr=1e-3), weights)
    sum(p.sum() for p in weights).backward()
    optimizer.step()
    tables = [optimizer.state[p][name] for p in weights for name in ("qmap1", "qmap2")]
    own = sum(
        value.nbytes
        for p in weights
        for name, value in optimizer.state[p].items()
        if isinstance(value, torch.Tensor) and not name.startswith("qmap")
    )
    assert state_bytes(optimizer) == own + sum({table.data_ptr(): table.nbytes for table in tables}.values())
    assert state_bytes(optimizer) < own + sum(table.nbytes for table in tables)


@pytest.mark.slow
def test_a_run_measures_the_state_of_its_own_optimizer():
    wide, narrow = (
        dw.train(dw.Settings(key, lr=1e-3), task="swiss_roll", steps=2, progress=False)
        for key in ("ADAMW", "ADAMW_8BIT")
    )
    assert wide.state_bytes > 8 * 41_922  # every weight of the task
    assert narrow.state_bytes < 0.5 * wide.state_bytes


def pictured(monkeypatch, cost, settings, task="swiss_roll", steps=20, accumulation=1):
    monkeypatch.setattr(driver, "SAMPLING_COST", cost)
    run = run_to_end(Run(RunPlan(settings, task, steps, accumulation=accumulation)), progress=False)
    assert run.status == "done", run.trace
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("task", "key"), [("swiss_roll", "PRODIGY"), ("digits", "ADAMW_8BIT")])
def test_samples_on_the_way_change_nothing(task, key, monkeypatch):
    settings = dw.Settings(key) if key == "PRODIGY" else dw.Settings(key, lr=1e-3)
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    plain, with_samples = (pictured(monkeypatch, cost, settings, task, steps=8) for cost in (0.0, math.inf))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert sorted(plain.samples) == [0, 8]
    assert sorted(with_samples.samples) == [0, 2, 4, 6, 8]
    for name in plain.history.names():
        if name != "seconds":
            np.testing.assert_array_equal(plain.history.column(name), with_samples.history.column(name))
    assert plain.eval_after == with_samples.eval_after
    for step in plain.samples:
        np.testing.assert_array_equal(plain.samples[step].values, with_samples.samples[step].values)
    assert not np.array_equal(with_samples.samples[4].values, with_samples.samples_after.values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "expected"), [(1, [0, 1]), (2, [0, 1, 2]), (3, [0, 1, 2, 3]), (20, [0, 5, 10, 15, 20])]
)
def test_samples_are_made_at_the_quarters(steps, expected, monkeypatch):
    assert sorted(pictured(monkeypatch, math.inf, dw.Settings("SGD", lr=1e-3), steps=steps).samples) == expected


@pytest.mark.parametrize(("sampling_seconds", "due"), [(0.99, True), (1.01, False)])
def test_samples_that_take_too_long_beside_the_run_are_left_out(sampling_seconds, due):
    from diffopt_widgets.training.loop import Training

    training = Training(RunPlan(dw.Settings("SGD", lr=1e-3), task="swiss_roll", steps=80))
    training.taken, training.seconds, training.sampling_seconds = 20, 10.0, sampling_seconds  # 40 s in all
    assert driver._samples_due(training) is due
    training.taken = 21
    assert not driver._samples_due(training)


def test_samples_are_no_training_time():
    from diffopt_widgets.training.loop import Training

    training = Training(RunPlan(dw.Settings("SGD", lr=1e-3), task="swiss_roll", steps=3))
    steps = training.steps()
    first = next(steps)
    training.samples()
    assert training.seconds == first.seconds > 0
    assert training.sampling_seconds > 0
    began = time.perf_counter()
    assert next(steps).seconds - first.seconds < time.perf_counter() - began
