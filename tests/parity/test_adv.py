"""adv_optm's optimizers: the same path by our Settings and by hand, and each claim of the catalogue seen in a run."""

import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from adv_optm import AdamW_adv, Adopt_adv, Lion_adv, Prodigy_adv, SignSGD_adv

import diffopt_widgets as dw
from diffopt_widgets.optimizers.compiled import try_compiler
from diffopt_widgets.optimizers.factory import build_optimizer
from diffopt_widgets.state_size.measured import state_bytes

KEYS = ("ADAMW_ADV", "ADOPT_ADV", "LION_ADV", "PRODIGY_ADV", "SIGNSGD_ADV")
COMPILED = ("ADAMW_ADV", "ADOPT_ADV", "PRODIGY_ADV")

ALIKE = {
    "cautious_wd": True,
    "nnmf_factor": True,
    "orthogonal_gradient": True,
}
"""Options whose name is the back end's own."""
MIXED = {"use_AdEMAMix": True, "beta3_ema": 0.99, "alpha": 2.5}
SIMPLE = {"Simplified_AdEMAMix": True, "alpha_grad": 20.0}
KOURKOUTAS = {"kourkoutas_beta": True}

PATHS = [
    ("ADAMW_ADV", {}, AdamW_adv, {}),
    (
        "ADAMW_ADV",
        {"lr": 3e-3, "beta1": 0.8, "beta2": 0.97, "eps": 1e-6, "weight_decay": 0.1, **ALIKE, **MIXED, **KOURKOUTAS},
        AdamW_adv,
        {"lr": 3e-3, "betas": (0.8, 0.97), "eps": 1e-6, "weight_decay": 0.1, **ALIKE, **MIXED, **KOURKOUTAS},
    ),
    ("ADAMW_ADV", {"use_atan2": True, "beta1": 0.0}, AdamW_adv, {"use_atan2": True, "betas": (0.0, 0.999)}),
    ("ADOPT_ADV", {}, Adopt_adv, {}),
    (
        "ADOPT_ADV",
        {"lr": 3e-3, "beta1": 0.8, "beta2": 0.97, "use_atan2": True, "weight_decay": 0.1, **ALIKE, **MIXED},
        Adopt_adv,
        {"lr": 3e-3, "betas": (0.8, 0.97), "use_atan2": True, "weight_decay": 0.1, **ALIKE, **MIXED},
    ),
    ("ADOPT_ADV", {**SIMPLE, **KOURKOUTAS, "eps": 1e-4}, Adopt_adv, {**SIMPLE, **KOURKOUTAS, "eps": 1e-4}),
    ("PRODIGY_ADV", {}, Prodigy_adv, {}),
    (
        "PRODIGY_ADV",
        {"lr": 0.5, "beta2": 0.99, "beta3": 0.9, "d0": 1e-5, "d_coef": 0.7, "growth_rate": 1.5, "slice_p": 3, **MIXED},
        Prodigy_adv,
        {
            "lr": 0.5,
            "betas": (0.9, 0.99),
            "beta3": 0.9,
            "d0": 1e-5,
            "d_coef": 0.7,
            "growth_rate": 1.5,
            "slice_p": 3,
            **MIXED,
        },
    ),
    (
        "PRODIGY_ADV",
        {"d_limiter": True, "prodigy_steps": 30, "weight_decay": 0.1, **ALIKE, **SIMPLE, **KOURKOUTAS},
        Prodigy_adv,
        {"d_limiter": True, "prodigy_steps": 30, "weight_decay": 0.1, **ALIKE, **SIMPLE, **KOURKOUTAS},
    ),
    ("PRODIGY_ADV", {"use_atan2": True}, Prodigy_adv, {"use_atan2": True}),
    ("PRODIGY_ADV", {"eps": 1e-4}, Prodigy_adv, {"eps": 1e-4}),
    ("LION_ADV", {}, Lion_adv, {}),
    (
        "LION_ADV",
        {
            "lr": 1e-3,
            "beta1": 0.8,
            "beta2": 0.9,
            "weight_decay": 0.1,
            **ALIKE,
            "clip_threshold": 0.05,
            "auto_kappa_p": True,
        },
        Lion_adv,
        {"lr": 1e-3, "betas": (0.8, 0.9), "weight_decay": 0.1, **ALIKE, "clip_threshold": 0.05, "auto_kappa_p": True},
    ),
    ("SIGNSGD_ADV", {}, SignSGD_adv, {}),
    (
        "SIGNSGD_ADV",
        {"lr": 1e-3, "momentum": 0.5, "weight_decay": 0.1, **ALIKE, **SIMPLE},
        SignSGD_adv,
        {"lr": 1e-3, "momentum": 0.5, "weight_decay": 0.1, **ALIKE, **SIMPLE},
    ),
]


