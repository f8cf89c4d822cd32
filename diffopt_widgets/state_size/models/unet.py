"""UNet of Stable Diffusion, as diffusers' UNet2DConditionModel builds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diffopt_widgets.state_size.models.parts import Weight, conv, embedding, linear, norm

LATENT = 4
"""Channels of the latent image."""
RESNETS = 2
"""Residual blocks on each level of the way down; one more on the way up."""


@dataclass(frozen=True, slots=True)
class UNet:
    """Sizes of a UNet, from its published `unet/config.json`."""

    channels: tuple[int, ...]
    """`block_out_channels`: the width of each level."""
    depths: tuple[int, ...]
    """`transformer_layers_per_block` on each level; 0 for a level without attention (`DownBlock2D`)."""
    middle: int
    """`transformer_layers_per_block` of the middle block."""
    text: int
    """`cross_attention_dim`: the width of the text embedding."""
    linear_projection: bool
    """`use_linear_projection`: a linear layer into and out of the transformer blocks instead of a 1 × 1 convolution."""
    pooled: int = 0
    """`projection_class_embeddings_input_dim`: the width of pooled text and sizes; 0 if there are none."""


SD15 = UNet(channels=(320, 640, 1280, 1280), depths=(1, 1, 1, 0), middle=1, text=768, linear_projection=False)
SDXL = UNet(channels=(320, 640, 1280), depths=(0, 2, 10), middle=10, text=2048, linear_projection=True, pooled=2816)


def unet_weights(unet: UNet) -> tuple[Weight, ...]:
    """Return every weight of a UNet, with diffusers' names."""
    return tuple(_weights(unet))


def _weights(unet: UNet) -> Iterator[Weight]:
    first, last = unet.channels[0], unet.channels[-1]
    time = 4 * first
    yield from conv("conv_in", LATENT, first)
    yield from embedding("time_embedding", first, time)
    if unet.pooled:
        yield from embedding("add_embedding", unet.pooled, time)
    yield from _down(unet, time)
    yield from _resnet("mid_block.resnets.0", last, last, time)
    yield from _attention("mid_block.attentions.0", unet, last, unet.middle)
    yield from _resnet("mid_block.resnets.1", last, last, time)
    yield from _up(unet, time)
    yield from norm("conv_norm_out", first)
    yield from conv("conv_out", first, LATENT)


def _down(unet: UNet, time: int) -> Iterator[Weight]:
    before = unet.channels[0]
    for level, (wide, depth) in enumerate(zip(unet.channels, unet.depths, strict=True)):
        name = f"down_blocks.{level}"
        for number in range(RESNETS):
            yield from _resnet(f"{name}.resnets.{number}", wide if number else before, wide, time)
            yield from _attention(f"{name}.attentions.{number}", unet, wide, depth)
        if level < len(unet.channels) - 1:
            yield from conv(f"{name}.downsamplers.0.conv", wide, wide)
        before = wide


def _up(unet: UNet, time: int) -> Iterator[Weight]:
    """Yield the weights of the way up, where each residual block also takes an output of the way down at its level."""
    channels, depths = unet.channels[::-1], unet.depths[::-1]
    before = channels[0]
    for level, (wide, depth) in enumerate(zip(channels, depths, strict=True)):
        name, last = f"up_blocks.{level}", level == len(channels) - 1
        for number in range(RESNETS + 1):
            skipped = wide if number < RESNETS else channels[min(level + 1, len(channels) - 1)]
            yield from _resnet(f"{name}.resnets.{number}", (wide if number else before) + skipped, wide, time)
            yield from _attention(f"{name}.attentions.{number}", unet, wide, depth)
        if not last:
            yield from conv(f"{name}.upsamplers.0.conv", wide, wide)
        before = wide


def _resnet(name: str, before: int, wide: int, time: int) -> Iterator[Weight]:
    yield from norm(f"{name}.norm1", before)
    yield from conv(f"{name}.conv1", before, wide)
    yield from linear(f"{name}.time_emb_proj", time, wide)
    yield from norm(f"{name}.norm2", wide)
    yield from conv(f"{name}.conv2", wide, wide)
    if before != wide:
        yield from conv(f"{name}.conv_shortcut", before, wide, kernel=1)


def _attention(name: str, unet: UNet, wide: int, depth: int) -> Iterator[Weight]:
    if not depth:
        return
    project = linear if unet.linear_projection else lambda name, a, b: conv(name, a, b, kernel=1)
    yield from norm(f"{name}.norm", wide)
    yield from project(f"{name}.proj_in", wide, wide)
    for number in range(depth):
        block = f"{name}.transformer_blocks.{number}"
        for attention, source in (("attn1", wide), ("attn2", unet.text)):
            yield from linear(f"{block}.{attention}.to_q", wide, wide, bias=False)
            yield from linear(f"{block}.{attention}.to_k", source, wide, bias=False)
            yield from linear(f"{block}.{attention}.to_v", source, wide, bias=False)
            yield from linear(f"{block}.{attention}.to_out.0", wide, wide)
        yield from linear(f"{block}.ff.net.0.proj", wide, 8 * wide)  # GEGLU: half of it gates the other half
        yield from linear(f"{block}.ff.net.2", 4 * wide, wide)
        for which in ("norm1", "norm2", "norm3"):
            yield from norm(f"{block}.{which}", wide)
    yield from project(f"{name}.proj_out", wide, wide)
