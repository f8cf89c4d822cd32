"""Our optimizers from Settings against the back ends built by hand: the same path, step for step.

And what the catalogue says in words about AdEMAMix, ADOPT, AdaBelief, Tiger, Aida, Yogi and CAME, seen in runs.
"""

from itertools import pairwise

import bitsandbytes
import came_pytorch
import pytest
import pytorch_optimizer
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import spec
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.optimizers.factory import build_optimizer, load_class
from diffopt_widgets.settings import SettingsError

STEPS = 50


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((80, 64), (64,), (8, 4, 3, 3))
    return [torch.nn.Parameter((0.3 * torch.randn(shape, generator=generator)).to(dtype)) for shape in shapes]


def walk(optimizer, params, steps=STEPS, noise=1.0, first=0):
    """Train on gradients that pull toward zero, with noise; all parameters as one vector."""
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        scale = 1.0 if step % 3 == 0 else 0.1  # gradients of changing size
        for p in params:
            random = torch.randn(p.shape, generator=generator)
            p.grad = (scale * (p.detach().float() + noise * random)).to(p.dtype)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params])


def both(key, options, cls, arguments, **how):
    """The path of our settings and that of the back end with the arguments given by hand."""
    ours, theirs = parameters(), parameters()
    path = walk(build_optimizer(dw.Settings(key, **options), ours), ours, **how)
    return path, walk(cls(theirs, **arguments), theirs, **how)