def parameters(dtype=torch.float32):
    """A convolution's weight, a matrix and a bias."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((6, 3, 3, 3), (96, 40), (40,))
    return [torch.nn.Parameter((0.3 * torch.randn(shape, generator=generator)).to(dtype)) for shape in shapes]


def loss_at(step, params):
    conv, weight, bias = params
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 3, 6, 6, generator=generator).to(weight.dtype)
    y = torch.randn(8, 40, generator=generator).to(weight.dtype)
    hidden = torch.nn.functional.conv2d(x, conv).flatten(1)
    return (1.0 if step % 5 == 0 else 0.2) * ((hidden @ weight + bias - y) ** 2).mean()


def take(optimizer, params, steps):
    for step in steps:
        loss_at(step, params).backward()
        optimizer.step()
        optimizer.zero_grad()


def walk(optimizer, params, steps=50):
    """Train; all parameters as one vector."""
    take(optimizer, params, range(steps))
    return torch.cat([p.detach().flatten() for p in params])


def path(key, steps=50, dtype=torch.float32, **values):
    params = parameters(dtype)
    return walk(build_optimizer(dw.Settings(key, **values), params), params, steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "values", "cls", "arguments"), PATHS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_our_settings_and_the_back_end_by_hand_walk_the_same_path(key, values, cls, arguments):
    params = parameters()
    by_hand = walk(cls(params, **arguments), params)
    assert torch.isfinite(by_hand).all()
    assert torch.equal(path(key, **values), by_hand)
    assert values == {} or not torch.equal(by_hand, path(key))


@pytest.mark.parametrize("key", KEYS)
def test_every_option_that_is_passed_on_is_walked_by_hand(key):
    walked = {name for walked_key, values, *_ in PATHS if walked_key == key for name in values}
    elsewhere = {"stochastic_rounding", "compile"}
    passed_on = {use.name for use in (dw.spec(key).lr, *dw.spec(key).uses) if use.argument}
    assert passed_on - {"lr", "beta1"} <= walked | elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_a_run_can_be_repeated_to_the_bit(key):
    settings = dw.Settings(key, nnmf_factor=True, orthogonal_gradient=True, **({} if key[0] in "LS" else KOURKOUTAS))
    first, second = (dw.train(settings, "swiss_roll", 20, progress=False) for _ in range(2))
    assert first.history.column("loss").tolist() == second.history.column("loss").tolist()


# ---------------------------------------------------------------------------------------------------- rounding


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_stochastic_rounding_acts_on_bfloat16_weights_only_and_repeats_to_the_bit(key):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    rounded = path(key, dtype=torch.bfloat16)
    assert torch.equal(rounded, path(key, dtype=torch.bfloat16))
    assert torch.equal(state, torch.get_rng_state()), "torch's global generator is left alone"
    assert not torch.equal(rounded, path(key, dtype=torch.bfloat16, stochastic_rounding=False))
    assert torch.equal(path(key), path(key, stochastic_rounding=False))


def test_two_roundings_at_once_disturb_each_other():
    alone = path("ADAMW_ADV", 4, dtype=torch.bfloat16)
    params, others = parameters(torch.bfloat16), parameters(torch.bfloat16)
    optimizer = build_optimizer(dw.Settings("ADAMW_ADV"), params)
    take(optimizer, params, range(2))
    take(build_optimizer(dw.Settings("ADAMW_ADV"), others), others, range(1))
    take(optimizer, params, range(2, 4))
    assert not torch.equal(alone, torch.cat([p.detach().flatten() for p in params]))
    assert (
        "no other such optimizer is built or steps in between" in dw.spec("ADAMW_ADV").use("stochastic_rounding").note
    )


# ---------------------------------------------------------------------------------------------------- compiling


def shapes(count):
    return [torch.nn.Parameter(torch.linspace(-1.0, 1.0, 8 + size)) for size in range(count)]


def quadratic(optimizer, params, steps=3):
    for _ in range(steps):
        sum((p**2).sum() for p in params).backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cat([p.detach().flatten() for p in params])


@pytest.fixture(scope="module")
def compiler():
    """A compiler that has been tried, so that what torch warns about at its first use has been said."""
    try_compiler(torch.device("cpu"))


def graphs():
    """How many functions have been compiled in this process."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


