"""The applied rate of groups at a rate of 0, of groups that change, and of trainings that are resumed.

As in test_applied_lr, each rate is held against how far the weights really moved.
"""

import copy
import math

import dadaptation
import numpy as np
import prodigyopt
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.optimizers.factory import build_optimizer, build_schedule
from diffopt_widgets.rates.applied import RateMeter

F64 = torch.float64
GRADIENTS = (torch.linspace(0.5, 1.5, 12, dtype=F64), torch.linspace(-2.0, -0.25, 7, dtype=F64))
ESTIMATING = [key for key in dw.list_optimizers() if dw.spec(key).estimates_rate]
VALUES = {"PRODIGY_PLUS_SCHEDULE_FREE": {"d0": 0.01}}  # float32 inside: steps must be visible


def parameters(dtype=F64):
    starts = (torch.linspace(0.25, 0.75, 12), torch.linspace(-1.0, 2.0, 7))
    return [torch.nn.Parameter(start.to(dtype)) for start in starts]


def give(params):
    for p, g in zip(params, GRADIENTS, strict=True):
        p.grad = g.to(p.dtype)


def step(meter, optimizer, params, schedule=None):
    """Take one step; return the rates before and after it, and how far each tensor moved."""
    give(params)
    old = [p.detach().clone() for p in params]
    asked = [float(rate) for rate in meter.before()]
    optimizer.step()
    told = [float(rate) for rate in meter.after()]
    if schedule is not None:
        schedule.step()
    return asked, told, [float((p.detach() - before).norm()) for p, before in zip(params, old, strict=True)]


def groups_of(params, **second):
    return [{"params": [params[0]]}, {"params": [params[1]], **second}]


# ---------------------------------------------------------------------------------------------- a rate of 0


@pytest.mark.parametrize("order", [1, -1], ids=["second at 0", "first at 0"])
@pytest.mark.parametrize("key", ESTIMATING)
def test_a_group_at_0_is_told_0_if_and_only_if_it_stays_still(key, order):
    params = parameters(torch.float32 if key == "PRODIGY_PLUS_SCHEDULE_FREE" else F64)
    settings = dw.Settings(key, lr=1.0, **VALUES.get(key, {}))
    optimizer = build_optimizer(settings, groups_of(params))
    train, rest = (0, 1)[::order]
    optimizer.param_groups[rest]["lr"] = 0.0  # some refuse other rates by group when they are built
    meter = RateMeter(optimizer)
    ended = []
    for _ in range(4):
        _, told, moved = step(meter, optimizer, params)
        still = moved[rest] < 1e-12
        assert still == (told[rest] == 0), (told, moved)
        assert (moved[train] == 0) == (told[train] == 0), (told, moved)
        ended.append(still)
    assert ended == [ended[0]] * 4


MOVED_AT_0 = {
    # what moves a group at a rate of 0 by d · lr times this
    "weight decay": (
        lambda params, **values: prodigyopt.Prodigy(params, weight_decay=0.1, decouple=True, **values),
        lambda p, g: 0.1 * p.norm(),
    ),
    "no momentum": (
        lambda params, **values: prodigyopt.Prodigy(params, betas=(0.0, 0.999), eps=1.0, **values),
        lambda p, g: g.norm(),  # eps is 1, and nothing else is in the divisor
    ),
    "weight decay of DAdaptAdam": (
        lambda params, **values: dadaptation.DAdaptAdam(params, weight_decay=0.1, decouple=True, **values),
        lambda p, g: 0.1 * p.norm(),
    ),
}


@pytest.mark.parametrize("name", MOVED_AT_0)
def test_what_moves_a_group_at_0_all_the_same_moves_it_at_the_rate_that_is_told(name):
    cls, size = MOVED_AT_0[name]
    params = parameters()
    optimizer = cls(groups_of(params, lr=0.0), d0=1e-3)
    meter = RateMeter(optimizer)
    for _ in range(4):
        before, d = params[1].detach().clone(), optimizer.param_groups[0]["d"]
        asked, told, moved = step(meter, optimizer, params)
        assert asked[1] == told[1] == pytest.approx(d)
        assert moved[1] == pytest.approx(told[1] * float(size(before, GRADIENTS[1])), rel=1e-6)


