"""The rate of schedule-free optimizers: z moves by it (tests/test_applied_lr.py), and the weights follow z as they say."""

import math
from itertools import pairwise

import pytest
import torch
from prodigyplus import ProdigyPlusScheduleFree
from schedulefree import AdamWScheduleFree, SGDScheduleFree

import diffopt_widgets as dw
from diffopt_widgets.optimizers.factory import build_optimizer, build_schedule
from diffopt_widgets.rates.applied import RateMeter

STEPS = 8
PLUS = "PRODIGY_PLUS_SCHEDULE_FREE"
GRADIENTS = (torch.linspace(0.5, 1.5, 12), torch.linspace(-2.0, -0.25, 7))
COURSES = {
    "constant": {},
    "falling": {"schedule": "LINEAR"},
    "warming-up": {"warmup": 3},
    "through-zero": {"schedule": "COSINE_WITH_RESTARTS"},
}


def parameters(dtype=torch.float32):
    starts = (torch.linspace(0.25, 0.75, 12), torch.linspace(-1.0, 2.0, 7))
    return [torch.nn.Parameter(start.to(dtype)) for start in starts]


def give(params, sign=1.0):
    for p, g in zip(params, GRADIENTS, strict=True):
        p.grad = sign * g.to(p.dtype)


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("SCHEDULE_FREE_ADAMW", {"lr": 0.01, "r": 1.0}),
        ("SCHEDULE_FREE_RADAM", {"lr": 0.01, "r": 1.0}),
        ("SCHEDULE_FREE_SGD", {"lr": 0.01, "momentum": 0.8}),
        (PLUS, {"d0": 0.01, "prodigy_steps": 1}),  # an estimate that stays where it is
        (PLUS, {"d0": 0.01, "prodigy_steps": 1, "schedulefree_c": 5.0}),
    ],
)
def test_the_weights_follow_from_the_rates_alone(key, values, course):
    """z from the rates that were told, x as the average of z, and the weights between the two, in both modes."""
    settings = dw.Settings(key, **COURSES[course], **values)
    dtype = torch.float32 if key == PLUS else torch.float64
    params = parameters(dtype)
    optimizer = build_optimizer(settings, params)
    schedule = build_schedule(settings, optimizer, STEPS)
    meter = RateMeter(optimizer)
    z = [p.detach().clone().double() for p in params]
    x = [point.clone() for point in z]
    beta = settings.options["momentum" if key == "SCHEDULE_FREE_SGD" else "beta1"]
    strength = (1 - beta) * values.get("schedulefree_c", 1 / (1 - beta))
    largest = weights = 0.0
    for step in range(1, STEPS + 1):
        give(params)
        meter.before()
        optimizer.step()
        (rate,) = (float(told) for told in meter.after())
        schedule.step()
        largest = max(largest, rate)
        # Prodigy Plus weighs each step by its own rate, the others by the largest so far
        weight = rate**2 if key == PLUS else step ** values.get("r", 0.0) * largest**2
        weights += weight
        c = min(1.0, strength * weight / weights) if weights else 0.0
        # Prodigy Plus corrects no bias, and clips by the square root of the size
        size = (1 - 0.99**step) ** -0.25 if key == PLUS else 1.0
        for i, g in enumerate(GRADIENTS):
            z[i] -= rate * size * (g if key == "SCHEDULE_FREE_SGD" else g.sign()).double()
            x[i] = (1 - c) * x[i] + c * z[i]
            expected = beta * x[i] + (1 - beta) * z[i]
            torch.testing.assert_close(params[i].detach().double(), expected, rtol=0, atol=2e-6)
    optimizer.eval()
    for p, average in zip(params, x, strict=True):
        torch.testing.assert_close(p.detach().double(), average, rtol=0, atol=2e-6)


@pytest.mark.parametrize("course", COURSES)
@pytest.mark.parametrize("key", ["SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD", PLUS])
def test_asked_before_it_is_what_the_step_then_applies(key, course):
    settings = dw.Settings(key, **COURSES[course])
    params = parameters()
    optimizer = build_optimizer(settings, [{"params": [p]} for p in params])
    schedule = build_schedule(settings, optimizer, STEPS)
    meter = RateMeter(optimizer)
    for _ in range(STEPS):
        give(params)
        asked = dw.applied_lr(optimizer)
        meter.before()
        optimizer.step()
        assert list(meter.after()) == asked
        if key != PLUS:
            assert [group["scheduled_lr"] for group in optimizer.param_groups] == asked
        schedule.step()


@pytest.mark.parametrize("cls", [AdamWScheduleFree, SGDScheduleFree])
def test_the_packages_own_warmup_is_read_too(cls):
    params = parameters(torch.float64)
    optimizer = cls(params, lr=0.1, warmup_steps=4)
    optimizer.train()
    for share in (0.25, 0.5, 0.75, 1.0, 1.0):
        assert dw.applied_lr(optimizer) == [pytest.approx(0.1 * share)]
        before = [optimizer.state[p].get("z", p).detach().clone() for p in params]
        give(params)
        optimizer.step()
        for p, old, g in zip(params, before, GRADIENTS, strict=True):
            direction = g.double() if cls is SGDScheduleFree else g.double().sign()
            torch.testing.assert_close(optimizer.state[p]["z"], old - 0.1 * share * direction, rtol=0, atol=1e-8)


