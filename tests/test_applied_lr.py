"""The applied rate, against how far the weights really moved.

Each optimizer gets a constant gradient, for which the direction of its step has a closed form; what is left of the
movement is the rate. The learning rate falls at every step, so that a rate read after the step would be seen.
"""

import math
from dataclasses import dataclass, field

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.training.effective_lr import RateMeter
from diffopt_widgets.training.factory import build_optimizer, build_schedule

STEPS = 6
GRADIENTS = (torch.linspace(0.5, 1.5, 12, dtype=torch.float64), torch.linspace(-2.0, -0.25, 7, dtype=torch.float64))


@dataclass
class Case:
    """Settings of one optimizer, and the direction of its step number t (from 1) under a constant gradient g."""

    direction: object
    lr: float = 0.01
    options: dict = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    schedule: str = "LINEAR"
    tolerance: float = 2e-4


def sign(g, t, opt):
    return g.sign()


def plain(g, t, opt):
    return g


def momentum(beta):
    return lambda g, t, opt: g * (1 - beta**t) / (1 - beta)


def folded(beta1, beta2, eps):
    """Adam's step without bias correction."""
    return lambda g, t, opt: (1 - beta1**t) * g / (math.sqrt(1 - beta2**t) * g.abs() + eps)


class ProdigyDirection:
    """m / (sqrt(v) + d·eps), with both averages weighted by the estimates of their steps."""

    def __init__(self):
        self.past = []

    def __call__(self, g, t, opt):
        # `past` holds the estimate before each step; the back end adds the new one, times eps, to the denominator
        d_new = opt.param_groups[0]["d"]
        m = sum(0.1 * 0.9 ** (t - 1 - i) * d for i, d in enumerate(self.past[:t])) * g
        v = sum(0.001 * 0.999 ** (t - 1 - i) * d * d for i, d in enumerate(self.past[:t])) * g * g
        return m / (v.sqrt() + d_new * 1e-8)


F64 = torch.float64
CASES = {
    "SGD": Case(plain),
    "SGD_8BIT": Case(momentum(0.9), options={"momentum": 0.9}),
    "ADAM": Case(sign),
    "ADAM_8BIT": Case(sign),
    "ADAMW": Case(sign, options={"weight_decay": 0.0}),
    "ADAMW_8BIT": Case(sign, options={"weight_decay": 0.0}),
    "LION": Case(sign),
    "LION_8BIT": Case(sign),
    "RMSPROP": Case(lambda g, t, opt: g.sign() / math.sqrt(1 - 0.99**t)),
    "RMSPROP_8BIT": Case(lambda g, t, opt: g.sign() / math.sqrt(1 - 0.99**t)),
    "ADAGRAD": Case(lambda g, t, opt: g.sign() / math.sqrt(t)),
    "ADAGRAD_8BIT": Case(lambda g, t, opt: g.sign() / math.sqrt(t)),
    "LAMB": Case(sign, lr=0.1, options={"max_unorm": 0.1}),
    "LAMB_8BIT": Case(sign, lr=0.1),
    "LARS": Case(momentum(0.9), lr=0.1, options={"momentum": 0.9, "max_unorm": 0.02}),
    "LARS_8BIT": Case(momentum(0.9), lr=0.1, options={"momentum": 0.9}),
    "PRODIGY": Case(ProdigyDirection(), lr=1.0, options={"beta2": 0.999, "slice_p": 1}, dtype=F64, tolerance=1e-6),
    "DADAPT_ADAM": Case(folded(0.9, 0.999, 1e-8), lr=1.0, dtype=F64, tolerance=1e-6),
    "DADAPT_ADAN": Case(folded(0.98, 0.99, 1e-8), lr=1.0, options={"weight_decay": 0.0}, dtype=F64, tolerance=1e-6),
    "DADAPT_LION": Case(sign, lr=1.0, dtype=F64, tolerance=1e-6),
    "DADAPT_SGD": Case(plain, lr=1.0, dtype=F64, tolerance=1e-6),
    "ADAFACTOR": Case(
        sign, schedule="ADAFACTOR", options={"relative_step": True, "scale_parameter": True}, tolerance=2e-3
    ),
}
NO_CLOSED_FORM = {"DADAPT_ADA_GRAD": "dual averaging has no rate of a single step; d · lr is shown and said to be that"}