@pytest.mark.parametrize("key", ["PRODIGY", "DADAPT_ADAM", "DADAPT_SGD"])
def test_a_momentum_moves_a_group_on_that_is_set_to_0(key):
    """The rate told is the one that multiplies the direction, which no longer changes."""
    params = parameters()
    options = {"momentum": 0.9} if key == "DADAPT_SGD" else {}
    optimizer = build_optimizer(dw.Settings(key, lr=1.0, **options), groups_of(params))
    meter = RateMeter(optimizer)
    for _ in range(5):
        _, told, moved = step(meter, optimizer, params)
    optimizer.param_groups[1]["lr"] = 0.0
    if key == "DADAPT_SGD":  # the weights approach their point by the same share at each step
        for _ in range(3):
            last = moved[1] / told[1]
            _, told, moved = step(meter, optimizer, params)
            assert moved[1] > 0
            # the average decays like the way that is left, corrected for the weights that sum to 1
            assert moved[1] / told[1] == pytest.approx(last, rel=0.2)
        return
    state = optimizer.state[params[1]]
    for _ in range(3):
        asked, told, moved = step(meter, optimizer, params)
        assert asked[1] == told[1]
        if key == "PRODIGY":
            unit = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + optimizer.param_groups[0]["d"] * 1e-8)
        else:
            unit = (1 - 0.9**5) * GRADIENTS[1] / (state["exp_avg_sq"].sqrt() + 1e-8)
        assert moved[1] == pytest.approx(told[1] * float(unit.norm()), rel=1e-6)


def test_a_layer_scale_of_dadapt_adam_is_part_of_the_rate():
    params = parameters()
    optimizer = dadaptation.DAdaptAdam(groups_of(params, layer_scale=0.25))
    meter = RateMeter(optimizer)
    for t in range(1, 5):
        _, told, moved = step(meter, optimizer, params)
        for rate, p, g, way in zip(told, params, GRADIENTS, moved, strict=True):
            unit = (1 - 0.9**t) * g / (optimizer.state[p]["exp_avg_sq"].sqrt() + 1e-8)
            assert way == pytest.approx(rate * float(unit.norm()), rel=1e-6)


def test_a_rate_that_is_a_tensor_is_read_like_a_number():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("PRODIGY", lr=1.0), groups_of(params))
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = torch.tensor(1.0), torch.tensor(0.0)
    assert dw.applied_lr(optimizer) == [pytest.approx(1e-6), 0.0]


# ---------------------------------------------------------------------------------------------- begun in mid-run

AVERAGING = {
    "DADAPT_ADAM": {"lr": 1.0},
    "DADAPT_ADAN": {"lr": 1.0},
    "DADAPT_SGD": {"lr": 1.0, "momentum": 0.9},
    "ADAFACTOR": {"lr": 0.01, "relative_step": False, "scale_parameter": False, "beta1": 0.9},
    "ADAFACTOR scaled": {"lr": 0.01, "relative_step": False, "scale_parameter": True, "beta1": 0.9},
}


def averaging(name):
    params = parameters()
    settings = dw.Settings(name.split(" ")[0], schedule="COSINE", **AVERAGING[name])
    optimizer = build_optimizer(settings, groups_of(params))
    return params, optimizer, build_schedule(settings, optimizer, 1200)


@pytest.mark.parametrize("name", AVERAGING)
def test_an_average_of_past_rates_is_not_known_until_its_unseen_part_is_small(name):
    params, optimizer, schedule = averaging(name)
    whole = RateMeter(optimizer)
    for _ in range(10):
        step(whole, optimizer, params, schedule)
    late = RateMeter(optimizer)
    beta = 0.98 if name == "DADAPT_ADAN" else 0.9
    steps = math.ceil(math.log(1e-4) / math.log(beta))
    for at in range(1, steps + 3):
        late.before()
        _, expected, _ = step(whole, optimizer, params, schedule)
        told = [float(rate) for rate in late.after()]
        if at < steps:
            assert np.isnan(told).all(), at
    assert told == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", AVERAGING)