PO, BNB = pytorch_optimizer, bitsandbytes.optim
CASES = {
    "AdEMAMix": ({}, BNB.AdEMAMix, {}),
    "AdEMAMix set": (
        {"lr": 0.01, "beta1": 0.8, "beta2": 0.99, "beta3": 0.95, "alpha": 8.0, "eps": 1e-6, "weight_decay": 0.1},
        BNB.AdEMAMix,
        {"lr": 0.01, "betas": (0.8, 0.99, 0.95), "alpha": 8.0, "eps": 1e-6, "weight_decay": 0.1},
    ),
    "AdEMAMix warming": ({"t_alpha": 30, "t_beta3": 20}, BNB.AdEMAMix, {"t_alpha": 30, "t_beta3": 20}),
    "AdEMAMix 8-bit": ({"optim_bits": 8}, BNB.AdEMAMix8bit, {}),
    "AdEMAMix_8BIT": ({}, BNB.AdEMAMix8bit, {}),
    "AdEMAMix_8BIT set": (
        {"beta3": 0.99, "t_alpha": 30, "t_beta3": 30, "min_8bit_size": 64, "weight_decay": 0.0},
        BNB.AdEMAMix8bit,
        {"betas": (0.9, 0.999, 0.99), "t_alpha": 30, "t_beta3": 30, "min_8bit_size": 64, "weight_decay": 0.0},
    ),
    "ADOPT": ({}, PO.ADOPT, {}),
    "ADOPT set": (
        {
            "lr": 0.01,
            "beta1": 0.8,
            "beta2": 0.99,
            "eps": 1e-3,
            "weight_decay": 0.1,
            "decoupled_decay": True,
            "cautious": True,
        },
        PO.ADOPT,
        {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1, "weight_decouple": True, "cautious": True},
    ),
    "ADABELIEF": ({}, PO.AdaBelief, {}),
    "ADABELIEF set": (
        {"weight_decay": 0.01, "fixed_decay": True, "rectify": True, "degenerated_to_sgd": False, "n_sma_threshold": 9},
        PO.AdaBelief,
        {"weight_decay": 0.01, "fixed_decay": True, "rectify": True, "degenerated_to_sgd": False, "n_sma_threshold": 9},
    ),
    "ADABELIEF bounded": ({"amsgrad": True, "beta2": 0.5}, PO.AdaBelief, {"ams_bound": True, "betas": (0.9, 0.5)}),
    "TIGER": ({}, PO.Tiger, {}),
    "TIGER set": (
        {"lr": 3e-4, "beta1": 0.9, "weight_decay": 0.1, "decoupled_decay": False},
        PO.Tiger,
        {"lr": 3e-4, "beta": 0.9, "weight_decay": 0.1, "weight_decouple": False},
    ),
    "AIDA": ({}, PO.Aida, {}),
    "AIDA set": (
        {"k": 1, "xi": 1e-3, "adanorm": True, "r": 0.8, "adam_debias": True, "rectify": True, "ams_bound": True},
        PO.Aida,
        {
            "k": 1,
            "xi": 1e-3,
            "adanorm": True,
            "adanorm_r": 0.8,
            "adam_debias": True,
            "rectify": True,
            "ams_bound": True,
        },
    ),
    "YOGI": ({}, PO.Yogi, {}),
    "YOGI set": (
        {"initial_accumulator": 0.1, "eps": 1e-6, "adam_debias": True, "weight_decay": 0.1, "decoupled_decay": False},
        PO.Yogi,
        {"initial_accumulator": 0.1, "eps": 1e-6, "adam_debias": True, "weight_decay": 0.1, "weight_decouple": False},
    ),
    "CAME": ({}, came_pytorch.CAME, {"lr": 2e-4}),
    "CAME set": (
        {"lr": 1e-3, "beta1": 0.8, "beta2": 0.99, "beta3": 0.999, "eps": 1e-8, "eps2": 1e-6, "clip_threshold": 0.5},
        came_pytorch.CAME,
        {"lr": 1e-3, "betas": (0.8, 0.99, 0.999), "eps": (1e-8, 1e-6), "clip_threshold": 0.5},
    ),
    "CAME_8BIT": ({}, came_pytorch.CAME, {"lr": 2e-4}),  # every tensor here is below its min_8bit_size
    "CAME_8BIT set": (
        {"lr": 1e-3, "beta1": 0.8, "eps2": 1e-6, "clip_threshold": 0.5, "weight_decay": 0.1},
        came_pytorch.CAME,
        {"lr": 1e-3, "betas": (0.8, 0.999, 0.9999), "eps": (1e-30, 1e-6), "clip_threshold": 0.5, "weight_decay": 0.1},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_settings_walk_the_path_of_the_back_end_built_by_hand(name):
    key = name.split(" ", maxsplit=1)[0]
    ours, theirs = both(key, *CASES[name])
    assert torch.isfinite(ours).all()
    assert torch.equal(ours, theirs)
    if " " in name:
        defaults, _ = both(key, {}, *CASES[name][1:])
        assert not torch.equal(ours, defaults), "the options do something"


def test_every_optimizer_here_is_compared_at_its_defaults_and_away_from_them():
    ours = {key for key in dw.list_optimizers() if key in CASES}
    assert {name.split(" ")[0] for name in CASES if " " in name} == ours
    assert len(ours) == 9


# ---------------------------------------------------------------------------------------------------- hidden arguments


@pytest.mark.parametrize("key", ["ADOPT", "ADABELIEF", "TIGER", "AIDA", "YOGI"])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "decoupled_decay": True}])
def test_stepping_all_tensors_in_one_call_changes_only_rounding(key, options):
    paths = []
    for foreach in (True, False):
        params = parameters()
        optimizer = build_optimizer(dw.Settings(key, **options), params)
        optimizer.foreach = foreach
        for group in optimizer.param_groups:
            group["foreach"] = foreach
        paths.append(walk(optimizer, params))
    torch.testing.assert_close(*paths, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", ["ADOPT", "ADABELIEF", "TIGER", "AIDA", "YOGI"])
def test_an_unknown_keyword_is_taken_and_changes_nothing(key):
    _, plain = both(key, {}, getattr(PO, spec(key).target.split(":")[1]), {})
    _, other = both(key, {}, getattr(PO, spec(key).target.split(":")[1]), {"no_such_thing": 3})
    assert torch.equal(plain, other)


# ---------------------------------------------------------------------------------------------------- claims in words


def slow_average(optimizer, p):
    """AdEMAMix's slow average in 32 bits."""
    state = optimizer.state[p]
    if state["state1"].dtype == torch.float32:
        return state["state1"][1]
    return bitsandbytes.functional.dequantize_blockwise(
        state["state1"][1].contiguous(), absmax=state["absmax1"][1], code=state["qmap1"], blocksize=256
    )


def effective_beta3(steps, **options):
    """How much of the slow average is kept at each step, seen from how it moves under a constant gradient of 1."""
    p = torch.nn.Parameter(torch.zeros(4, dtype=torch.float32))
    optimizer = build_optimizer(dw.Settings("AdEMAMix", **options), [p])
    gaps = [1.0]
    for _ in range(steps):
        p.grad = torch.ones(4)
        optimizer.step()
        gaps.append(1.0 - float(slow_average(optimizer, p)[0]))
    return [after / before for before, after in pairwise(gaps)]


def test_beta3_rises_from_beta1_to_its_value_in_its_warm_up():
    betas = effective_beta3(60, t_beta3=40, beta3=0.99)
    assert betas[0] == pytest.approx(0.92, abs=0.01)  # one fortieth of the way, in the logarithm of its half-life
    assert all(after > before - 1e-3 for before, after in pairwise(betas))
    assert betas[39:] == pytest.approx([0.99] * 21, abs=2e-3)


def test_the_memory_breaks_down_where_beta1_lies_above_beta3():
    with pytest.raises(SettingsError, match="goes from beta1 up to beta3"):
        dw.Settings("AdEMAMix", t_beta3=40, beta1=0.99, beta3=0.9)
    p = torch.nn.Parameter(torch.zeros(4))
    optimizer = BNB.AdEMAMix([p], betas=(0.99, 0.999, 0.9), t_beta3=40)
    gaps = [1.0]
    for _ in range(44):
        p.grad = torch.ones(4)
        optimizer.step()
        gaps.append(1.0 - float(slow_average(optimizer, p)[0]))
    assert gaps[44] / gaps[43] < 0.5


def test_ademamix_without_its_slow_average_is_adamw():
    path, _ = both("AdEMAMix", {"alpha": 0.0}, BNB.AdEMAMix, {"alpha": 0.0})
    params = parameters()
    adamw = walk(torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01), params)
    torch.testing.assert_close(path, adamw, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_slow_average_in_8_bits_falls_behind_where_noise_does_not_carry_it_on(seed):
    sizes = {}
    for noise in (0.0, 1.0):
        averages = []
        for key in ("AdEMAMix", "AdEMAMix_8BIT"):
            generator = torch.Generator().manual_seed(seed)
            steady = torch.randn(4096, generator=generator)
            p = torch.nn.Parameter(torch.zeros(4096))
            optimizer = build_optimizer(dw.Settings(key), [p])
            for _ in range(1000):
                p.grad = steady + noise * torch.randn(4096, generator=generator)
                optimizer.step()
            averages.append(slow_average(optimizer, p))
        exact, rough = averages
        sizes[noise] = float(rough.norm() / exact.norm())
    assert 0.5 < sizes[0.0] < 0.85
    assert sizes[1.0] == pytest.approx(1.0, abs=0.05)
    assert "a fifth to a half too small after 1,000 steps" in spec("AdEMAMix_8BIT").use("beta3").note


def update_size(key, steps=300, noise=1.0, **options):
    """The root mean square of a step over the learning rate, under nothing but noise of this size."""
    generator = torch.Generator().manual_seed(0)
    p = torch.nn.Parameter(torch.zeros(80, 64))
    optimizer = build_optimizer(dw.Settings(key, lr=1e-3, **options), [p])
    for _ in range(steps):
        p.grad = noise * torch.randn(80, 64, generator=generator)
        before = p.detach().clone()
        optimizer.step()
    return float((p.detach() - before).square().mean().sqrt()) / 1e-3


@pytest.mark.slow
def test_aida_steps_are_larger_and_grow_with_k():
    adam = update_size("ADAM")
    assert 4 < update_size("AIDA") / adam < 6
    assert update_size("AIDA", k=0) < update_size("AIDA", k=1) < update_size("AIDA", k=2) < update_size("AIDA", k=5)
    assert update_size("AIDA", k=0) == pytest.approx(update_size("ADABELIEF"), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "floor"), [("AIDA", 0.003), ("ADABELIEF", 3e-7)])
