"""What our settings build walks the path of the package's own class, built by hand, to the bit."""

import contextlib
import io

import pytest
import torch
from prodigyplus import ProdigyPlusScheduleFree
from schedulefree import AdamWScheduleFree, SGDScheduleFree

import diffopt_widgets as dw

STEPS = 50
ADAMW, SGD, PLUS = "SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD", "PRODIGY_PLUS_SCHEDULE_FREE"
CLASSES = {ADAMW: AdamWScheduleFree, SGD: SGDScheduleFree, PLUS: ProdigyPlusScheduleFree}

CASES = [
    (ADAMW, {}, {}),
    (
        ADAMW,
        {"lr": 0.01, "beta1": 0.95, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1, "r": 1.0, "weight_lr_power": 0.5},
        {
            "lr": 0.01,
            "betas": (0.95, 0.99),
            "eps": 1e-6,
            "weight_decay": 0.1,
            "r": 1.0,
            "weight_lr_power": 0.5,
        },
    ),
    (ADAMW, {"foreach": False, "weight_decay": 0.01}, {"foreach": False, "weight_decay": 0.01}),
    (SGD, {"lr": 0.1}, {"lr": 0.1}),
    (
        SGD,
        {"lr": 0.05, "momentum": 0.95, "weight_decay": 0.1, "r": 2.0, "weight_lr_power": 0.0, "foreach": False},
        {"lr": 0.05, "momentum": 0.95, "weight_decay": 0.1, "r": 2.0, "weight_lr_power": 0.0, "foreach": False},
    ),
    (PLUS, {}, {}),
    (
        PLUS,
        {"lr": 0.5, "beta1": 0.95, "beta2": 0.98, "beta3": 0.9, "eps": 1e-6, "d0": 1e-5, "d_coef": 2.0},
        {"lr": 0.5, "betas": (0.95, 0.98), "beta3": 0.9, "eps": 1e-6, "d0": 1e-5, "d_coef": 2.0},
    ),
    (
        PLUS,
        {"weight_decay": 0.1, "schedulefree_c": 50.0, "prodigy_steps": 30, "factored": False, "d_limiter": False},
        {"weight_decay": 0.1, "schedulefree_c": 50.0, "prodigy_steps": 30, "factored": False, "d_limiter": False},
    ),
    (
        PLUS,
        {"use_bias_correction": True, "use_speed": True, "split_groups_mean": True, "use_cautious": True},
        {"use_bias_correction": True, "use_speed": True, "split_groups_mean": True, "use_cautious": True},
    ),
    (
        PLUS,
        {"use_schedulefree": False, "use_grams": True, "split_groups": False},
        {"use_schedulefree": False, "use_grams": True, "split_groups": False},
    ),
    (
        PLUS,
        {"eps": None, "use_orthograd": True, "use_adopt": True},
        {"eps": None, "use_orthograd": True, "use_adopt": True},
    ),
    (
        PLUS,
        {"weight_decay": 0.001, "weight_decay_by_lr": False, "use_stableadamw": False, "stochastic_rounding": False},
        {"weight_decay": 0.001, "weight_decay_by_lr": False, "use_stableadamw": False, "stochastic_rounding": False},
    ),
]


def groups():
    """Two groups: a matrix that is factored with a small one that is not, and a vector."""
    generator = torch.Generator().manual_seed(0)
    tensors = [0.3 * torch.randn(shape, generator=generator) for shape in ((80, 64), (5, 64), (64,))]
    a, b, c = (torch.nn.Parameter(tensor) for tensor in tensors)
    return [{"params": [a, b]}, {"params": [c]}]


def walk(optimizer, *, rate=None, schedule=None):
    """All weights after each step, one row per step; `rate` is the learning rate by step, where no schedule sets it."""
    a, b, c = (p for group in optimizer.param_groups for p in group["params"])
    rows = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x, y = (torch.randn(16, size, generator=generator) for size in (80, 64))
        (((x @ a + x[:, :5] @ b + c - y) ** 2).mean()).backward()
        for group in optimizer.param_groups if rate else ():
            group["lr"] = rate(step)
        with contextlib.redirect_stdout(io.StringIO()):
            optimizer.step()
        optimizer.zero_grad()
        if schedule:
            schedule.step()
        rows.append(torch.cat([p.detach().flatten() for p in (a, b, c)]))
    return torch.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "ours", "theirs"), CASES)
def test_the_path_is_the_packages_own(key, ours, theirs):
    with contextlib.redirect_stdout(io.StringIO()):
        by_hand = CLASSES[key](groups(), **theirs)
    by_hand.train()
    expected = walk(by_hand)
    path = walk(dw.build_optimizer(dw.Settings(key, **ours), groups()))
    assert torch.isfinite(expected).all()
    assert not torch.equal(expected[-1], expected[0])
    assert torch.equal(path, expected)


@pytest.mark.slow
@pytest.mark.parametrize("key", CLASSES)
def test_so_it_is_under_a_schedule_with_warmup(key):
    settings = dw.Settings(key, lr=0.02, warmup=10, schedule="LINEAR", min_factor=0.5)
    with contextlib.redirect_stdout(io.StringIO()):
        by_hand = CLASSES[key](groups(), lr=0.02)
    by_hand.train()

    def rate(step):
        return 0.02 * (step / 10 if step < 10 else 0.5 + 0.5 * (1 - (step - 10) / 40))

    ours = dw.build_optimizer(settings, groups())
    path = walk(ours, schedule=dw.build_schedule(settings, ours, STEPS))
    assert torch.equal(path, walk(by_hand, rate=rate))


@pytest.mark.slow
@pytest.mark.parametrize("key", CLASSES)
def test_the_weights_to_use_are_the_packages_own(key):
    by_hand = CLASSES[key](groups())
    by_hand.train()
    ours = dw.build_optimizer(dw.Settings(key), groups())
    for optimizer in (by_hand, ours):
        walk(optimizer)
        optimizer.eval()
    for ours_group, group in zip(ours.param_groups, by_hand.param_groups, strict=True):
        for mine, theirs in zip(ours_group["params"], group["params"], strict=True):
            assert torch.equal(mine, theirs)
