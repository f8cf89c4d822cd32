"""bitsandbytes steps on a GPU with other code than on a CPU: how far apart the weights are, and the rates that are read."""

from functools import partial
from itertools import islice

import pytest

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.optimizers.factory import build_optimizer
from diffopt_widgets.probe.model import parameters, walk
from diffopt_widgets.rates.applied import RateMeter

STEPS = (1, 10, 40)
KEYS = [key for key in list_optimizers() if spec(key).package == "bitsandbytes"]


def paths(key, options, device):
    """Return all weights after each step, on the CPU, and the first rate that each step applied."""
    rates = []

    def build(groups):
        optimizer = build_optimizer(dw.Settings(key, **options), groups)
        meter = RateMeter(optimizer)
        optimizer.register_step_pre_hook(lambda *_: meter.before() and None)
        optimizer.register_step_post_hook(lambda *_: rates.append(float(meter.after()[0])))
        return optimizer, None

    return [weights.cpu() for weights in islice(walk(build, device=device), STEPS[-1])], rates


def start():
    """Return the weights before the first step."""
    import torch

    return torch.cat([p.detach().flatten() for p in parameters()])


def apart(one, other):
    """Return how far two weights are from one another, as a part of how far they have moved."""
    return float((one - other).norm() / (one - start()).norm())


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_the_same_steps_on_both(decay, rows, device):
    has = partial(lambda key: "weight_decay" in dw.Settings(key).options)
    for key in rows.each(key for key in KEYS if decay == 0.0 or has(key)):
        name = f"{key}, weight_decay {decay:g}" if decay else key
        with rows.failing(name):
            options = {"weight_decay": decay} if has(key) else {}
            cpu, cpu_rates = paths(key, options, "cpu")
            there, rates = paths(key, options, device)
            far = [apart(cpu[step - 1], there[step - 1]) for step in STEPS]
            rate = max(abs(a - b) / max(abs(a), 1e-30) for a, b in zip(cpu_rates, rates, strict=True))
            words = ", ".join(f"{part:.1e} after {step}" for step, part in zip(STEPS, far, strict=True))
            ok = None if device == "cuda" else far == [0, 0, 0] and rate == 0
            rows.add(name, f"{words} steps; rates read {rate:.1e} apart", ok, apart=far, rates=rate)
    assert rows.missed() == []
