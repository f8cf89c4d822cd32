"""Layers that networks are made of, each as its weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Weight(NamedTuple):
    """One weight of a network: its name in diffusers and its shape in torch."""

    name: str
    shape: tuple[int, ...]


def linear(name: str, wide_in: int, wide_out: int, *, bias: bool = True) -> Iterator[Weight]:
    """Yield the weights of a linear layer from `wide_in` to `wide_out` features."""
    yield Weight(f"{name}.weight", (wide_out, wide_in))
    if bias:
        yield Weight(f"{name}.bias", (wide_out,))


def conv(name: str, wide_in: int, wide_out: int, kernel: int = 3) -> Iterator[Weight]:
    """Yield the weights of a two-dimensional convolution with a square kernel."""
    yield Weight(f"{name}.weight", (wide_out, wide_in, kernel, kernel))
    yield Weight(f"{name}.bias", (wide_out,))


def norm(name: str, wide: int) -> Iterator[Weight]:
    """Yield the weights of a group norm or layer norm with scale and shift."""
    yield Weight(f"{name}.weight", (wide,))
    yield Weight(f"{name}.bias", (wide,))


def embedding(name: str, wide_in: int, wide: int) -> Iterator[Weight]:
    """Yield the weights of two linear layers in a row, as diffusers embeds times and pooled texts."""
    yield from linear(f"{name}.linear_1", wide_in, wide)
    yield from linear(f"{name}.linear_2", wide, wide)
