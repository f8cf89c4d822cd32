"""The applied rate, against how far the weights really moved.

Each optimizer gets a constant gradient, for which the direction of its step has a closed form; what is left of the
movement is the rate. The learning rate falls at every step, so that a rate read after the step would be seen.
"""

import math
from dataclasses import dataclass, field

import prodigyopt
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.optimizers.factory import build_optimizer, build_schedule
from diffopt_widgets.rates.applied import RateMeter

STEPS = 6
GRADIENTS = (torch.linspace(0.5, 1.5, 12, dtype=torch.float64), torch.linspace(-2.0, -0.25, 7, dtype=torch.float64))
LARGE = 4096
"""From so many elements on a tensor keeps 8-bit states."""

COURSES = {
    "falling": {"schedule": "LINEAR"},
    "warming-up": {"warmup": 3},  # the first step has a rate of 0
    "through-zero": {"schedule": "COSINE_WITH_RESTARTS"},  # the fourth step has a rate of 0
    "adafactor": {"schedule": "ADAFACTOR"},
}
ORDINARY = ("falling", "warming-up", "through-zero")


@dataclass
class Case:
    """Settings of one optimizer, and the direction of its step number t (from 1) under a constant gradient g."""

    direction: object
    lr: float = 0.01
    options: dict = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    courses: tuple = ORDINARY
    tolerance: float = 2e-4
    sleeps: bool = False
    """Whether a step at a rate of 0 changes nothing, states included: such steps are not counted in t."""
    still: bool = False
    """Whether there are steps that move nothing although the schedule has a rate; 0 must then be told for them."""
    large: bool = False
    """Whether the first tensor is large enough for 8-bit states."""
    at_z: bool = False
    """Whether it is the point z that takes the step, and the weights only follow (see below)."""

    def moving(self, optimizer, p):
        """What moves by rate times direction: the weights, or z, which starts from them."""
        return (optimizer.state[p].get("z", p) if self.at_z else p).detach()


def sign(g, t, opt):
    return g.sign()


def plain(g, t, opt):
    return g


def momentum(beta):
    return lambda g, t, opt: g * (1 - beta**t) / (1 - beta)


def averaged(direction, beta):
    """A running average that starts at zero."""
    return lambda g, t, opt: (1 - beta**t) * direction(g, t, opt)


def folded(beta1, beta2, eps):
    """Adam's step without bias correction."""
    return averaged(lambda g, t, opt: g / (math.sqrt(1 - beta2**t) * g.abs() + eps), beta1)


def averaged_arctangent(g, t, opt):
    """4/π times the arctangent of the average over its size, corrected for the average's start as Adam's step is."""
    started = 1 - 0.8**t
    return g.sign() * (4 / math.pi) * math.atan(started) / started


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


class PlusDirection(ProdigyDirection):
    """d·g / (sqrt(v) + d·eps), or m in place of d·g; clipped by the square root of its size, group by group."""

    def __init__(self, beta1=None, *, clipped=False):
        super().__init__()
        self.beta1, self.clipped = beta1, clipped

    def __call__(self, g, t, _opt):
        past = self.past[:t]
        m = past[-1] if self.beta1 is None else sum(0.1 * self.beta1 ** (t - 1 - i) * d for i, d in enumerate(past))
        v = sum(0.01 * 0.99 ** (t - 1 - i) * d * d for i, d in enumerate(past)) * g * g
        u = m * g / (v.sqrt() + past[-1] * 1e-8)
        return u / math.sqrt(max(1.0, float(u.square().mean().sqrt()))) if self.clipped else u


def belief(beta1, beta2, eps, *, debias=False, threshold=None):
    """AdaBelief's step: the momentum over the root of how far a constant gradient lies from its average.

    With a `threshold` it is rectified: SGD's step until the squared average rests on so many gradients.
    """

    def direction(g, t, opt):
        first = (1 - beta1**t) * g / (1 if debias else 1 - beta1**t)
        most = 2 / (1 - beta2) - 1
        if threshold is not None and most - 2 * t * beta2**t / (1 - beta2**t) < threshold:
            return first
        # s = sum of beta2^(t-i) · ((1 - beta2) · (beta1^i · g)² + eps)
        s = sum(beta2 ** (t - i) * ((1 - beta2) * (beta1**i * g).square() + eps) for i in range(1, t + 1))
        correction = math.sqrt(1 - beta2**t)
        return first / (s.sqrt() / correction + eps)

    return direction


def yogi(start, beta1, beta2, eps):
    def direction(g, t, opt):
        m, v = torch.full_like(g, start), torch.full_like(g, start)
        for _ in range(t):
            m = beta1 * m + (1 - beta1) * g
            v = v - (1 - beta2) * torch.sign(v - g * g) * g * g
        return m / (1 - beta1**t) / (v.sqrt() / math.sqrt(1 - beta2**t) + eps)

    return direction


def adopt(beta1):
    """From the second step on an average of signs that starts at zero; the clip at the fourth root of t never acts."""
    return lambda g, t, opt: (1 - beta1 ** (t - 1)) * g.sign()


