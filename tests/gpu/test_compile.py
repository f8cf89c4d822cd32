"""`compile`: a step of adv_optm's optimizers compiled by torch."""

import time

import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.optimizers.compiled import compiler_trouble

SHAPES = [(128, 64), (128,)]
STEPS = 20
ROUNDING = {"MUON_ADV": 0.05, "ADAMUON_ADV": 0.05}
"""Those two iterate in bfloat16, of 8 bits; all others step in float32."""
FLOAT32 = 1e-4
KEYS = [key for key in list_optimizers() if any(use.requires == "compiler" for use in spec(key).uses)]


def tensors(step, device):
    """Return random tensors: of full rank, since Muon makes as much of a gradient's rounding as of the rest otherwise."""
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator).to(device) for shape in SHAPES]


def trained(settings, device):
    """Return how far the weights moved, the seconds of the first step, and milliseconds of a later one."""
    params = [torch.nn.Parameter(start) for start in tensors(0, device)]
    optimizer, took = dw.build_optimizer(settings, [("block.weight", params[0]), ("block.bias", params[1])]), []
    for step in range(STEPS):
        for p, gradient in zip(params, tensors(step + 1, device), strict=True):
            p.grad = gradient
        wait(device)
        began = time.perf_counter()
        optimizer.step()
        wait(device)
        took.append(time.perf_counter() - began)
    moved = [(p - start).detach().flatten() for p, start in zip(params, tensors(0, device), strict=True)]
    return torch.cat(moved), took[0], 1000 * sorted(took[2:])[len(took[2:]) // 2]


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def test_a_compiled_step_comes_to_the_same_weights(rows, device):
    (name,) = {use.name for key in KEYS for use in spec(key).uses if use.requires == "compiler"}
    if trouble := compiler_trouble({torch.device(device)}):
        rows.add("a compiler", f"it needs {trouble}")
        return
    for key in rows.each(KEYS):
        with rows.failing(key):
            plain, _, before = trained(dw.Settings(key), device)
            compiled, first, after = trained(dw.Settings(key, **{name: True}), device)
            far = float((plain - compiled).norm() / plain.norm())
            words = f"{far:.1e} of their way apart after {STEPS} steps; first step {first:.1f} s, later {after:.2f} ms"
            ok = far < ROUNDING.get(key, FLOAT32)
            rows.add(key, f"{words}, not compiled {before:.2f}", ok, apart=far, first=first, ms=after, plain=before)
    assert rows.missed() == []
