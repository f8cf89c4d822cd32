"""Transformer of Flux.1, as diffusers' FluxTransformer2DModel builds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diffopt_widgets.state_size.models.parts import Weight, embedding, linear

TIME = 256
"""Width of the sinusoidal embedding of a time or a guidance scale."""


@dataclass(frozen=True, slots=True)
class Flux:
    """Sizes of a Flux transformer, from its published `transformer/config.json`."""

    heads: int
    head: int
    """`attention_head_dim`."""
    double: int
    """`num_layers`: blocks in which image and text have separate weights."""
    single: int
    """`num_single_layers`: blocks that process both as one sequence."""
    latent: int
    """`in_channels`."""
    text: int
    """`joint_attention_dim`."""
    pooled: int
    """`pooled_projection_dim`."""
    guidance: bool
    """`guidance_embeds`: in dev, not in schnell."""


FLUX = Flux(heads=24, head=128, double=19, single=38, latent=64, text=4096, pooled=768, guidance=True)


def flux_weights(flux: Flux) -> tuple[Weight, ...]:
    """Return every weight of the transformer, with diffusers' names."""
    return tuple(_weights(flux))


def _weights(flux: Flux) -> Iterator[Weight]:
    wide = flux.heads * flux.head
    yield from embedding("time_text_embed.timestep_embedder", TIME, wide)
    if flux.guidance:
        yield from embedding("time_text_embed.guidance_embedder", TIME, wide)
    yield from embedding("time_text_embed.text_embedder", flux.pooled, wide)
    yield from linear("context_embedder", flux.text, wide)
    yield from linear("x_embedder", flux.latent, wide)
    for number in range(flux.double):
        yield from _double(f"transformer_blocks.{number}", wide, flux.head)
    for number in range(flux.single):
        yield from _single(f"single_transformer_blocks.{number}", wide, flux.head)
    yield from linear("norm_out.linear", wide, 2 * wide)
    yield from linear("proj_out", wide, flux.latent)


def _double(name: str, wide: int, head: int) -> Iterator[Weight]:
    for norm in ("norm1", "norm1_context"):
        yield from linear(f"{name}.{norm}.linear", wide, 6 * wide)
    for norm in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
        yield Weight(f"{name}.attn.{norm}.weight", (head,))
    for layer in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
        yield from linear(f"{name}.attn.{layer}", wide, wide)
    for part in ("ff", "ff_context"):
        yield from linear(f"{name}.{part}.net.0.proj", wide, 4 * wide)
        yield from linear(f"{name}.{part}.net.2", 4 * wide, wide)


def _single(name: str, wide: int, head: int) -> Iterator[Weight]:
    yield from linear(f"{name}.norm.linear", wide, 3 * wide)
    yield from linear(f"{name}.proj_mlp", wide, 4 * wide)
    yield from linear(f"{name}.proj_out", 5 * wide, wide)
    for norm in ("norm_q", "norm_k"):
        yield Weight(f"{name}.attn.{norm}.weight", (head,))
    for layer in ("to_q", "to_k", "to_v"):
        yield from linear(f"{name}.attn.{layer}", wide, wide)