def ademamix(alpha, beta3, *, t_alpha=None):
    return lambda g, t, opt: (
        g.sign() * (1 + (alpha if t_alpha is None else min(t / t_alpha, 1.0) * alpha) * (1 - beta3**t))
    )


class ProdigyAdvDirection(ProdigyDirection):
    """The same with the estimate of the step itself before eps; `combine` makes the step of the quotient's two parts."""

    def __init__(self, combine):
        super().__init__()
        self.combine = combine

    def __call__(self, g, t, _):
        past = self.past[:t]
        m = sum(0.1 * 0.9 ** (t - 1 - i) * d for i, d in enumerate(past)) * g
        v = sum(0.001 * 0.999 ** (t - 1 - i) * d * d for i, d in enumerate(past)) * g * g
        return self.combine(m, v.sqrt() + past[-1] * 1e-8, past[-1] * g, t)


def full(beta, t):
    """The weights of a sum that forgets, after t steps."""
    return (1 - beta**t) / (1 - beta)


def arctangent(m, scale):
    """The bounded quotient: 1 where both are equal."""
    return 4 / math.pi * torch.atan2(m, scale)


F64 = torch.float64
RELATIVE = {"relative_step": True, "scale_parameter": False}
EXACT = {"lr": 1.0, "dtype": F64, "tolerance": 1e-6}
PRODIGY = {"beta2": 0.999, "slice_p": 1}
PLUS = {"d0": 0.01, "split_groups": False, "use_stableadamw": False}  # float32 inside: steps must be visible
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
    "LAMB without a limit": Case(sign, lr=0.1, options={"max_unorm": 0.0}),
    "LAMB_8BIT": Case(sign, lr=0.1),
    "LAMB_8BIT large": Case(sign, lr=0.1, large=True),
    "LARS": Case(momentum(0.9), lr=0.1, options={"momentum": 0.9, "max_unorm": 0.02}),
    "LARS_8BIT": Case(momentum(0.9), lr=0.1, options={"momentum": 0.9}),
    "LARS_8BIT large": Case(momentum(0.9), lr=0.1, options={"momentum": 0.9}, large=True),
    "PRODIGY": Case(ProdigyDirection(), options=PRODIGY, sleeps=True, **EXACT),
    "PRODIGY corrected": Case(
        ProdigyDirection(), options={**PRODIGY, "use_bias_correction": True}, sleeps=True, **EXACT
    ),
    "DADAPT_ADAM": Case(folded(0.9, 0.999, 1e-8), sleeps=True, **EXACT),
    "DADAPT_ADAM corrected": Case(
        folded(0.9, 0.999, 1e-8), options={"use_bias_correction": True}, sleeps=True, **EXACT
    ),
    "DADAPT_ADAN": Case(folded(0.98, 0.99, 1e-8), options={"weight_decay": 0.0}, **EXACT),
    "DADAPT_LION": Case(sign, **EXACT),
    "DADAPT_SGD": Case(plain, courses=("falling",), **EXACT),  # it raises at a rate of 0
    "DADAPT_SGD momentum": Case(averaged(plain, 0.9), options={"momentum": 0.9}, courses=("falling",), **EXACT),
    "ADAMW_ADV": Case(sign),
    "ADAMW_ADV arctangent": Case(
        lambda g, t, opt: arctangent(g * (1 - 0.9**t), g.abs()) / (1 - 0.9**t), options={"use_atan2": True}
    ),
    "ADAMW_ADV mixed": Case(
        lambda g, t, opt: g.sign() * (1 + 5 * (1 - 0.8**t) / (1 - 0.9**t)),
        options={"use_AdEMAMix": True, "beta3_ema": 0.8},
    ),
    "ADOPT_ADV": Case(lambda g, t, opt: g.sign() * (1 - 0.9 ** (t - 1)), still=True),
    "ADOPT_ADV arctangent": Case(averaged(sign, 0.9), options={"use_atan2": True}),
    "ADOPT_ADV simplified": Case(  # it divides by the weights of one step more than it has summed
        lambda g, t, opt: g.sign() * (full(0.9, t - 1) + 3) / (full(0.9, t) + 3),
        options={"Simplified_AdEMAMix": True, "alpha_grad": 3.0},
        still=True,
    ),
    "PRODIGY_ADV": Case(ProdigyAdvDirection(lambda m, scale, g, t: m / scale), options=PRODIGY, **EXACT),
    "PRODIGY_ADV arctangent": Case(
        ProdigyAdvDirection(lambda m, scale, g, t: arctangent(m, scale)),
        options={**PRODIGY, "use_atan2": True},
        **EXACT,
    ),
    "PRODIGY_ADV simplified": Case(
        ProdigyAdvDirection(lambda m, scale, g, t: (10 * m + 3 * g) / scale / (full(0.9, t) + 3)),
        options={**PRODIGY, "Simplified_AdEMAMix": True, "alpha_grad": 3.0},
        **EXACT,
    ),
    "LION_ADV": Case(sign),
    "SIGNSGD_ADV": Case(sign),
    "SIGNSGD_ADV simplified": Case(sign, options={"Simplified_AdEMAMix": True}),
    "MUON": Case(sign, options={"muon_adam_lr": 0.01}),  # vectors go to the auxiliary Adam
    "MUON_ADV": Case(sign),
    "ADAMUON_ADV": Case(sign),
    "MUON_ADV arctangent": Case(
        averaged_arctangent, options={"adam_use_atan2": True, "adam_beta1": 0.8, "adam_beta2": 0.9}
    ),
    "ADAFACTOR": Case(sign, options={"relative_step": False, "scale_parameter": False}),
    "ADAFACTOR momentum": Case(
        averaged(sign, 0.9), options={"relative_step": False, "scale_parameter": False, "beta1": 0.9}
    ),
    "ADAFACTOR relative": Case(sign, options=RELATIVE, courses=("adafactor",)),
    "ADAFACTOR warming": Case(sign, options={**RELATIVE, "warmup_init": True}, dtype=F64, courses=("adafactor",)),
    "ADAFACTOR scaled": Case(
        sign, options={**RELATIVE, "scale_parameter": True}, courses=("adafactor",), tolerance=2e-3
    ),
    "ADAFACTOR least": Case(  # both tensors are smaller than eps2
        sign, options={"relative_step": False, "scale_parameter": True, "eps2": 3.0}, dtype=F64
    ),
    "ADAFACTOR scaled momentum": Case(
        averaged(sign, 0.9), options={"relative_step": False, "scale_parameter": True, "beta1": 0.9}
    ),
    "SCHEDULE_FREE_ADAMW": Case(sign, dtype=F64, at_z=True),
    "SCHEDULE_FREE_ADAMW one by one": Case(sign, options={"foreach": False, "r": 1.0}, dtype=F64, at_z=True),
    "SCHEDULE_FREE_SGD": Case(plain, dtype=F64, at_z=True),
    "PRODIGY_PLUS_SCHEDULE_FREE": Case(PlusDirection(), lr=1.0, options=PLUS, at_z=True),
    "PRODIGY_PLUS_SCHEDULE_FREE clipped": Case(
        PlusDirection(clipped=True), lr=1.0, options={**PLUS, "use_stableadamw": True}, at_z=True
    ),
    "PRODIGY_PLUS_SCHEDULE_FREE speed": Case(PlusDirection(), lr=1.0, options={**PLUS, "use_speed": True}, at_z=True),
    "PRODIGY_PLUS_SCHEDULE_FREE momentum": Case(
        PlusDirection(0.9), lr=1.0, options={**PLUS, "use_schedulefree": False}
    ),
    "AdEMAMix": Case(ademamix(5, 0.99), options={"weight_decay": 0.0, "beta3": 0.99}),
    "AdEMAMix warming": Case(ademamix(5, 0.99, t_alpha=4), options={"weight_decay": 0.0, "beta3": 0.99, "t_alpha": 4}),
    "AdEMAMix_8BIT": Case(ademamix(5, 0.99), options={"weight_decay": 0.0, "beta3": 0.99}),
    "AdEMAMix_8BIT large": Case(ademamix(5, 0.99), options={"weight_decay": 0.0, "beta3": 0.99}, large=True),
    "ADOPT": Case(adopt(0.9), still=True),
    "ADABELIEF": Case(belief(0.9, 0.999, 1e-16), dtype=F64, tolerance=1e-6),
    "ADABELIEF rectified": Case(
        belief(0.9, 0.99, 1e-16, threshold=5), options={"rectify": True, "beta2": 0.99}, dtype=F64, tolerance=1e-6
    ),
    "ADABELIEF rectified late": Case(
        belief(0.9, 0.99, 1e-16, threshold=5),
        options={"rectify": True, "beta2": 0.99, "degenerated_to_sgd": False},
        dtype=F64,
        tolerance=1e-6,
        still=True,
    ),
    # Momentum and gradient are parallel here, and two projections of parallel vectors change neither.
    "AIDA": Case(belief(0.9, 0.999, 1e-8), dtype=F64, tolerance=1e-5),
    "AIDA rectified": Case(
        belief(0.9, 0.99, 1e-8, threshold=5),
        options={"k": 0, "rectify": True, "beta2": 0.99},
        dtype=F64,
        tolerance=1e-5,
    ),
    "AIDA debiased": Case(
        belief(0.9, 0.99, 1e-8, debias=True),
        options={"k": 0, "adam_debias": True, "beta2": 0.99},
        dtype=F64,
        tolerance=1e-5,
    ),
    "YOGI": Case(yogi(1e-6, 0.9, 0.999, 1e-3), dtype=F64, tolerance=1e-6),
    "TIGER": Case(sign, options={"weight_decay": 0.0}),
    "SOAP": Case(sign, dtype=F64, options={"weight_decay": 0.0}, still=True, tolerance=1e-6),
    "SOAP raw": Case(
        lambda g, t, opt: g.sign() * (1 - 0.95 ** (t - 1)) / math.sqrt(1 - 0.95 ** max(t - 1, 1)),
        options={"weight_decay": 0.0, "bias_correction": False},
        dtype=F64,
        still=True,
        tolerance=1e-6,
    ),
    "SOAP normalised": Case(  # an update of root mean square 1, whatever the averages hold
        sign, options={"weight_decay": 0.0, "normalize_gradient": True}, dtype=F64, still=True, tolerance=1e-6
    ),
    "SOAP turned": Case(  # all of a steady gradient lies in one direction of the turned coordinates
        lambda g, t, opt: g / g.norm(),
        options={"weight_decay": 0.0, "precondition_1d": True},
        dtype=F64,
        still=True,
        tolerance=1e-6,
    ),
    "SCHEDULE_FREE_RADAM": Case(sign, dtype=F64, at_z=True, still=True, tolerance=1e-6),
    "SCHEDULE_FREE_RADAM from the first step": Case(  # SGD's steps until the squared average is trusted
        lambda g, t, opt: g if t < 5 else g.sign(),
        options={"silent_sgd_phase": False, "foreach": False},
        dtype=F64,
        at_z=True,
        tolerance=1e-6,
    ),
    "CAME": Case(averaged(sign, 0.9)),
    "CAME_8BIT": Case(averaged(sign, 0.9)),
}
NO_CLOSED_FORM = {"DADAPT_ADA_GRAD": "dual averaging has no rate of a single step; d · lr is shown and said to be that"}