def test_a_loaded_state_makes_the_average_unknown_and_a_fresh_one_does_not(name):
    params, optimizer, schedule = averaging(name)
    fresh = copy.deepcopy(optimizer.state_dict())
    meter = RateMeter(optimizer)
    for _ in range(4):
        step(meter, optimizer, params, schedule)
    saved = copy.deepcopy(optimizer.state_dict())
    for _ in range(4):
        _, told, _ = step(meter, optimizer, params, schedule)
        assert np.isfinite(told).all()
    optimizer.load_state_dict(saved)
    _, told, _ = step(meter, optimizer, params, schedule)
    assert np.isnan(told).all()
    optimizer.load_state_dict(fresh)
    _, told, _ = step(meter, optimizer, params, schedule)
    assert np.isfinite(told).all()


def test_a_momentum_of_zeros_is_known_whenever_it_is_seen():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("DADAPT_ADAM", lr=1.0), groups_of(params, lr=0.0))
    first = RateMeter(optimizer)
    for _ in range(5):
        step(first, optimizer, params)
    _, told, moved = step(RateMeter(optimizer), optimizer, params)
    assert math.isnan(told[0])
    assert (told[1], moved[1]) == (0, 0)


@pytest.mark.parametrize("name", AVERAGING)
def test_the_record_of_a_watch_carries_the_average_over_a_break(name, tmp_path):
    store = tmp_path / "runs.sqlite"
    params, optimizer, schedule = averaging(name)
    whole = RateMeter(optimizer)

    def walk(watch, steps):
        expected = []
        for _ in range(steps):
            expected.append(step(whole, optimizer, params, schedule)[1])
            watch.log(loss=1.0)
        return expected

    with dw.watch(optimizer, store=store) as w:
        walk(w, 12)
    saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict(), [p.detach().clone() for p in params]))

    def resumed():
        optimizer.load_state_dict(saved[0])
        schedule.load_state_dict(saved[1])

    known = walk(dw.watch(optimizer), 3)  # what the steps apply, told by the meter that saw them all
    for p, old in zip(params, saved[2], strict=True):
        p.data.copy_(old)
    with dw.watch(optimizer, store=store, start=12) as w:  # before the state is loaded, or after: both are in use
        resumed()
        walk(w, 3)
    np.testing.assert_allclose(w.history.column("applied_lr"), known, rtol=1e-6)
    for p, old in zip(params, saved[2], strict=True):
        p.data.copy_(old)
    resumed()
    with dw.watch(optimizer, store=store, start=12, name="another") as other:
        walk(other, 3)
    assert np.isnan(other.history.column("applied_lr")).all()


# ---------------------------------------------------------------------------------------------- groups that change


def test_a_tensor_without_gradients_does_not_keep_the_others_averages():
    """A group that gets no gradient for some steps keeps the average that its momentum holds."""
    params = parameters()
    optimizer = build_optimizer(dw.Settings("DADAPT_ADAM", lr=1.0), groups_of(params))
    meter = RateMeter(optimizer)
    entered = {0: [], 1: []}
    for t in range(1, 9):
        give(params)
        if t in {3, 4, 6}:
            params[1].grad = None
        d = optimizer.param_groups[0]["d"]
        old = [p.detach().clone() for p in params]
        meter.before()
        optimizer.step()
        told = [float(rate) for rate in meter.after()]
        for i, p in enumerate(params):
            if p.grad is None:
                continue
            entered[i].append(d)
            n = len(entered[i])
            unit = (1 - 0.9**n) * GRADIENTS[i] / (optimizer.state[p]["exp_avg_sq"].sqrt() + 1e-8)
            assert float((p.detach() - old[i]).norm()) == pytest.approx(told[i] * float(unit.norm()), rel=1e-6)
