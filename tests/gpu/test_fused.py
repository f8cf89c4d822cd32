"""torch's ways to take a step on a GPU: whether they come to the same weights, what they take, and a captured step."""

import statistics
import time
from functools import partial
from itertools import islice

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.optimizers.factory import build_optimizer
from diffopt_widgets.probe.model import walk

ROUNDING = 1e-5
STEPS = 40
TENSORS, SIDE = 60, 256
WAYS = {
    "for each tensor": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"capturable": True},
}


def ways_of(key, *, on_gpu):
    options = dw.Settings(key).options
    return {
        name: values
        for name, values in WAYS.items()
        if values.keys() <= options.keys() and (on_gpu or "capturable" not in values)
    }


KEYS = [key for key in list_optimizers() if {"fused", "foreach"} & dw.Settings(key).options.keys()]


def build(settings, groups):
    return build_optimizer(settings, groups), None


def milliseconds(settings, device):
    """Return what a step of the optimizer alone takes on many tensors."""
    params = [torch.nn.Parameter(torch.full((SIDE, SIDE), 0.1, device=device)) for _ in range(TENSORS)]
    for p in params:
        p.grad = torch.full_like(p, 0.01)
    optimizer = dw.build_optimizer(settings, params)
    took = []
    for _ in range(12):
        wait(device)
        began = time.perf_counter()
        optimizer.step()
        wait(device)
        took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took[3:])


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


@pytest.mark.parametrize("key", KEYS)
def test_every_way_comes_to_the_same_weights(key, rows, device):
    found = {}
    for name, values in ways_of(key, on_gpu=device == "cuda").items():
        with rows.failing(f"{key}, {name}"):
            settings = dw.Settings(key, **values)
            *_, found[name] = islice(walk(partial(build, settings), device=device), STEPS)
            far = float((found[name] - found.get("for each tensor", found[name])).abs().max())
            took = milliseconds(settings, device)
            rows.add(
                f"{key}, {name}",
                f"{far:.1e} apart after {STEPS} steps; {took:.2f} ms for {TENSORS} tensors of {SIDE}²",
                far < ROUNDING,
                apart=far,
                ms=took,
            )
    assert [missed for missed in rows.missed() if missed.startswith(f"{key},")] == []


@pytest.mark.parametrize("key", [key for key in KEYS if "capturable" in dw.Settings(key).options])
def test_a_step_captured_in_a_graph(key, rows, cuda):
    """Replayed, it takes the same steps as one that is not captured."""

    def made():
        generator = torch.Generator().manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(64, 64, generator=generator).to(cuda))
        weight.grad = torch.randn(64, 64, generator=generator).to(cuda)
        return weight, dw.build_optimizer(dw.Settings(key, capturable=True), [weight])

    weight, optimizer = made()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            optimizer.step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    for _ in range(10):
        graph.replay()
    plain, other = made()
    for _ in range(13):
        other.step()
    far = float((weight - plain).detach().abs().max())
    rows.add(f"{key}, a captured step", f"{far:.1e} apart after 3 steps and 10 replays", far < ROUNDING, apart=far)
    assert [missed for missed in rows.missed() if missed.startswith(f"{key}, a captured")] == []