def usual(key):
    """What is expected of an optimizer without a case of its own: Adam's step, as large as the rate wherever g is steady."""
    decay = {use.name: 0.0 for use in dw.spec(key).uses if use.name == "weight_decay"}
    return Case(sign, dtype=F64, options=decay, tolerance=1e-6)


def key_of(name):
    return name.split(" ")[0]


CASES |= {key: usual(key) for key in dw.list_optimizers() if key not in {*map(key_of, CASES), *NO_CLOSED_FORM}}


def parameters(dtype):
    starts = (torch.linspace(0.25, 0.75, 12), torch.linspace(-1.0, 2.0, 7))
    return [torch.nn.Parameter(start.to(dtype)) for start in starts]


def made(name, course):
    """The parameters of a case and their constant gradients, one more where a large one is wanted."""
    case = CASES[name]
    params, gradients = parameters(case.dtype), [g.to(case.dtype) for g in GRADIENTS]
    if case.large:  # all its gradients are the same, so that 8 bits hold the states exactly
        params.append(torch.nn.Parameter(torch.full((LARGE,), 0.5)))
        gradients.append(torch.full((LARGE,), 0.7))
    return dw.Settings(key_of(name), lr=case.lr, **COURSES[course], **case.options), params, gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "course"), [(name, course) for name, case in CASES.items() for course in case.courses]
)
def test_the_rate_times_the_direction_is_the_movement(name, course):
    case = CASES[name]
    settings, params, gradients = made(name, course)
    optimizer = build_optimizer(settings, [{"params": [p]} for p in params])
    schedule = build_schedule(settings, optimizer, STEPS)
    meter = RateMeter(optimizer)
    counted = 0
    if isinstance(case.direction, ProdigyDirection):
        case.direction.past.clear()
    for step in range(1, STEPS + 1):
        lr = optimizer.param_groups[0]["lr"]
        before = [case.moving(optimizer, p).clone() for p in params]
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.clone()
        if not case.sleeps or lr > 0:
            counted += 1
            if isinstance(case.direction, ProdigyDirection):
                case.direction.past.append(optimizer.param_groups[0]["d"])
        meter.before()
        optimizer.step()
        rates = [float(rate) for rate in meter.after()]
        schedule.step()
        for p, old, g, rate in zip(params, before, gradients, rates, strict=True):
            moved = (case.moving(optimizer, p).double() - old.double()).norm()
            should = (rate * case.direction(g.double(), counted, optimizer)).norm()
            assert moved > 0 or lr == 0 or (case.still and rate == 0)
            assert moved > 0 or lr == 0 or rate == 0
            assert moved == pytest.approx(float(should), rel=case.tolerance), (
                f"step {step}: the weights moved {float(moved / should):.6g} times the rate {rate:.6g} that "
                f"{dw.spec(key_of(name)).rate} tells. Name another reader in `rate=` of the spec, or say in CASES how it moves"
            )


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADABELIEF", "AIDA"])
@pytest.mark.parametrize(("sgd", "first"), [(True, 0.01), (False, 0.0)])
def test_rectification_scales_the_rate_once_its_average_rests_on_enough_gradients(key, sgd, first):
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings(key, lr=0.01, rectify=True, degenerated_to_sgd=sgd), params)
    meter = RateMeter(optimizer)
    told = []
    for _ in range(560):
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        meter.before()
        before = params[0].detach().clone()
        optimizer.step()
        told.append(float(meter.after()[0]))
        assert torch.equal(before, params[0]) == (told[-1] == 0)
    assert told[:5] == [first] * 5
    # n is 5.9942 at step 6: the rectification of RAdam's paper, worked out by hand
    assert told[5] == pytest.approx(0.01 * math.sqrt(1.99416 * 3.99416 * 1999 / (1995 * 1997 * 5.99416)), rel=1e-4)
    assert told[-1] == pytest.approx(0.005, rel=0.01)
    assert "half their size after some 550 steps" in dw.spec(key).use("rectify").option.help


