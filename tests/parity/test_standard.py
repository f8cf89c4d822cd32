"""torch's, bitsandbytes', Lion, Prodigy and the D-Adapt optimizers: our settings walk the path of the package's own class.

To the bit, over 50 steps, at the defaults and with every option that is passed on away from its default.
"""

import bitsandbytes
import dadaptation
import lion_pytorch
import prodigyopt
import pytest
import torch
from places import TESTS

import diffopt_widgets as dw
from diffopt_widgets.catalogue.schema import Standing

STEPS = 50
BNB, DADAPT = bitsandbytes.optim, dadaptation
ADAM = {"lr": 3e-3, "eps": 1e-6, "weight_decay": 0.1, "amsgrad": True, "foreach": False, "fused": False}
ADAM_8BIT = {"lr": 3e-3, "eps": 1e-6, "weight_decay": 0.1, "min_8bit_size": 100}
BETAS, PAIR = {"beta1": 0.8, "beta2": 0.97}, {"betas": (0.8, 0.97)}
SGD = {"lr": 0.03, "momentum": 0.8, "dampening": 0.1, "weight_decay": 0.1}
SGD_8BIT = {**SGD, "nesterov": True, "min_8bit_size": 100}
ADAGRAD = {"lr": 3e-3, "weight_decay": 0.1, "eps": 1e-6}
RMSPROP = {"lr": 3e-3, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1, "momentum": 0.5}
LAMB = {"lr": 3e-3, "eps": 1e-6, "weight_decay": 0.1, "bias_correction": False, "adam_w_mode": False}
LION = {"lr": 3e-4, "weight_decay": 0.1}
ESTIMATE = {"lr": 0.7, "weight_decay": 0.1, "d0": 1e-5}
GROWS = {**ESTIMATE, "growth_rate": 1.5}

