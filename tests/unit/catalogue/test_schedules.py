"""Schedules against their definitions, and what holds for all of them."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.catalogue.schedules import SCHEDULES, lr_scale, schedule_factor, warmup_steps
from diffopt_widgets.widgets.form.schedule import schedule_text

_COS = [0.5 * (1 + math.cos(math.pi * eighths / 8)) for eighths in range(9)]
EVERY = st.sampled_from(sorted(SCHEDULES))


def test_the_seven_schedules_are_there():
    wanted = "CONSTANT LINEAR COSINE COSINE_WITH_RESTARTS COSINE_WITH_HARD_RESTARTS REX ADAFACTOR"
    assert list(SCHEDULES) == wanted.split()


@pytest.mark.parametrize(
    ("schedule", "cycles", "expected"),
    [
        ("CONSTANT", 1, [1, 1, 1, 1, 1]),
        ("LINEAR", 1, [1, 0.75, 0.5, 0.25, 0]),
        ("COSINE", 1, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0]),
        ("COSINE_WITH_RESTARTS", 1, [1, 0.5, 0, 0.5, 1]),
        ("COSINE_WITH_RESTARTS", 0.5, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0]),
        ("COSINE_WITH_HARD_RESTARTS", 2, [1, 0.5, 1, 0.5, 0]),
        ("COSINE_WITH_HARD_RESTARTS", 1.5, [1, _COS[3], _COS[6], _COS[1], 0.5]),
        ("COSINE_WITH_HARD_RESTARTS", 0.5, [1, _COS[1], _COS[2], _COS[3], 0.5]),
        ("REX", 1, [1, 0.75 / 0.775, 0.5 / 0.55, 0.25 / 0.325, 0]),
        ("ADAFACTOR", 1, [1, 1, 1, 1, 1]),
    ],
)
def test_a_schedule_at_its_quarters(schedule, cycles, expected):
    assert [schedule_factor(schedule, step, 400, cycles=cycles) for step in range(0, 401, 100)] == pytest.approx(
        expected
    )


@pytest.mark.slow
@given(EVERY, st.integers(1, 500), st.floats(0, 600), st.floats(0.1, 9), st.floats(0, 1), st.integers(0, 1200))
def test_every_schedule_stays_between_nothing_and_the_full_rate(schedule, steps, warmup, cycles, low, step):
    factor = schedule_factor(schedule, step, steps, warmup=warmup, cycles=cycles, min_factor=low)
    assert 0.0 <= factor <= 1.0 + 1e-12
    if SCHEDULES[schedule].uses_min_factor and min(step, steps) >= warmup_steps(warmup, steps):
        assert factor >= low - 1e-12


@pytest.mark.parametrize(("cycles", "end"), [(1, 0), (1.5, 0.5), (2, 0), (3.0, 0), (1 / 3, 0.75)])
def test_hard_restarts_end_where_their_last_steps_lead(cycles, end):
    settings = dw.Settings("SGD", lr=0.25, schedule="COSINE_WITH_HARD_RESTARTS", cycles=cycles)
    last, after = (schedule_factor("COSINE_WITH_HARD_RESTARTS", step, 3000, cycles=cycles) for step in (2999, 3000))
    assert after == pytest.approx(end, abs=1e-12)
    assert last == pytest.approx(end, abs=0.01)
    assert schedule_text(settings, 3000).endswith(f"ends at {end:.3g} × 0.25")


@pytest.mark.slow
@given(EVERY, st.integers(1, 300), st.floats(0, 1), st.floats(0.1, 9))
def test_past_the_end_a_schedule_stays_where_it_ended(schedule, steps, warmup, cycles):
    end = schedule_factor(schedule, steps, steps, warmup=warmup, cycles=cycles)
    assert schedule_factor(schedule, 10 * steps, steps, warmup=warmup, cycles=cycles) == end


def test_warm_up_rises_in_a_straight_line_from_zero():
    rising = [schedule_factor("COSINE", step, 100, warmup=0.1) for step in range(11)]
    assert rising == pytest.approx([step / 10 for step in range(11)])
    assert rising == [schedule_factor("COSINE", step, 100, warmup=10) for step in range(11)]


@pytest.mark.slow
@given(st.integers(0, 100), st.integers(1, 10**7))
@example(29, 100)
def test_a_warm_up_in_hundredths_of_the_run_is_not_cut_short(percent, steps):
    assert warmup_steps(percent / 100, steps) == percent * steps // 100


def test_the_minimum_factor_is_where_the_schedule_ends():
    assert schedule_factor("LINEAR", 100, 100, min_factor=0.1) == pytest.approx(0.1)
    assert schedule_factor("LINEAR", 50, 100, min_factor=0.1) == pytest.approx(0.55)
    assert schedule_factor("CONSTANT", 50, 100, min_factor=0.1) == 1.0


@pytest.mark.parametrize(("scaler", "factor"), [("NONE", 1), ("BATCH", 4), ("GRADIENT_ACCUMULATION", 3), ("BOTH", 12)])
def test_the_scaler_is_the_square_root_of_what_it_counts(scaler, factor):
    assert lr_scale(scaler, 16, 9) == factor


def test_the_schedule_drives_torchs_own_scheduler():
    settings = dw.Settings("SGD", lr=0.5, schedule="LINEAR", warmup=2)
    optimizer = dw.build_optimizer(settings, [torch.nn.Parameter(torch.ones(2))])
    schedule = dw.build_schedule(settings, optimizer, 6)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0, 0.25, 0.5, 0.375, 0.25, 0.125, 0, 0])


def test_a_schedule_of_no_steps_is_refused():
    settings = dw.Settings("SGD", lr=0.5)
    optimizer = dw.build_optimizer(settings, [torch.nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="at least 1"):
        dw.build_schedule(settings, optimizer, 0)