def test_the_rates_of_nadam_are_those_of_its_paper_and_its_help():
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings("NADAM", lr=0.01), params)
    told = []
    for _ in range(45):
        told.append(dw.applied_lr(optimizer)[0])
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        optimizer.step()
    # mu is 0.45 and creeps up: 1 + 0.45 · 0.1 / (1 − 0.45²), then 0.55 / 0.797 + 0.45 · 0.19 / (1 − 0.45³)
    assert told[:2] == [pytest.approx(0.010565, rel=1e-3), pytest.approx(0.007837, rel=1e-3)]
    assert [round(rate, 4) for rate in told[2:4]] == [0.0073, 0.0073]
    assert min(told) in told[2:4]
    assert told[40] == pytest.approx(0.01, rel=0.02)
    assert (
        "1.06 times the rate at the first step, 0.78 times at the second, 0.73 times at the third and the fourth"
        in dw.spec("NADAM").lr.note
    )


@pytest.mark.slow
def test_the_rate_of_schedule_free_radam_climbs_as_its_help_says():
    def told(beta2):
        params = parameters(F64)
        optimizer = build_optimizer(dw.Settings("SCHEDULE_FREE_RADAM", lr=0.01, beta2=beta2), params)
        for _ in range(600):
            yield dw.applied_lr(optimizer)[0]
            for p, g in zip(params, GRADIENTS, strict=True):
                p.grad = g.clone()
            optimizer.step()

    slow, quick = list(told(0.999)), list(told(0.99))
    assert slow[:4] == quick[:4] == [0.0] * 4
    assert 0 < slow[4] < 1e-3
    halves = [next(step for step, rate in enumerate(rates, start=1) if rate >= 0.005) for rates in (slow, quick)]
    assert halves == [pytest.approx(550, abs=10), 61]
    assert "some 550 steps at 0.999, after 61 at 0.99" in dw.spec("SCHEDULE_FREE_RADAM").use("beta2").note


