"""A loop of one's own to watch: parameters that are pulled to zero."""

import torch


def problem(*sizes, dtype=torch.float32):
    """Return parameters that a loss of `sum of squares` pulls to zero."""
    return [torch.nn.Parameter(torch.linspace(0.5, 1.5, size).to(dtype)) for size in sizes or (4,)]


def loss_of(params):
    return sum(p.float().square().sum() for p in params)


def train(optimizer, params, steps, after=lambda loss: None):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(params)
        loss.backward()
        optimizer.step()
        after(loss)