def parameters(dtype):
    starts = (torch.linspace(0.25, 0.75, 12), torch.linspace(-1.0, 2.0, 7))
    return [torch.nn.Parameter(start.to(dtype)) for start in starts]


def test_every_optimizer_has_a_case():
    assert set(CASES) | set(NO_CLOSED_FORM) == set(dw.list_optimizers())


@pytest.mark.parametrize("key", sorted(CASES))
def test_the_rate_times_the_direction_is_the_movement(key):
    case = CASES[key]
    settings = dw.Settings(key, lr=case.lr, schedule=case.schedule, **case.options)
    params = parameters(case.dtype)
    optimizer = build_optimizer(settings, [{"params": [p]} for p in params])
    schedule = build_schedule(settings, optimizer, STEPS)
    meter = RateMeter(optimizer)
    if isinstance(case.direction, ProdigyDirection):
        case.direction.past.clear()
    for step in range(1, STEPS + 1):
        before = [p.detach().clone() for p in params]
        gradients = [g.to(case.dtype) for g in GRADIENTS]
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.clone()
        if isinstance(case.direction, ProdigyDirection):
            case.direction.past.append(optimizer.param_groups[0]["d"])
        meter.before()
        optimizer.step()
        rates = [float(rate) for rate in meter.after()]
        schedule.step()
        for p, old, g, rate in zip(params, before, gradients, rates, strict=True):
            expected = old.double() - rate * case.direction(g.double(), step, optimizer)
            moved, should = (p.detach().double() - old.double()).norm(), (expected - old.double()).norm()
            assert moved > 0
            assert moved == pytest.approx(float(should), rel=case.tolerance), (step, rate)


def test_dadapt_adagrad_shows_d_times_lr():
    settings = dw.Settings("DADAPT_ADA_GRAD", lr=1.0, schedule="LINEAR")
    params = parameters(F64)
    optimizer = build_optimizer(settings, params)
    schedule = build_schedule(settings, optimizer, STEPS)
    meter = RateMeter(optimizer)
    for _ in range(STEPS):
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        group = optimizer.param_groups[0]
        expected = group["d"] * group["lr"]
        meter.before()
        optimizer.step()
        assert float(meter.after()[0]) == expected
        schedule.step()


@pytest.mark.parametrize("key", [key for key in CASES if dw.spec(key).estimates_rate] + ["DADAPT_ADA_GRAD"])
def test_d_is_the_estimate_before_and_d_hat_bounds_the_one_after(key):
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings(key, lr=1.0), params)
    meter = RateMeter(optimizer)
    grew = False
    for _ in range(30):
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        held = optimizer.param_groups[0]["d"]
        meter.before()
        optimizer.step()
        after, d_hat = optimizer.param_groups[0]["d"], float(meter.d_hat())
        assert meter.d == held
        # no growth limit: the new estimate is the larger of the old one and the raw one
        assert after == pytest.approx(max(held, d_hat), rel=1e-9)
        grew = grew or after > held
    assert grew


def test_the_rate_of_prodigy_with_bias_correction():
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings("PRODIGY", use_bias_correction=True), params)
    for p, g in zip(params, GRADIENTS, strict=True):
        p.grad = g.clone()
    # d0 · lr · sqrt(1 − β2) / (1 − β1) at the first step
    assert dw.applied_lr(optimizer) == [pytest.approx(1e-6 * math.sqrt(0.001) / 0.1)]


def test_adafactor_without_relative_step_applies_its_learning_rate():
    settings = dw.Settings("ADAFACTOR", lr=3e-4, relative_step=False, scale_parameter=False)
    assert dw.applied_lr(build_optimizer(settings, parameters(torch.float32))) == [3e-4]


def test_an_optimizer_nobody_catalogued_shows_its_groups_rates():
    a, b = parameters(torch.float32)
    optimizer = torch.optim.NAdam([{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.2}])
    assert dw.applied_lr(optimizer) == [0.1, 0.2]