def test_the_first_normalised_steps_of_soap_are_larger_than_the_rate_as_its_rule_says():
    params = parameters(F64)
    values = {"lr": 0.01, "weight_decay": 0.0, "normalize_gradient": True}
    optimizer = build_optimizer(dw.Settings("SOAP", **values), params)
    sizes = []
    for _ in range(7):
        before = [p.detach().clone() for p in params]
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        optimizer.step()
        sizes.append(
            [float((p.detach() - old).square().mean().sqrt()) / 0.01 for p, old in zip(params, before, strict=True)]
        )
    assert sizes[0] == [0, 0]
    assert sizes[1] == [pytest.approx(4.47, rel=0.01)] * 2
    assert sizes[5] == [pytest.approx(2.1, rel=0.01)] * 2
    (rule,) = dw.Settings("SOAP", **values).warnings()
    assert "more than four times at the second step and twice at the sixth" in rule.message


def test_a_gradient_that_outgrows_its_average_makes_a_smaller_step_of_stable_adamw():
    """The rate stays the schedule's; the update is divided by the root of the mean of g² / v, as the paper has it."""
    moves = []
    for growth in (1.0, 100.0):
        params = parameters(F64)
        optimizer = build_optimizer(dw.Settings("STABLE_ADAMW", lr=0.01, weight_decay=0.0), params)
        for step in range(20):
            before = params[0].detach().clone()
            for p, g in zip(params, GRADIENTS, strict=True):
                p.grad = g * (growth if step == 19 else 1.0)
            assert dw.applied_lr(optimizer) == [0.01]
            optimizer.step()
        moves.append(before - params[0].detach())
    torch.testing.assert_close(moves[0], torch.full((12,), 0.01, dtype=F64), rtol=1e-6, atol=0)

    def weight_of_newest(beta):  # after 20 steps of a corrected average
        return (1 - beta) / (1 - beta**20)

    mean, square = (1 + weight_of_newest(beta) * (growth**power - 1) for beta, power in ((0.9, 1), (0.99, 2)))
    clipped = 0.01 / max(1.0, growth / math.sqrt(square))
    assert clipped < 0.003
    torch.testing.assert_close(
        moves[1], torch.full((12,), clipped * mean / math.sqrt(square), dtype=F64), rtol=1e-6, atol=0
    )


def test_adopt_applies_nothing_at_its_first_step():
    params = parameters(torch.float32)
    optimizer = build_optimizer(dw.Settings("ADOPT", lr=0.01), params)
    assert dw.applied_lr(optimizer) == [0.0]
    for p, g in zip(params, GRADIENTS, strict=True):
        p.grad = g.float()
    optimizer.step()
    assert dw.applied_lr(optimizer) == [0.01]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["CAME", "CAME_8BIT"])
def test_the_first_steps_of_came_are_eleven_times_the_rate_in_a_matrix(key):
    generator = torch.Generator().manual_seed(0)
    p = torch.nn.Parameter(torch.randn(128, 128, generator=generator))
    optimizer = build_optimizer(dw.Settings(key, lr=0.01), [p])
    sizes = []
    for _ in range(300):
        p.grad = 0.5 + torch.randn(128, 128, generator=generator)
        before = p.detach().clone()
        optimizer.step()
        sizes.append(float((p.detach() - before).square().mean().sqrt() / 0.01))
    assert sizes[0] == pytest.approx(11.1, rel=0.01)
    assert sizes[-1] == pytest.approx(3.5, rel=0.1)
    assert "about 11 times the rate" in dw.spec(key).lr.note


