"""The plans of a sweep: combinations, conditional options, ranges, draws and seeds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.runs.space import checked_over, draw, vary, with_seeds

ADAMW = dw.RunPlan(dw.Settings("ADAMW"), task="swiss_roll", steps=5)


def values(plans, *names):
    return [tuple(plan.flat().get(name) for name in names) for plan in plans]


def test_an_option_that_only_some_optimizers_have_is_varied_for_those():
    plans = vary(ADAMW, {"optimizer": ["ADAMW", "PRODIGY"], "d_coef": [0.5, 2.0], "weight_decay": [0.1]})
    assert values(plans, "optimizer", "d_coef", "weight_decay") == [
        ("ADAMW", None, 0.1),
        ("PRODIGY", 0.5, 0.1),
        ("PRODIGY", 2.0, 0.1),
    ]


def test_an_option_that_none_of_the_optimizers_has_is_refused():
    with pytest.raises(dw.SettingsError, match="d_coef"):
        vary(ADAMW, {"optimizer": ["ADAMW", "LION"], "d_coef": [0.5]})


def test_each_optimizer_may_have_values_of_its_own():
    own = {"optimizer": {"ADAMW": {"lr": [1e-3, 1e-2]}, "PRODIGY": {"d_coef": [0.5, 1.0]}, "LION": {}}, "seed": [3]}
    plans = vary(ADAMW, checked_over(own))
    assert values(plans, "optimizer", "lr", "d_coef", "seed") == [
        ("ADAMW", 1e-3, None, 3),
        ("ADAMW", 1e-2, None, 3),
        ("PRODIGY", 1.0, 0.5, 3),
        ("PRODIGY", 1.0, 1.0, 3),
        ("LION", 1e-4, None, 3),
    ]


def test_runs_can_be_listed_one_by_one():
    plans = vary(ADAMW, checked_over([{"lr": 1e-2}, {"optimizer": "PRODIGY", "seed": 4}]))
    assert values(plans, "optimizer", "lr", "seed") == [("ADAMW", 1e-2, 0), ("PRODIGY", 1.0, 4)]


def test_a_grid_takes_the_points_of_a_range_on_the_scale_of_its_option():
    plans = vary(ADAMW, {"lr": dw.Range(1e-4, 1e-2, points=3), "warmup": dw.Range(0.1, 0.3, points=3)})
    assert sorted({plan.settings.lr for plan in plans}) == [1e-4, 1e-3, 1e-2]
    assert sorted({plan.settings.warmup for plan in plans}) == [0.1, 0.2, 0.3]


def test_a_range_of_whole_numbers_gives_each_once():
    plans = vary(ADAMW, {"accumulation": dw.Range(1, 3, points=9)})
    assert [plan.accumulation for plan in plans] == [1, 2, 3]


@pytest.mark.parametrize(
    ("ends", "options"),
    [((1, 1), {}), ((2, 1), {}), ((0, 1), {"log": True}), ((1, 2), {"points": 1}), ((1, math.inf), {}), (("1", 2), {})],
)
def test_a_range_without_sense_is_refused_by_name(ends, options):
    with pytest.raises(dw.SettingsError, match=r"Range\("):
        dw.Range(*ends, **options)


def test_every_fault_of_every_plan_is_named_before_anything_trains():
    with pytest.raises(dw.SettingsError) as caught:
        vary(ADAMW, {"lr": [-1.0, 1e-3], "beta2": [0.9, 7.0]})
    assert "-1" in str(caught.value)
    assert "7" in str(caught.value)


@pytest.mark.slow
@given(st.integers(0, 2**31 - 1), st.integers(1, 8))
def test_draws_lie_in_their_ranges_and_are_the_same_for_a_seed(seed, trials):
    over = {"optimizer": ["ADAMW", "PRODIGY"], "lr": dw.Range(1e-4, 1e-2), "d_coef": dw.Range(0.5, 2.0)}
    plans = draw(ADAMW, over, trials, seed)
    assert plans == draw(ADAMW, over, trials, seed)
    assert len(plans) == len(set(plans)) == trials
    for plan in plans:
        assert 1e-4 <= plan.settings.lr <= 1e-2
        assert 0.5 <= plan.settings.options.get("d_coef", 1.0) <= 2.0


def test_rates_are_drawn_by_their_logarithm():
    rates = sorted(plan.settings.lr for plan in draw(ADAMW, {"lr": dw.Range(1e-6, 1e-2)}, 99))
    assert 1e-5 < rates[49] < 1e-3  # half of them lie below the geometric middle, 1e-4


def test_a_random_search_ends_when_there_is_nothing_new():
    assert len(draw(ADAMW, {"lr": [1e-3, 1e-2]}, 50)) == 2


def test_seeds_of_one_plan_stand_side_by_side():
    plans = with_seeds(vary(ADAMW, {"lr": [1e-3, 1e-2]}), 2)
    assert values(plans, "lr", "seed") == [(1e-3, 0), (1e-3, 1), (1e-2, 0), (1e-2, 1)]
    assert [plan.seed for plan in with_seeds([ADAMW], (5, 9))] == [5, 9]


@pytest.mark.parametrize("seeds", [0, -1, True, "5", 1.5, [], None])
def test_what_is_no_number_of_seeds_is_refused(seeds):
    with pytest.raises(dw.SettingsError, match="seeds"):
        with_seeds([ADAMW], seeds)


@pytest.mark.parametrize("over", [3, "lr", [3], [], {"lr": []}, {"lr": 1e-3}, {3: [1]}, {"optimizer": {"ADAMW": 3}}])
def test_what_names_no_values_is_refused(over):
    with pytest.raises(dw.SettingsError, match="over"):
        checked_over(over)


@pytest.mark.slow
def test_the_rate_that_a_run_found_is_used_in_another_optimizer():
    run = dw.train(dw.Settings("PRODIGY", schedule="COSINE", weight_decay=0.1), "swiss_roll", 60, progress=False)
    made = dw.with_rate_of(run, "ADAMW_8BIT")
    assert (made.optimizer, made.schedule, made.options["weight_decay"]) == ("ADAMW_8BIT", "COSINE", 0.1)
    assert made.lr == pytest.approx(run.history.column("applied_lr").max(), rel=0.3)


@pytest.mark.parametrize("run", [None, 3, dw.Run(dw.RunPlan(dw.Settings("PRODIGY")))])
def test_a_run_without_a_rate_has_none_to_use(run):
    with pytest.raises(dw.SettingsError, match="run"):
        dw.with_rate_of(run)


def test_draws_from_lists_end_only_when_there_are_no_more():
    rates = [10 ** -(n / 10) for n in range(50)]
    assert len(draw(ADAMW, {"lr": rates}, 50)) == 50


@pytest.mark.parametrize("name", ["optimizer", "task", "schedule"])
def test_what_is_varied_by_names_has_no_range(name):
    with pytest.raises(dw.SettingsError, match=name):
        checked_over({name: dw.Range(1, 2)})


@pytest.mark.parametrize("ends", [(0.9999990, 0.9999999), (-1e308, 1e308)])
def test_points_of_a_range_are_apart(ends):
    points = dw.Range(*ends, log=False).grid()
    assert points == sorted(set(points))
    assert len(points) == 5


def test_a_range_beyond_floats_is_refused():
    with pytest.raises(dw.SettingsError, match="finite"):
        dw.Range(1, 10**400)
