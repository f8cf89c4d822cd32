"""Adagrad and RMSprop, which divide by the history of squared gradients, in 32 and 8 bits."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.schema import Link, OptimizerSpec, Preset, Use

_FAMILY = "Adaptive by history"
_8BIT_PAPER = Link("Dettmers et al. 2021", "https://arxiv.org/abs/2110.02861")
_BNB = "https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/optim"
_DECAY = Use(
    o.WEIGHT_DECAY,
    0.0,
    "weight_decay",
    note="Added to the gradient, so weights with large gradients hardly feel it.",
)
_ONETRAINER = shared.onetrainer({}, shared.NO_BLOCKS)

# Adagrad
_ADAGRAD_FORMULA = r"s \leftarrow s + g^2,\quad \theta \leftarrow \theta - \gamma\, \frac{g}{\sqrt{s} + \epsilon}"
_ADAGRAD_PAPER = Link("Duchi et al. 2011", "https://jmlr.org/papers/v12/duchi11a.html")
_ADAGRAD_LR = Use(
    o.LR,
    0.01,
    "lr",
    note="It scales every step of the run, and besides the steps shrink as squared gradients add up: with steady gradients to a "
    "tenth by step 100.",
    advice=Advice(
        0.01,
        "What steps are divided by only grows, so start higher than with Adam.",
        "common practice",
        between=(0.005, 0.05),
    ),
)
_RAISES = "bitsandbytes keeps the argument and raises for any value other than 0"
_LR_DECAY = shared.unavailable(o.LR_DECAY, 0.0, f"{_RAISES}; choose a schedule instead", "lr_decay")
_INITIAL = shared.unavailable(
    o.INITIAL_ACCUMULATOR_VALUE,
    0.0,
    f"{_RAISES}; use warm-up to soften the start",
    "initial_accumulator_value",
)
_ADAGRAD_RECOMMENDED = Preset(
    "recommended",
    "Recommended",
    {"lr": 0.01, "schedule": "CONSTANT", "warmup": 0.05},
    "Adagrad's steps fall by themselves, so no falling schedule is needed; a short warm-up softens the first ones, which are "
    "the largest of the run.",
)

ADAGRAD = OptimizerSpec(
    key="ADAGRAD",
    title="Adagrad",
    family=_FAMILY,
    summary="Divides each step by the root of all squared gradients so far: rarely used weights keep large steps, and all "
    "steps shrink as the run goes on.",
    formula=_ADAGRAD_FORMULA,
    links=(_ADAGRAD_PAPER, Link("code", f"{_BNB}/adagrad.py")),
    target="bitsandbytes.optim:Adagrad",
    package="bitsandbytes",
    lr=_ADAGRAD_LR,
    uses=(
        _LR_DECAY,
        _DECAY,
        _INITIAL,
        Use(o.EPS, 1e-10, "eps"),
        shared.OPTIM_BITS,
        shared.MIN_8BIT_SIZE_IF_8BIT,
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
    ),
    presets=(shared.LIBRARY, _ONETRAINER, _ADAGRAD_RECOMMENDED),
    hidden=(shared.BNB_ARGS,),
    state_names=("state1",),
    steps_each_tensor=True,
)

ADAGRAD_8BIT = OptimizerSpec(
    key="ADAGRAD_8BIT",
    title="Adagrad (8-bit)",
    family=_FAMILY,
    summary="Adagrad with its sum of squared gradients in 8 bits.",
    formula=_ADAGRAD_FORMULA,
    links=(_8BIT_PAPER, _ADAGRAD_PAPER, Link("code", f"{_BNB}/adagrad.py")),
    target="bitsandbytes.optim:Adagrad8bit",
    package="bitsandbytes",
    lr=_ADAGRAD_LR,
    uses=(
        _LR_DECAY,
        _DECAY,
        _INITIAL,
        Use(o.EPS, 1e-10, "eps"),
        shared.unavailable(
            o.OPTIM_BITS,
            8,
            "bitsandbytes raises for any value other than 8; ADAGRAD has 32-bit states",
            "optim_bits",
        ),
        shared.MIN_8BIT_SIZE,
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
        shared.FUSED_BACK_PASS,
    ),
    presets=(shared.LIBRARY, _ONETRAINER, _ADAGRAD_RECOMMENDED),
    hidden=(shared.BNB_ARGS,),
    state_bits=8,
    state_names=("state1",),
    steps_each_tensor=True,
)

# RMSprop
_RMSPROP_FORMULA = (
    r"v \leftarrow \alpha v + (1-\alpha)\,g^2,\quad \theta \leftarrow \theta - \gamma\, \frac{g}{\sqrt{v} + \epsilon}"
)
_RMSPROP_PAPER = Link("Hinton 2012", "https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf")
_RMSPROP_LR = Use(
    o.LR,
    0.01,
    "lr",
    advice=Advice(
        1e-3,
        "Like Adam without momentum: its rates carry over, and the package's 0.01 is too large for most networks.",
        "common practice",
        between=(1e-4, 1e-3),
    ),
)
_ALPHA = Use(
    o.ALPHA,
    0.99,
    "alpha",
    note="0 raises.",
    domain=shared.OPEN_FRACTION,
)
_IGNORED = "bitsandbytes accepts it and never reads it; Adam has momentum"
_CENTERED = shared.unavailable(o.CENTERED, False, "bitsandbytes raises when it is on", "centered")
_RMSPROP_RECOMMENDED = Preset(
    "recommended",
    "Recommended",
    {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05},
    "Adam's usual rate. The average starts at zero and is not corrected, which makes the first steps up to ten times too "
    "large; a short warm-up takes that off, though runs without it ended nearly alike.",
)

RMSPROP = OptimizerSpec(
    key="RMSPROP",
    title="RMSprop",
    family=_FAMILY,
    summary="Divides each gradient by the root of a running average of its square. Adam without momentum and without bias "
    "correction.",
    formula=_RMSPROP_FORMULA,
    links=(_RMSPROP_PAPER, Link("code", f"{_BNB}/rmsprop.py")),
    target="bitsandbytes.optim:RMSprop",
    package="bitsandbytes",
    lr=_RMSPROP_LR,
    uses=(
        _ALPHA,
        Use(o.EPS, 1e-8, "eps"),
        _DECAY,
        shared.inert(o.MOMENTUM, 0.0, "momentum", _IGNORED),
        _CENTERED,
        shared.OPTIM_BITS,
        shared.MIN_8BIT_SIZE_IF_8BIT,
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
    ),
    presets=(shared.LIBRARY, _ONETRAINER, _RMSPROP_RECOMMENDED),
    hidden=(shared.BNB_ARGS,),
    state_names=("state1",),
    steps_each_tensor=True,
)

RMSPROP_8BIT = OptimizerSpec(
    key="RMSPROP_8BIT",
    title="RMSprop (8-bit)",
    family=_FAMILY,
    summary="RMSprop with its average in 8 bits, for less memory.",
    formula=_RMSPROP_FORMULA,
    links=(_8BIT_PAPER, _RMSPROP_PAPER, Link("code", f"{_BNB}/rmsprop.py")),
    target="bitsandbytes.optim:RMSprop8bit",
    package="bitsandbytes",
    lr=_RMSPROP_LR,
    uses=(
        _ALPHA,
        Use(o.EPS, 1e-8, "eps"),
        _DECAY,
        shared.inert(o.MOMENTUM, 0.0, "momentum", _IGNORED),
        _CENTERED,
        shared.MIN_8BIT_SIZE,
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
    ),
    presets=(shared.LIBRARY, _ONETRAINER, _RMSPROP_RECOMMENDED),
    hidden=(shared.BNB_ARGS,),
    state_bits=8,
    state_names=("state1",),
    steps_each_tensor=True,
)

ENTRIES = (RMSPROP, RMSPROP_8BIT, ADAGRAD, ADAGRAD_8BIT)