@pytest.mark.parametrize("name", ["LAMB_8BIT large", "LARS_8BIT large"])
def test_the_large_tensor_has_8_bit_states_and_no_limit(name):
    settings, params, gradients = made(name, "falling")
    optimizer = build_optimizer(settings, [{"params": [p]} for p in params])
    meter = RateMeter(optimizer)
    for p, g in zip(params, gradients, strict=True):
        p.grad = g.clone()
    meter.before()
    optimizer.step()
    small, _, large = (float(rate) for rate in meter.after())
    assert optimizer.state[params[2]]["state1"].dtype == torch.uint8
    assert large == pytest.approx(settings.lr)
    assert small < 0.5 * settings.lr


@pytest.mark.parametrize("name", ["LAMB", "LARS", "ADAFACTOR scaled momentum"])
def test_tensors_of_one_group_are_told_as_the_mean_over_its_weights(name):
    settings, params, gradients = made(name, "falling")
    optimizer = build_optimizer(settings, params)
    meter = RateMeter(optimizer)
    for step in range(1, STEPS + 1):
        before = [p.detach().clone() for p in params]
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.clone()
        meter.before()
        optimizer.step()
        (told,) = (float(rate) for rate in meter.after())
        total = 0.0
        for p, old, g in zip(params, before, gradients, strict=True):
            direction = CASES[name].direction(g.double(), step, optimizer)
            total += p.numel() * float((p.detach().double() - old.double()).norm() / direction.norm())
        assert told == pytest.approx(total / sum(p.numel() for p in params), rel=2e-3)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("DADAPT_ADAM", {"lr": 1.0}),
        ("DADAPT_SGD", {"lr": 1.0, "momentum": 0.9}),
        ("ADAFACTOR", {"lr": 0.5, "relative_step": False, "scale_parameter": False, "beta1": 0.9}),
    ],
)
def test_asked_without_a_meter_it_is_the_rate_that_the_coming_gradient_enters_with(key, options):
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings(key, **options), params)
    norm = math.sqrt(sum(float((g * g).sum()) for g in GRADIENTS)) if key == "DADAPT_SGD" else 1.0
    for lr in (0.5, 0.25, 0.125):
        optimizer.param_groups[0]["lr"] = lr
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        optimizer.step()
    assert dw.applied_lr(optimizer) == [pytest.approx(0.125 * optimizer.param_groups[0].get("d", 1.0) / norm)]


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


@pytest.mark.parametrize("key", [key for key in dw.list_optimizers() if dw.spec(key).estimates_rate])
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
        # no growth limit but d_limiter: the new estimate is the larger of the old one and the raw one
        most = 2**0.25 * held if key == "PRODIGY_PLUS_SCHEDULE_FREE" else math.inf
        exact = 1e-6 if key == "PRODIGY_ADV" else 1e-9  # that one sums in 32 bits
        assert after == pytest.approx(max(held, min(most, d_hat)), rel=exact)
        grew = grew or after > held
    assert grew


def test_the_rate_of_prodigy_with_bias_correction():
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings("PRODIGY", use_bias_correction=True), params)
    for p, g in zip(params, GRADIENTS, strict=True):
        p.grad = g.clone()
    # d0 · lr · sqrt(1 − β2) / (1 − β1) at the first step
    assert dw.applied_lr(optimizer) == [pytest.approx(1e-6 * math.sqrt(0.001) / 0.1)]


@pytest.mark.parametrize("key", ["LION_ADV", "SIGNSGD_ADV"])
def test_convolutions_on_the_sphere_move_as_far_as_signs_would(key):
    options = {"auto_kappa_p": True} if key == "LION_ADV" else {}
    weight = torch.nn.Parameter(torch.linspace(-1.0, 1.0, 90).reshape(5, 2, 3, 3))
    optimizer = build_optimizer(dw.Settings(key, lr=0.01, **options), [weight])
    meter = RateMeter(optimizer)
    for step in range(STEPS):
        before = weight.detach().clone()
        weight.grad = torch.cos(before * (1 + step))
        meter.before()
        optimizer.step()
        moved = before - weight.detach()
        assert float(moved.norm()) == pytest.approx(float(meter.after()[0]) * math.sqrt(90), rel=1e-4)
        assert moved.abs().max() > 1.2 * moved.abs().min(), "not the sign alone"


@pytest.mark.parametrize("key", ["ADAMW_ADV", "LION_ADV", "SIGNSGD_ADV"])
def test_an_orthogonal_gradient_turns_the_step_and_keeps_its_rate(key):
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(30, dtype=F64, generator=generator))
    weight.grad = weight.detach() + torch.randn(30, dtype=F64, generator=generator)
    before, plain = weight.detach().clone(), weight.grad.sign()
    optimizer = build_optimizer(dw.Settings(key, lr=0.01, orthogonal_gradient=True), [weight])
    optimizer.step()
    moved = before - weight.detach()
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.01), rtol=1e-6, atol=0.0)
    assert dw.applied_lr(optimizer) == [0.01]
    assert not torch.equal(moved.sign(), plain)