@pytest.mark.slow
def test_torch_gives_up_after_so_many_shapes_and_here_it_does_not(compiler):
    config = torch._dynamo.config
    assert config.recompile_limit == 8
    with config.patch(recompile_limit=1):  # fewer, to compile less
        params = shapes(3)
        with pytest.raises(Exception, match="Hard failure due to fullgraph"):
            quadratic(AdamW_adv(params, compiled_optimizer=True), params)
        params, plain = shapes(3), shapes(3)
        compiled = quadratic(build_optimizer(dw.Settings("ADAMW_ADV", compile=True), params), params)
        eager = quadratic(build_optimizer(dw.Settings("ADAMW_ADV"), plain), plain)
        assert config.recompile_limit == 1, "the limit is lifted for the step only"
    torch.testing.assert_close(compiled, eager, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_copied_code_lifts_the_limit_too(compiler):
    code = dw.export(dw.Settings("ADAMW_ADV", compile=True))
    assert "compiled_optimizer=True" in code
    config = torch._dynamo.config
    with config.patch(recompile_limit=1):
        params = shapes(2)
        names = {"params": params}
        exec(code, names)  # noqa: S102  # it is our own
        quadratic(names["optimizer"], params, 1)
    assert "recompile_limit" not in dw.export(dw.Settings("LION_ADV", compile=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("ADAMW_ADV", {"use_atan2": True, "use_AdEMAMix": True}),
        ("ADOPT_ADV", {"orthogonal_gradient": True, "Simplified_AdEMAMix": True}),
        ("PRODIGY_ADV", {"nnmf_factor": True, "kourkoutas_beta": True}),
    ],
)
def test_compiling_changes_only_rounding(key, options, compiler):
    before = graphs()
    compiled = path(key, 3, compile=True, **options)
    assert graphs() > before
    torch.testing.assert_close(compiled, path(key, 3, **options), rtol=0, atol=1e-6)
    assert torch.equal(compiled, path(key, 3, compile=True, **options)), "a run can be repeated"


@pytest.mark.parametrize("key", ["LION_ADV", "SIGNSGD_ADV"])
def test_a_step_that_is_said_to_be_compiled_for_nothing_compiles_nothing(key):
    before = graphs()
    assert torch.equal(path(key, 3, compile=True), path(key, 3))
    assert graphs() == before


@pytest.mark.slow
def test_without_a_compiler_it_is_refused_before_the_first_step():
    code = (
        "import torch, diffopt_widgets as dw\n"
        "from dataclasses import replace\n"
        "from diffopt_widgets.widgets.form.draft import Draft\n"
        "from diffopt_widgets.catalogue.run_options import RunOptions\n"
        "weight = torch.nn.Parameter(torch.ones(3, 4))\n"
        "dw.build_optimizer(dw.Settings('LION_ADV', compile=True), [weight])\n"
        "try:\n"
        "    dw.build_optimizer(dw.Settings('ADAMW_ADV', compile=True), [weight])\n"
        "except dw.MissingBackend as error:\n"
        "    print(error, error.fix)\n"
        "draft = replace(Draft.begin(dw.Settings('ADAMW_ADV', compile=True)), run=RunOptions(device='cpu'))\n"
        "print('form:', *draft.parsed.refused, draft.parsed.fixes)"
    )
    environment = {**os.environ, "CXX": "no-such-compiler"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "ADAMW_ADV's compile needs a compiler" in done.stdout
    assert "To fix it: set compile back to its default {'compile': False}" in done.stdout
    assert "form: compile {'compile': {'compile': False}}" in done.stdout


# ---------------------------------------------------------------------------------------------------- claims in words


def test_auto_kappa_p_acts_on_convolutions_only():
    conv = 6 * 3 * 3 * 3
    one, other = path("LION_ADV", 1), path("LION_ADV", 1, auto_kappa_p=True)
    assert not torch.equal(one[:conv], other[:conv])
    assert torch.equal(one[conv:], other[conv:])


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("option", ["nnmf_factor", "orthogonal_gradient"])
def test_channels_last_weights_make_the_step_raise_where_it_is_said(key, option):
    weight = torch.nn.Parameter(torch.ones(4, 3, 2, 2).to(memory_format=torch.channels_last))
    optimizer = build_optimizer(dw.Settings(key, **{option: True}), [weight])
    with pytest.raises(RuntimeError, match="view size"):
        quadratic(optimizer, [weight], 2)  # ADOPT's first step only measures
    assert "channels_last" in dw.spec(key).use(option).note


@pytest.mark.parametrize("key", KEYS)
def test_a_factored_state_takes_a_fraction_of_a_byte_per_weight(key):
    weight = torch.nn.Parameter(torch.linspace(-1.0, 1.0, 256 * 256).reshape(256, 256))
    bias = torch.nn.Parameter(torch.ones(64))
    optimizer = build_optimizer(dw.Settings(key, nnmf_factor=True), [weight, bias])
    for _ in range(2):
        ((weight**2).sum() + bias.sum()).backward()
        optimizer.step()
    estimate = 2 * 4 / 11 if key == "PRODIGY_ADV" else 0.0  # s and p0, for every eleventh weight
    assert state_bytes(optimizer) / weight.numel() < 0.25 + estimate + 0.05
    assert any(isinstance(v, torch.Tensor) and v.shape == bias.shape for v in optimizer.state[bias].values())


def test_kourkoutas_beta_stays_halfway_under_steady_gradients():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = build_optimizer(dw.Settings("ADAMW_ADV", kourkoutas_beta=True, beta2=0.999), [weight])

    def beta2_after(gradient, steps):
        for _ in range(steps):
            weight.grad = torch.full((4, 4), gradient)
            optimizer.step()
        return optimizer.kourkoutas_helper.last_beta2_stats["mean"]

    assert beta2_after(1.0, 200) == pytest.approx((0.9 + 0.999) / 2, abs=1e-3)
    assert beta2_after(100.0, 2) < 0.91
    assert beta2_after(0.01, 3) > 0.99


def decayed(key, step, **options):
    """What share of a weight one step took off, beyond what it takes off without weight decay."""
    ends = []
    for weight_decay in (0.0, 0.1):
        weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
        settings = dw.Settings(key, lr=0.01, weight_decay=weight_decay, **options)
        optimizer = build_optimizer(settings, [weight])
        for _ in range(step):
            weight.data.fill_(1.0)
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        ends.append(float(weight.detach()[0]))
    return ends[0] - ends[1]


def test_weight_decay_of_adamw_adv_is_corrected_as_momentum_is():
    assert decayed("ADAMW_ADV", 1) == pytest.approx(10 * 0.01 * 0.1)
    assert decayed("ADAMW_ADV", 200) == pytest.approx(0.01 * 0.1)
    assert decayed("ADOPT_ADV", 2) == pytest.approx(0.01 * 0.1)


def test_weight_decay_nearly_vanishes_with_simplified_ademamix():
    assert decayed("ADOPT_ADV", 200, Simplified_AdEMAMix=True) == pytest.approx(0.01 * 0.1 / 110, rel=1e-3)
    assert "about 110" in dw.spec("ADOPT_ADV").use("Simplified_AdEMAMix").note


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ADOPT_ADV", "PRODIGY_ADV"])
def test_simplified_ademamix_takes_the_place_of_the_others(key):
    alone = path(key, 30, **SIMPLE)
    assert torch.equal(alone, path(key, 30, **SIMPLE, use_AdEMAMix=True))
    assert torch.equal(alone, path(key, 30, **SIMPLE, use_atan2=True))
    both = dw.Settings(key, **SIMPLE, use_AdEMAMix=True, use_atan2=True)
    assert [rule.id for rule in both.warnings()] == ["two-ademamix", "atan2-simplified"]


@pytest.mark.parametrize("key", COMPILED)
def test_with_a_beta1_of_0_ademamix_keeps_only_its_slow_average(key):
    params = parameters()
    optimizer = build_optimizer(dw.Settings(key, use_AdEMAMix=True, beta1=0.0), params)
    assert torch.isfinite(walk(optimizer, params, 3)).all()
    assert "exp_avg" not in optimizer.state[params[0]]
    assert "exp_avg_slow" in optimizer.state[params[0]]


def test_a_gradient_of_adopt_counts_at_most_the_fourth_root_of_the_step():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = build_optimizer(dw.Settings("ADOPT_ADV", beta1=0.0, lr=1.0, beta2=0.9999), [weight])
    for step in range(10):
        weight.grad = torch.full((3,), 1.0 if step < 9 else 1e3)
        before = weight.detach().clone()
        optimizer.step()
    torch.testing.assert_close(before - weight.detach(), torch.full((3,), 9**0.25))


def test_the_gradient_clip_of_lion_scales_the_gradient_in_place():
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = build_optimizer(dw.Settings("LION_ADV", clip_threshold=0.5), [weight])
    weight.grad = torch.full((4,), 3.0)
    optimizer.step()
    assert float(weight.grad.norm()) == pytest.approx(0.5)


def test_cautious_weight_decay_decays_what_moves_toward_zero():
    params = [torch.nn.Parameter(torch.tensor([1.0, 1.0, -1.0, -1.0])) for _ in range(2)]
    for weight, weight_decay in zip(params, (0.0, 0.5), strict=True):
        weight.grad = torch.tensor([1.0, -1.0, 1.0, -1.0])
        build_optimizer(dw.Settings("LION_ADV", lr=0.1, weight_decay=weight_decay, cautious_wd=True), [weight]).step()
    plain, decayed_too = (p.detach() for p in params)
    assert (plain != decayed_too).tolist() == [True, False, False, True]


def test_d_limiter_lets_the_estimate_grow_by_a_fifth_at_most():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("PRODIGY_ADV", d_limiter=True), params)
    estimates = [1e-6]
    for step in range(60):
        take(optimizer, params, [step])
        estimates.append(optimizer.param_groups[0]["d"])
    growth = [after / before for before, after in pairwise(estimates)]
    assert max(growth) == pytest.approx(2**0.25)
    assert next(factor for factor in growth if factor > 1) == pytest.approx(2**0.25), "the first leap too"
    assert sum(estimate < 1e-3 for estimate in estimates) >= 40


def test_prodigy_steps_frees_what_the_estimate_needed():
    params = parameters()
    optimizer = build_optimizer(dw.Settings("PRODIGY_ADV", prodigy_steps=5, slice_p=1), params)
    take(optimizer, params, range(5))
    before = state_bytes(optimizer)
    take(optimizer, params, range(5, 6))
    assert state_bytes(optimizer) < 0.6 * before