def z_moved(optimizer, params):
    """How far z moves in one step, by tensor."""
    before = [optimizer.state[p].get("z", p).detach().clone() for p in params]
    optimizer.step()
    return [float((optimizer.state[p]["z"] - old).norm()) for p, old in zip(params, before, strict=True)]


@pytest.mark.parametrize("mean", [False, True])
def test_each_group_has_its_own_rate(mean):
    """Also with rates of the groups that differ, as OneTrainer gives text encoder and UNet."""
    params = parameters()
    settings = dw.Settings(PLUS, d0=0.01, split_groups_mean=mean, use_stableadamw=False)
    optimizer = build_optimizer(settings, [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.25}])
    meter = RateMeter(optimizer)
    groups = optimizer.param_groups
    past = [[], []]
    for step in range(1, STEPS + 1):
        give(params, -1.0 if step == 1 else 1.0)  # with the first step against the others the estimates part
        own = [group["d"] for group in groups]
        for known, d in zip(past, own, strict=True):
            known.append(d)
        shared = 2 / sum(1 / d for d in own)
        used = [shared, shared] if mean else own
        meter.before()
        moved = z_moved(optimizer, params)
        rates = meter.after()
        assert rates == pytest.approx([used[0] * 1.0, used[1] * 0.25])
        assert meter.d == pytest.approx(shared if mean else tuple(own))
        for i, g in enumerate(GRADIENTS):
            v = sum(0.01 * 0.99 ** (step - 1 - j) * d * d for j, d in enumerate(past[i])) * g * g
            direction = own[i] * g / (v.sqrt() + own[i] * 1e-8)
            assert moved[i] == pytest.approx(rates[i] * float(direction.norm()), rel=2e-3)
    assert groups[0]["d"] != groups[1]["d"]
    for i, raw in enumerate(meter.d_hat()):
        assert groups[i]["d"] == pytest.approx(max(own[i], min(2**0.25 * own[i], raw)), rel=1e-9)


def test_the_rate_with_bias_correction_is_rectified():
    """RAdam (Liu et al. 2019): nothing before the variance is known, then a part of the rate that grows to 1."""
    params = parameters()
    optimizer = build_optimizer(dw.Settings(PLUS, d0=0.01, prodigy_steps=1, use_bias_correction=True), params)
    meter = RateMeter(optimizer)
    longest = 2 / (1 - 0.99) - 1
    told = []
    for step in range(1, 12):
        length = longest - 2 * step * 0.99**step / (1 - 0.99**step)
        parts = ((length - 4) * (length - 2) * longest, (longest - 4) * (longest - 2) * length)
        give(params)
        meter.before()
        moved = z_moved(optimizer, params)
        (rate,) = meter.after()
        assert rate == pytest.approx(0.01 * math.sqrt(parts[0] / parts[1]) if length > 4 else 0.0)
        for distance, g in zip(moved, GRADIENTS, strict=True):  # each weight by the rate, up or down
            assert distance == pytest.approx(rate * math.sqrt(g.numel()), rel=1e-3, abs=1e-9)
        told.append(rate)
    assert told[:4] == [0.0] * 4
    assert all(early < late for early, late in pairwise(told[3:]))


def test_adopt_applies_nothing_in_its_first_step():
    params = parameters()
    optimizer = build_optimizer(dw.Settings(PLUS, d0=0.01, use_adopt=True), params)
    start = [p.detach().clone() for p in params]
    give(params)
    assert dw.applied_lr(optimizer) == [0.0]
    optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(params, start, strict=True))
    assert dw.applied_lr(optimizer) == [0.01]


def test_adopt_with_momentum_multiplies_by_d_twice():
    """Which our settings refuse; in a loop of someone's own it is told as it is."""
    params = parameters()
    optimizer = ProdigyPlusScheduleFree(
        params, d0=0.01, prodigy_steps=1, use_adopt=True, use_schedulefree=False, use_stableadamw=False
    )
    average = 0.0
    for step in range(1, STEPS):
        give(params)
        (told,) = dw.applied_lr(optimizer)
        before = [p.detach().clone() for p in params]
        optimizer.step()
        if step == 1:
            assert told == 0.0
            continue
        assert told == pytest.approx(0.01 * 0.01)
        average = 0.9 * average + 0.1 * step**0.25  # each weight's step is cut to this size
        for p, old, g in zip(params, before, GRADIENTS, strict=True):
            torch.testing.assert_close(p.detach(), old - told * average * g.sign(), rtol=0, atol=2e-7)


def test_where_no_estimate_is_made_there_is_no_d_hat():
    params = parameters()
    optimizer = build_optimizer(dw.Settings(PLUS, d0=0.01, prodigy_steps=3), params)
    meter = RateMeter(optimizer)
    made = []
    for _ in range(5):
        give(params)
        meter.before()
        optimizer.step()
        made.append(meter.d_hat() is not None)
    assert made == [True, True, False, False, False]


def test_speeds_raw_estimate_is_the_one_that_its_limit_bounds():
    params = parameters()
    optimizer = build_optimizer(dw.Settings(PLUS, use_speed=True), params)
    meter = RateMeter(optimizer)
    grew = 0
    for _ in range(30):
        give(params)
        meter.before()
        optimizer.step()
        after, raw = optimizer.param_groups[0]["d"], meter.d_hat()
        if after > meter.d:
            grew += 1
            assert after == pytest.approx(min(2**0.25 * meter.d, raw), rel=1e-9)
    assert grew > 5
