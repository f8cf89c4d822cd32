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