def test_epsilon_is_the_least_that_a_gradient_is_divided_by(key, floor):
    assert f"At the defaults the least divisor is {format_value(floor)}" in spec(key).use("eps").note
    p = torch.nn.Parameter(torch.zeros(8))
    optimizer = build_optimizer(dw.Settings(key), [p])
    for _ in range(10_000):
        p.grad = torch.zeros(8)
        optimizer.step()
    least = float(optimizer.state[p]["exp_avg_var"][0]) ** 0.5
    assert least == pytest.approx(floor, rel=0.06)


@pytest.mark.slow
def test_aida_hardly_moves_weights_with_small_gradients_until_epsilon_is_small():
    assert update_size("AIDA", noise=1e-4) < 0.05
    assert update_size("AIDA", noise=1e-4, eps=1e-16) == pytest.approx(update_size("AIDA", eps=1e-16), rel=0.05)


def test_adam_debias_starts_at_a_tenth_and_reaches_nine_tenths_after_22_steps():
    def first(steps, key):
        return update_size(key, steps, adam_debias=True) / update_size(key, steps)

    for key in ("AIDA", "YOGI"):
        assert first(1, key) == pytest.approx(0.1, rel=1e-3)
        assert first(22, key) == pytest.approx(0.9, rel=0.01)


@pytest.mark.parametrize("key", ["ADOPT", "ADABELIEF", "TIGER", "YOGI"])
def test_fixed_decay_halves_a_weight_in_69_steps_whatever_the_rate(key):
    p = torch.nn.Parameter(torch.ones(8))
    options = {"weight_decay": 0.01, "fixed_decay": True, "decoupled_decay": True}
    optimizer = build_optimizer(dw.Settings(key, lr=1e-9, **options), [p])
    for _ in range(69):
        p.grad = torch.zeros(8)
        optimizer.step()
    assert p.detach() == pytest.approx(torch.full((8,), 0.5), rel=1e-2)


