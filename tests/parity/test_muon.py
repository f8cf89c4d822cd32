"""What we build walks the same path, bit for bit, as the back end that is built by hand."""

import pytest
import torch
from adv_optm import AdaMuon_adv, Muon_adv
from pytorch_optimizer import Muon
from torch import nn

import diffopt_widgets as dw

STEPS = 50


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 6, 3), nn.Flatten(), nn.Linear(24, 12), nn.SiLU(), nn.Linear(12, 5))


def walk(net, optimizer):
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 - step / STEPS)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 1, 4, 4, generator=generator), torch.randn(8, 5, generator=generator)
        optimizer.zero_grad()
        ((net(x) - y) ** 2).mean().backward()
        optimizer.step()
        schedule.step()
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def by_hand(net, **rates):
    """Muon takes the middle layer and the convolution, Adam the rest."""
    conv, inner, outer = net[0], net[2], net[4]
    return [
        {"params": [conv.weight, inner.weight], "use_muon": True, "lr": rates["muon"]},
        {"params": [conv.bias, inner.bias, *outer.parameters()], "use_muon": False, "lr": rates["adam"]},
    ]


COMMON = {"muon_hidden_layers": "0., 2.", "schedule": "LINEAR"}
"""So are the layers of the network called; the last one is 4."""
CASES = [
    ("MUON", Muon, {"momentum": 0.9, "weight_decay": 0.01}, {"momentum": 0.9, "weight_decay": 0.01}),
    (
        "MUON",
        Muon,
        {"adam_beta1": 0.8, "adam_beta2": 0.9, "adam_eps": 1e-6, "adam_weight_decay": 0.1},
        {"adamw_betas": (0.8, 0.9), "adamw_eps": 1e-6, "adamw_wd": 0.1},
    ),
    ("MUON_ADV", Muon_adv, {"beta1": 0.9}, {"beta1": 0.9}),
    (
        "MUON_ADV",
        Muon_adv,
        {"normuon_variant": True, "beta2_normuon": 0.9, "approx_mars": True, "weight_decay": 0.1, "cautious_wd": True},
        {"normuon_variant": True, "beta2_normuon": 0.9, "approx_mars": True, "weight_decay": 0.1, "cautious_wd": True},
    ),
    (
        "MUON_ADV",
        Muon_adv,
        {"Simplified_AdEMAMix": True, "alpha_grad": 5.0, "nesterov": False, "accelerated_ns": True, "ns_steps": 12},
        {"Simplified_AdEMAMix": True, "alpha_grad": 5.0, "nesterov": False, "accelerated_ns": True, "ns_steps": 12},
    ),
    (
        "MUON_ADV",
        Muon_adv,
        {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_use_AdEMAMix": True, "adam_alpha": 2.0, "adam_nnmf_factor": True},
        {"adam_betas": (0.8, 0.95), "adam_use_AdEMAMix": True, "adam_alpha": 2.0, "adam_nnmf_factor": True},
    ),
    ("ADAMUON_ADV", AdaMuon_adv, {"beta1": 0.9, "beta2": 0.99}, {"betas": (0.9, 0.99)}),
    (
        "ADAMUON_ADV",
        AdaMuon_adv,
        {"nesterov": True, "use_atan2": True, "rms_rescaling": False, "nnmf_factor": True},
        {"nesterov": True, "use_atan2": True, "rms_rescaling": False, "nnmf_factor": True},
    ),
    (
        "ADAMUON_ADV",
        AdaMuon_adv,
        {"orthogonal_gradient": True, "adam_kourkoutas_beta": True, "adam_use_bias_correction": False},
        {"orthogonal_gradient": True, "adam_kourkoutas_beta": True, "adam_use_bias_correction": False},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("key", "cls", "options", "arguments"), CASES)
def test_fifty_steps_of_ours_are_fifty_steps_of_the_back_end(key, cls, options, arguments):
    ours, theirs = network(), network()
    settings = dw.Settings(key, lr=0.01, muon_adam_lr=0.003, **COMMON, **options)
    path = walk(ours, dw.build_optimizer(settings, ours.named_parameters()))
    assert torch.isfinite(path).all()
    assert torch.equal(path, walk(theirs, cls(by_hand(theirs, muon=0.01, adam=0.003), lr=0.01, **arguments)))


@pytest.mark.slow
@pytest.mark.parametrize(("key", "cls"), [("MUON", Muon), ("MUON_ADV", Muon_adv), ("ADAMUON_ADV", AdaMuon_adv)])
def test_the_library_preset_is_the_back_end_as_it_comes(key, cls):
    ours, theirs = network(), network()
    settings = dw.preset(key, "library").replace(**COMMON)
    adam = {"adam": 3e-4} if key == "MUON" else {"adam": settings.lr}
    path = walk(ours, dw.build_optimizer(settings, ours.named_parameters()))
    assert torch.equal(path, walk(theirs, cls(by_hand(theirs, muon=settings.lr, **adam))))
