"""ADAFACTOR walks the path of transformers' Adafactor, which is the definition that users train with.

In 64 bits, where rounding does not grow into what is looked for; in 32 bits the two were 2e-6 apart at most.
"""

import pytest
import torch

import diffopt_widgets as dw

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install 'diffopt-widgets[integrations]'"
)

STEPS = 50
RELATIVE = {"scale_parameter": True, "relative_step": True}
CONSTANT = {"scale_parameter": False, "relative_step": False}
CASES = [
    RELATIVE,
    {**RELATIVE, "warmup_init": True},
    {**RELATIVE, "scale_parameter": False},
    CONSTANT,
    {**CONSTANT, "scale_parameter": True},
    {**CONSTANT, "weight_decay": 0.1, "clip_threshold": 0.5, "decay_rate": -0.5, "eps": 1e-8},
    {**RELATIVE, "weight_decay": 0.1, "eps2": 0.5},
]
"""Both modes, and values other than the defaults in each."""
LR = 1e-3


def weights():
    """A matrix, a vector, a convolution, and a matrix that starts at zero."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(24, 16), (16,), (8, 4, 3, 3), (5, 24)]
    found = [0.3 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [torch.nn.Parameter(0.0 * start if place == 3 else start) for place, start in enumerate(found)]


def loss_at(step, params):
    """A loss whose gradient depends on the weights, on fresh examples at each step."""
    matrix, vector, convolution, late = params
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(32, 24, generator=generator, dtype=torch.float64)
    hidden = torch.tanh(x @ matrix + vector)
    picture = torch.nn.functional.conv2d(x[:, :16].reshape(32, 4, 2, 2), convolution, padding=1)
    return ((hidden - 0.5) ** 2).mean() + (picture**2).mean() + ((x @ late.T - 1) ** 2).mean()


def walked(build):
    """All weights after each step."""
    params = weights()
    optimizer = build(params)
    path = []
    for step in range(STEPS):
        loss_at(step, params).backward()
        optimizer.step()
        optimizer.zero_grad()
        path.append([param.detach().clone() for param in params])
    return path


@pytest.mark.parametrize("beta1", [None, 0.9], ids=["", "beta1"])
@pytest.mark.parametrize("values", CASES, ids=lambda values: "-".join(name for name in values if values[name]))
def test_adafactor_walks_as_in_transformers(values, beta1):
    ours = {**values, "beta1": beta1}
    theirs = {name: value for name, value in ours.items() if name not in {"eps", "eps2"}}
    eps = (values.get("eps", 1e-30), values.get("eps2", 1e-3))
    lr = None if values["relative_step"] else LR
    own = walked(lambda params: dw.build_optimizer(dw.Settings("ADAFACTOR", lr=LR, **ours), params))
    expected = walked(lambda params: transformers.Adafactor(params, lr=lr, eps=eps, **theirs))
    start = weights()
    bound = 1e-6 if beta1 else 1e-12  # ours keeps momentum in 32 bits
    for step, (mine, other) in enumerate(zip(own, expected, strict=True), 1):
        for place, (one, two) in enumerate(zip(mine, other, strict=True)):
            assert (one - two).norm() <= bound * two.norm(), (step, place)
    assert not any(map(torch.equal, expected[-1], start)), "all have moved"


@pytest.mark.parametrize("beta1", [None, 0.9])
@pytest.mark.parametrize("scale", [True, False])
def test_the_rate_of_transformers_adafactor_is_that_of_the_tensors_that_move(scale, beta1):
    """Each tensor counts its own steps: the first one gets no gradient, and the third one begins later."""
    idle, two, three = (
        torch.nn.Parameter(torch.full(shape, 0.5, dtype=torch.float64)) for shape in ((9,), (4,), (2, 3))
    )
    warming = {"relative_step": True, "warmup_init": True, "scale_parameter": scale, "beta1": beta1}
    optimizer = transformers.Adafactor([idle, two, three], **warming)
    steps = {two: 0, three: 0}
    with dw.watch(optimizer) as w:
        moved = []
        for step in range(8):
            moving = [two, three] if step >= 4 else [two]
            before = [p.detach().clone() for p in moving]
            for p in moving:
                p.grad = torch.ones_like(p)
                steps[p] += 1
            optimizer.step()
            optimizer.zero_grad()
            sizes = []
            for p, old in zip(moving, before, strict=True):
                gathered = 1.0 if beta1 is None else 1 - beta1 ** steps[p]
                sizes.append((p.numel(), float((old - p.detach()).mean()) / gathered))
            moved.append(sum(n * size for n, size in sizes) / sum(n for n, _ in sizes))
    told = w.history.column("applied_lr")[:, 0]
    assert told.tolist() == pytest.approx(moved, rel=1e-6)
    assert told[3] > 1.2e-6