@pytest.mark.parametrize("key", ["ADOPT", "ADABELIEF", "TIGER", "AIDA", "YOGI"])
def test_fixed_decay_without_decoupled_decay_is_ignored(key):
    cls = getattr(PO, spec(key).target.split(":")[1])
    coupled = {"weight_decay": 0.1, "weight_decouple": False}
    _, plain = both(key, {}, cls, coupled)
    _, fixed = both(key, {}, cls, {**coupled, "fixed_decay": True})
    assert torch.equal(plain, fixed)


@pytest.mark.parametrize("key", ["ADOPT", "ADABELIEF", "YOGI", "CAME", "CAME_8BIT", "CAME eps2", "CAME_8BIT eps2"])
def test_an_epsilon_of_0_is_refused_where_it_makes_nan(key):
    key, _, epsilon = key.partition(" ")
    epsilon = epsilon or "eps"
    with pytest.raises(SettingsError, match=epsilon):
        dw.Settings(key, **{epsilon: 0.0})
    start = {"initial_accumulator": 0.0} if key == "YOGI" else {}
    options = {**dw.Settings(key, **start).options, epsilon: 0.0}
    params = parameters()
    optimizer = load_class(spec(key))(params, **spec(key).arguments(1e-3, options))
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert not all(torch.isfinite(p).all() for p in params)


def test_a_threshold_below_4_takes_the_root_of_a_negative_number():
    for key in ("ADABELIEF", "AIDA"):
        with pytest.raises(SettingsError, match="n_sma_threshold"):
            dw.Settings(key, rectify=True, n_sma_threshold=3)
        params = parameters()
        cls = getattr(PO, spec(key).target.split(":")[1])
        with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
            walk(cls(params, rectify=True, n_sma_threshold=3), params, 6)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADABELIEF", "AIDA"])
def test_a_threshold_out_of_reach_is_a_run_that_stands_still_or_is_sgd(key):
    cls = getattr(PO, spec(key).target.split(":")[1])
    start = torch.cat([p.detach().flatten() for p in parameters()])
    options = {"rectify": True, "betas": (0.9, 0.5)}
    _, still = both(key, {}, cls, {**options, "degenerated_to_sgd": False})
    assert torch.equal(start, still)
    _, sgd = both(key, {}, cls, {**options, "eps": 1e-2})
    _, other = both(key, {}, cls, {**options, "eps": 1e-8})
    assert torch.equal(sgd, other), "nothing is divided by the squared average"