def test_parts_with_rates_of_their_own_share_the_estimate_of_prodigy_adv():
    params = parameters(F64)
    groups = [{"params": [params[0]]}, {"params": [params[1]], "lr": 0.25}]
    optimizer = build_optimizer(dw.Settings("PRODIGY_ADV"), groups)
    meter, direction = RateMeter(optimizer), CASES["PRODIGY_ADV"].direction
    direction.past.clear()
    for step in range(1, STEPS + 1):
        before = [p.detach().clone() for p in params]
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        direction.past.append(optimizer.param_groups[0]["d"])
        meter.before()
        optimizer.step()
        rates = meter.after()
        assert rates == (direction.past[-1], 0.25 * direction.past[-1])
        for p, old, g, rate in zip(params, before, GRADIENTS, rates, strict=True):
            should = rate * direction(g, step, optimizer)
            torch.testing.assert_close(old - p.detach(), should, rtol=1e-6, atol=1e-15)


def test_prodigy_adv_estimates_nothing_once_it_has_stopped():
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings("PRODIGY_ADV", prodigy_steps=3), params)
    meter, seen = RateMeter(optimizer), []
    for _ in range(6):
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        meter.before()
        optimizer.step()
        seen.append((meter.d, meter.d_hat() is None))
    assert [stopped for _, stopped in seen] == [False, False, False, True, True, True]
    assert seen[2][0] < seen[3][0] == seen[4][0] == seen[5][0]


@pytest.mark.parametrize("limit", [True, False])
def test_d_hat_of_prodigy_adv_is_what_came_out_before_its_limit(limit):
    params = parameters(F64)
    optimizer = build_optimizer(dw.Settings("PRODIGY_ADV", d_limiter=limit, d_coef=2.0), params)
    meter, limited = RateMeter(optimizer), 0
    for _ in range(8):
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        meter.before()
        optimizer.step()
        after = optimizer.param_groups[0]["d"]
        most = meter.d * 2**0.25 if limit else math.inf
        expected = max(meter.d, min(float(meter.d_hat()), most))
        assert after == pytest.approx(expected, rel=1e-6)
        limited += float(meter.d_hat()) > after * 1.01
    assert (limited > 2) == limit


def test_adopt_adv_applies_nothing_while_it_measures():
    a, b = parameters(F64)
    optimizer = build_optimizer(dw.Settings("ADOPT_ADV", lr=0.01), [a, b])
    meter, told = RateMeter(optimizer), []
    assert dw.applied_lr(optimizer) == [0.0]
    for step in range(4):
        a.grad = torch.ones_like(a)
        b.grad = torch.ones_like(b) if step else None  # the second tensor begins a step later
        before = [a.detach().clone(), b.detach().clone()]
        meter.before()
        optimizer.step()
        moved = [not torch.equal(old, p.detach()) for old, p in zip(before, (a, b), strict=True)]
        told.append((moved, meter.after()[0]))
    assert [moved for moved, _ in told] == [[False, False], [True, False], [True, True], [True, True]]
    assert [rate for _, rate in told] == [0.0, pytest.approx(0.01 * 12 / 19), 0.01, 0.01]
    with_arctangent = build_optimizer(dw.Settings("ADOPT_ADV", lr=0.01, use_atan2=True), [a])
    assert dw.applied_lr(with_arctangent) == [0.01]


def test_adafactor_without_relative_step_applies_its_learning_rate():
    settings = dw.Settings("ADAFACTOR", lr=3e-4, relative_step=False, scale_parameter=False)
    assert dw.applied_lr(build_optimizer(settings, parameters(torch.float32))) == [3e-4]


def test_a_class_outside_the_catalogue_that_is_known_to_apply_its_groups_rates_shows_them():
    a, b = parameters(torch.float32)
    optimizer = torch.optim.Adamax([{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.2}])
    assert dw.applied_lr(optimizer) == [0.1, 0.2]


SHAPES = ((40, 10), (10, 40), (16, 16), (12, 4, 3, 5))
MATRICES = {
    # what the movement divided by the rate must be: an orthogonal matrix, or one of root mean square 1
    "MUON": ({}, "orthogonal"),
    "MUON_ADV": ({}, "rms"),
    "MUON_ADV normuon": ({"normuon_variant": True}, "rms"),
    "MUON_ADV plain": ({"rms_rescaling": False}, "orthogonal"),
    "MUON_ADV accelerated": ({"rms_rescaling": False, "accelerated_ns": True, "ns_steps": 15}, "orthogonal"),
    "MUON_ADV factored": ({"nnmf_factor": True}, "rms"),
    "ADAMUON_ADV": ({}, "rms"),
    "ADAMUON_ADV arctangent": ({"use_atan2": True}, "rms"),
    "ADAMUON_ADV normuon arctangent": ({"use_atan2": True, "normuon_variant": True}, "rms"),
    "ADAMUON_ADV factored": ({"nnmf_factor": True}, "rms"),
}