CASES = [
    ("ADAM", torch.optim.Adam, {}, {}),
    ("ADAM", torch.optim.Adam, {**ADAM, **BETAS}, {**ADAM, **PAIR}),
    ("ADAM", torch.optim.Adam, {"maximize": True}, {"maximize": True}),
    ("ADAMW", torch.optim.AdamW, {}, {}),
    ("ADAMW", torch.optim.AdamW, {**ADAM, **BETAS}, {**ADAM, **PAIR}),
    ("ADAMW", torch.optim.AdamW, {"maximize": True}, {"maximize": True}),
    ("ADAM_8BIT", BNB.Adam8bit, {}, {}),
    ("ADAM_8BIT", BNB.Adam8bit, {**ADAM_8BIT, **BETAS}, {**ADAM_8BIT, **PAIR}),
    ("ADAMW_8BIT", BNB.AdamW8bit, {}, {}),
    ("ADAMW_8BIT", BNB.AdamW8bit, {**ADAM_8BIT, **BETAS}, {**ADAM_8BIT, **PAIR}),
    ("SGD", torch.optim.SGD, {}, {}),
    ("SGD", torch.optim.SGD, {**SGD, "foreach": False}, {**SGD, "foreach": False}),
    ("SGD", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    ("SGD", torch.optim.SGD, {"maximize": True}, {"maximize": True}),
    ("SGD_8BIT", BNB.SGD8bit, {}, {"lr": 0.01, "momentum": 0.9}),
    ("SGD_8BIT", BNB.SGD8bit, SGD_8BIT, SGD_8BIT),
    ("ADAGRAD", BNB.Adagrad, {}, {}),
    ("ADAGRAD", BNB.Adagrad, ADAGRAD, ADAGRAD),
    ("ADAGRAD", BNB.Adagrad, {"optim_bits": 8, "min_8bit_size": 100}, {"optim_bits": 8, "min_8bit_size": 100}),
    ("ADAGRAD_8BIT", BNB.Adagrad8bit, {}, {}),
    ("ADAGRAD_8BIT", BNB.Adagrad8bit, {**ADAGRAD, "min_8bit_size": 100}, {**ADAGRAD, "min_8bit_size": 100}),
    ("RMSPROP", BNB.RMSprop, {}, {}),
    ("RMSPROP", BNB.RMSprop, RMSPROP, RMSPROP),
    ("RMSPROP", BNB.RMSprop, {"optim_bits": 8, "min_8bit_size": 100}, {"optim_bits": 8, "min_8bit_size": 100}),
    ("RMSPROP_8BIT", BNB.RMSprop8bit, {}, {}),
    ("RMSPROP_8BIT", BNB.RMSprop8bit, {**RMSPROP, "min_8bit_size": 100}, {**RMSPROP, "min_8bit_size": 100}),
    ("LAMB", BNB.LAMB, {}, {}),
    (
        "LAMB",
        BNB.LAMB,
        {**LAMB, **BETAS, "amsgrad": True, "max_unorm": 0.01},
        {**LAMB, **PAIR, "amsgrad": True, "max_unorm": 0.01},
    ),
    ("LAMB", BNB.LAMB, {"optim_bits": 8, "min_8bit_size": 100}, {"optim_bits": 8, "min_8bit_size": 100}),
    ("LAMB_8BIT", BNB.LAMB8bit, {}, {}),
    ("LAMB_8BIT", BNB.LAMB8bit, {**LAMB, **BETAS, "min_8bit_size": 100}, {**LAMB, **PAIR, "min_8bit_size": 100}),
    ("LARS", BNB.LARS, {}, {"lr": 0.01, "momentum": 0.9}),
    ("LARS", BNB.LARS, {**SGD, "nesterov": True, "max_unorm": 0.5}, {**SGD, "nesterov": True, "max_unorm": 0.5}),
    (
        "LARS",
        BNB.LARS,
        {"optim_bits": 8, "min_8bit_size": 100},
        {"lr": 0.01, "momentum": 0.9, "optim_bits": 8, "min_8bit_size": 100},
    ),
    ("LARS_8BIT", BNB.LARS8bit, {}, {"lr": 0.01, "momentum": 0.9}),
    ("LARS_8BIT", BNB.LARS8bit, {**SGD_8BIT, "max_unorm": 0.5}, {**SGD_8BIT, "max_unorm": 0.5}),
    ("LION", lion_pytorch.Lion, {}, {}),
    ("LION", lion_pytorch.Lion, {**LION, **BETAS}, {**LION, **PAIR}),
    ("LION_8BIT", BNB.Lion8bit, {}, {}),
    ("LION_8BIT", BNB.Lion8bit, {**LION, **BETAS, "min_8bit_size": 100}, {**LION, **PAIR, "min_8bit_size": 100}),
    ("PRODIGY", prodigyopt.Prodigy, {}, {"decouple": True}),
    (
        "PRODIGY",
        prodigyopt.Prodigy,
        {**GROWS, **BETAS, "beta3": 0.9, "d_coef": 0.6, "eps": 1e-6, "slice_p": 5, "decouple": False},
        {**GROWS, **PAIR, "beta3": 0.9, "d_coef": 0.6, "eps": 1e-6, "slice_p": 5, "decouple": False},
    ),
    (
        "PRODIGY",
        prodigyopt.Prodigy,
        {"use_bias_correction": True, "safeguard_warmup": True},
        {"use_bias_correction": True, "safeguard_warmup": True},
    ),
    ("DADAPT_ADAM", DADAPT.DAdaptAdam, {}, {}),
    (
        "DADAPT_ADAM",
        DADAPT.DAdaptAdam,
        {**GROWS, **BETAS, "eps": 1e-6, "decouple": True, "use_bias_correction": True},
        {**GROWS, **PAIR, "eps": 1e-6, "decouple": True, "use_bias_correction": True},
    ),
    ("DADAPT_ADAN", DADAPT.DAdaptAdan, {}, {}),
    (
        "DADAPT_ADAN",
        DADAPT.DAdaptAdan,
        {**GROWS, "beta1": 0.9, "beta2": 0.8, "beta3": 0.95, "eps": 1e-6, "no_prox": True},
        {**GROWS, "betas": (0.9, 0.8, 0.95), "eps": 1e-6, "no_prox": True},
    ),
    ("DADAPT_ADA_GRAD", DADAPT.DAdaptAdaGrad, {}, {}),
    (
        "DADAPT_ADA_GRAD",
        DADAPT.DAdaptAdaGrad,
        {**GROWS, "momentum": 0.8, "eps": 1e-4},
        {**GROWS, "momentum": 0.8, "eps": 1e-4},
    ),
    ("DADAPT_LION", DADAPT.DAdaptLion, {}, {}),
    ("DADAPT_LION", DADAPT.DAdaptLion, {**ESTIMATE, **BETAS}, {**ESTIMATE, **PAIR}),
    ("DADAPT_SGD", DADAPT.DAdaptSGD, {}, {}),
    ("DADAPT_SGD", DADAPT.DAdaptSGD, {**GROWS, "momentum": 0.8}, {**GROWS, "momentum": 0.8}),
]
KEYS = sorted({key for key, *_ in CASES})
ELSEWHERE = {
    "parity/test_adv.py": {"ADAMW_ADV", "ADOPT_ADV", "LION_ADV", "PRODIGY_ADV", "SIGNSGD_ADV"},
    "parity/test_classic.py": {
        *("AdEMAMix", "AdEMAMix_8BIT", "ADOPT", "ADABELIEF", "TIGER", "AIDA", "YOGI", "CAME", "CAME_8BIT")
    },
    "parity/test_muon.py": {"MUON", "MUON_ADV", "ADAMUON_ADV"},
    "parity/test_schedulefree.py": {"SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD", "PRODIGY_PLUS_SCHEDULE_FREE"},
    "parity/test_transformers.py": {"ADAFACTOR"},
}
WITHOUT_SEQUEL = {"capturable", "is_paged", "fsdp_in_use", "log_every"}
"""Options that a CPU cannot have, or that only write to the log."""


def parameters():
    """A matrix of more elements than 8-bit states ask for, a convolution of fewer, and a vector."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((80, 64), (8, 4, 3, 3), (64,))
    return [torch.nn.Parameter(0.3 * torch.randn(shape, generator=generator)) for shape in shapes]


def walk(optimizer, params):
    """All weights after each step, one row per step."""
    weight, kernel, bias = params
    rows = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x, y = (torch.randn(16, size, generator=generator) for size in (80, 64))
        picture = torch.nn.functional.conv2d(x.reshape(16, 4, 4, 5), kernel)
        loss = ((x @ weight + bias - y) ** 2).mean() + ((picture - 0.5) ** 2).mean()
        ((1.0 if step % 3 == 0 else 0.1) * loss).backward()
        optimizer.step()
        optimizer.zero_grad()
        rows.append(torch.cat([p.detach().flatten() for p in params]))
    return torch.stack(rows)


def path(key, **options):
    params = parameters()
    return walk(dw.build_optimizer(dw.Settings(key, **options), params), params)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "cls", "options", "arguments"), CASES)
def test_our_settings_and_the_back_end_by_hand_walk_the_same_path(key, cls, options, arguments):
    params = parameters()
    by_hand = walk(cls(params, **arguments), params)
    assert torch.isfinite(by_hand).all()
    assert not torch.equal(by_hand[0], by_hand[-1])
    assert torch.equal(path(key, **options), by_hand)
    assert not options or not torch.equal(by_hand, path(key)), "the options do something"


@pytest.mark.parametrize("key", KEYS)
def test_every_option_that_is_passed_on_is_walked_away_from_its_default(key):
    entry = dw.spec(key)
    walked = {name for case, _, options, _ in CASES if case == key for name in options}
    passed_on = {use.name for use in entry.uses if use.argument and use.standing is not Standing.UNAVAILABLE}
    assert passed_on - WITHOUT_SEQUEL <= walked
    for case, _, options, _ in CASES:
        for name, value in options.items() if case == key else ():
            assert value != entry.use(name).default


def test_the_optimizers_with_cases_of_their_own_have_them_in_one_file():
    """All others are compared in test_by_name.py."""
    listed = [*KEYS, *(key for keys in ELSEWHERE.values() for key in keys)]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= set(dw.list_optimizers())
    for name, keys in ELSEWHERE.items():
        text = (TESTS / name).read_text("utf-8")
        assert all(f'"{key}"' in text for key in keys), name
