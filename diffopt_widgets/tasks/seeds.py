"""Random numbers that depend on given whole numbers only, not on the global generators and not on the device."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_MASK = (1 << 64) - 1


def mix(*parts: int) -> int:
    """Mix several whole numbers into one seed (32 bits, as much as torch's CPU generator takes).

    The same numbers give the same seed in every process and on every machine, which `hash` does not promise. The
    scrambling is SplitMix64 (Steele, Lea and Flood, 2014).

    >>> mix(0, 1) == mix(0, 1), mix(0, 1) == mix(1, 0)
    (True, False)
    """
    state = 0
    for part in parts:
        state = (state + (part & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 32


def generator(*parts: int) -> torch.Generator:
    """Make a fresh CPU generator seeded by `mix(*parts)`."""
    import torch

    return torch.Generator().manual_seed(mix(*parts))


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Enter a context in which torch's global generators, of the CPU and one device, are seeded; restore them afterwards.

    `torch.manual_seed` would seed every kind of device, and format a traceback for each one that is not in use: that takes
    longer than a step of a small model.
    """
    import torch

    cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