@pytest.mark.parametrize("course", ORDINARY)
@pytest.mark.parametrize("name", MATRICES)
def test_muons_rate_is_the_size_of_what_moves_its_matrices(name, course):
    options, law = MATRICES[name]
    params = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    settings = dw.Settings(key_of(name), lr=0.01, **COURSES[course], **options)
    optimizer = build_optimizer(settings, [{"params": [(f"w{i}", p)]} for i, p in enumerate(params)])
    assert all(group["use_muon"] for group in optimizer.param_groups)
    schedule = build_schedule(settings, optimizer, STEPS)
    meter = RateMeter(optimizer)
    for step in range(STEPS):
        before = [p.detach().clone() for p in params]
        for i, p in enumerate(params):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * step + i))
        lr = optimizer.param_groups[0]["lr"]
        read = [float(rate) for rate in meter.before()]
        optimizer.step()
        assert [float(rate) for rate in meter.after()] == read
        schedule.step()
        for p, old, rate in zip(params, before, read, strict=True):
            moved = (p.detach().double() - old.double()).flatten(1)
            if lr == 0:
                assert rate == 0
                assert not moved.any()
            elif law == "rms":
                assert moved.square().mean().sqrt() == pytest.approx(rate, rel=1e-4)
            else:
                singular = torch.linalg.svdvals(moved) / rate
                assert singular.max() < 1.3
                assert singular.median() > 0.6


def test_muons_rate_without_rescaling_follows_the_shape_and_with_it_does_not():
    def rates(key, **options):
        groups = [{"params": [(f"w{i}", torch.nn.Parameter(torch.zeros(shape)))]} for i, shape in enumerate(SHAPES)]
        return dw.applied_lr(build_optimizer(dw.Settings(key, lr=0.01, **options), groups))

    shaped = [0.02, 0.01, 0.01, 0.01]  # 0.01 times the root of 40 / 10, where there are more rows than columns
    assert rates("MUON") == pytest.approx(shaped)
    assert rates("MUON_ADV", rms_rescaling=False) == pytest.approx(shaped)
    assert rates("MUON_ADV") == pytest.approx([0.002] * 4)
    assert rates("ADAMUON_ADV", use_atan2=True) == pytest.approx([0.002 * 4 / math.pi] * 4)
    assert rates("ADAMUON_ADV", use_atan2=True, rms_rescaling=False) == pytest.approx(shaped)


@pytest.mark.parametrize("key", ["MUON_ADV", "ADAMUON_ADV"])
@pytest.mark.parametrize("options", [{}, {"normuon_variant": True}, {"nnmf_factor": True}], ids=str)
def test_the_scale_for_the_shape_is_what_the_package_multiplies_by(key, options):
    """The update before it is scaled is seen at the same gradient with RMS rescaling, which keeps its direction."""
    moves, scales = [], []
    for rescaled in (True, False):
        weight = torch.nn.Parameter(torch.zeros(45, 4, 5, 3))
        settings = dw.Settings(key, lr=1.0, rms_rescaling=rescaled, **options)
        optimizer = build_optimizer(settings, [("w", weight)])
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        scales += dw.applied_lr(optimizer)
        optimizer.step()
        moves.append(weight.detach().double().norm() / weight.numel() ** 0.5)
    # After one step from an empty state: NorMuon and AdaMuon make a root mean square of 1 / √(1 − beta2), Muon of about
    # 1 / √(longer side), within what five steps of the iteration leave.
    sides = {True: (60, 45), False: (45, 60)}["nnmf_factor" in options]
    divided = key == "ADAMUON_ADV" or "normuon_variant" in options
    size, tolerance = (0.05**-0.5, 0.02) if divided else (max(sides) ** -0.5, 0.2)
    assert moves[0] == pytest.approx(scales[0], rel=1e-4)
    assert moves[1] == pytest.approx(scales[1] * size, rel=tolerance)


@pytest.mark.parametrize("key", ["MUON", "MUON_ADV", "ADAMUON_ADV"])
def test_matrices_of_one_group_are_told_as_the_mean_over_its_weights(key):
    options = {} if key == "MUON" else {"rms_rescaling": False, "normuon_variant": True}
    params = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((40, 10), (10, 10))]
    pairs = [(f"w{i}", p) for i, p in enumerate(params)]
    (told,) = dw.applied_lr(build_optimizer(dw.Settings(key, lr=0.01, **options), pairs))
    assert told == pytest.approx(0.01 * (400 * 2 + 100) / 500)


class Labelled(prodigyopt.Prodigy):
    """Prodigy with a name, as people subclass it."""

    label = "unet"


class Holding:
    """A wrapper with an optimizer inside, as trainers have them."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def __getattr__(self, name):
        return getattr(self.optimizer, name)


def test_a_subclass_and_a_wrapped_optimizer_are_read_like_what_they_are():
    params = parameters(F64)
    optimizer = Labelled(params, lr=1.0)
    for _ in range(6):
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        optimizer.step()
    (group,) = optimizer.param_groups
    assert group["d"] < 1e-3
    assert dw.applied_lr(optimizer) == [group["d"]]
    assert dw.applied_lr(Holding(optimizer)) == [group["d"]]
    entering = group["d"]
    with dw.watch(optimizer) as w:
        for p, g in zip(params, GRADIENTS, strict=True):
            p.grad = g.clone()
        optimizer.step()
        w.log(loss=1.0)
    assert w.history.column("applied_lr").tolist() == [[entering]]
    assert group["d"] > entering, "the rate is read before the step"
