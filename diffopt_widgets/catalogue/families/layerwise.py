"""LAMB and LARS, which limit each tensor's update by the tensor's own norm, in 32 and 8 bits."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.remedies import BETA2, restored_beta2
from diffopt_widgets.catalogue.schema import Link, OptimizerSpec, Preset, Use

_FAMILY = "Layer-wise"
_LAMB_PAPER = Link("You et al. 2019 (LAMB)", "https://arxiv.org/abs/1904.00962")
_LARS_PAPER = Link("You et al. 2017 (LARS)", "https://arxiv.org/abs/1708.03888")
_8BIT_PAPER = Link("Dettmers et al. 2021", "https://arxiv.org/abs/2110.02861")
_BNB = "https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/optim"
_RATE_WORDS = "learning rate · min(1, max_unorm · ‖weights‖ / ‖update‖) of each tensor, as a mean over the weights"
_RATE_WORDS_8BIT = "the group's learning rate; tensors that keep 32-bit states are limited as in the 32-bit form"
_LAMB_FORMULA = (
    r"u = \frac{\hat m}{\sqrt{\hat v} + \epsilon},\quad "
    r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\,\min\!\left(1, \frac{c\,\lVert\theta\rVert}{\lVert u\rVert}\right) u"
)
_LARS_FORMULA = (
    r"b \leftarrow \mu\, b + g + \lambda\theta,\quad "
    r"\theta \leftarrow \theta - \gamma\,\min\!\left(1, \frac{c\,\lVert\theta\rVert}{\lVert b\rVert}\right) b"
)
_DECAY_NOTE_LAMB = "Applied to the weights themselves, multiplied by the learning rate."
_IGNORED = "bitsandbytes accepts it and never reads it"
_RAISES = "bitsandbytes keeps the argument for compatibility and raises for any other value"
_ONLY_SHRINKS = "bitsandbytes only ever scales an update down, where the paper also scales it up."

# LAMB
_LAMB_LR = Use(
    o.LR,
    1e-3,
    "lr",
    note=_ONLY_SHRINKS,
    advice=replace(
        shared.RATES_OF_ADAMW,
        reason="With max_unorm at 0 AdamW's rates carry over. The limit only holds steps back, so under it the rate may be higher.",
        value=1e-3,
    ),
)
_LAMB_8BIT_ADVICE = replace(
    shared.RATES_OF_ADAMW, reason="Large tensors are not limited, so AdamW's rates carry over.", value=1e-3
)
_BIAS_CORRECTION = shared.inert(
    o.BIAS_CORRECTION, True, "bias_correction", f"{_IGNORED}; the correction is always made"
)
_ADAM_W_MODE = shared.inert(o.ADAM_W_MODE, True, "adam_w_mode", f"{_IGNORED}; weight decay is always decoupled")

LAMB = OptimizerSpec(
    key="LAMB",
    title="LAMB",
    family=_FAMILY,
    summary="Adam whose update is limited, tensor by tensor, to the tensor's norm or a fraction of it. Made for very large "
    "batches.",
    formula=_LAMB_FORMULA,
    links=(_LAMB_PAPER, Link("code", f"{_BNB}/lamb.py")),
    target="bitsandbytes.optim:LAMB",
    package="bitsandbytes",
    lr=_LAMB_LR,
    uses=(
        _BIAS_CORRECTION,
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE_LAMB),
        shared.inert(o.AMSGRAD, False, "amsgrad", _IGNORED),
        _ADAM_W_MODE,
        shared.OPTIM_BITS,
        shared.MIN_8BIT_SIZE_IF_8BIT,
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
        Use(
            o.MAX_UNORM,
            1.0,
            "max_unorm",
            note="The update's norm is taken before the learning rate, on a CPU also before the bias correction: with the usual "
            "betas it counts 3.2 times as large at the first step there. Tensors with 8-bit states are not limited.",
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}, shared.NO_BLOCKS),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99, "max_unorm": 0.0},
            "AdamW's values, and no limit: under it tensors that start at zero never move, as LoRAs and diffusion models have "
            "them. On the bench's digits the loss ends at 0.19 without it; with it, at ten times the rate, at 0.59.",
        ),
    ),
    hidden=(shared.BNB_ARGS,),
    rate="per_tensor:Trust",
    rate_words=_RATE_WORDS,
    remedies=(restored_beta2(where=lambda values: values["max_unorm"] == 0),),
    state_names=("state1", "state2"),
    steps_each_tensor=True,
)

LAMB_8BIT = OptimizerSpec(
    key="LAMB_8BIT",
    title="LAMB (8-bit)",
    family=_FAMILY,
    summary="LAMB with 8-bit states. bitsandbytes leaves out the limit for such tensors, so it is AdamW (8-bit) except for "
    "tensors small enough to keep 32-bit states.",
    formula=_LAMB_FORMULA,
    links=(_LAMB_PAPER, _8BIT_PAPER, Link("code", f"{_BNB}/lamb.py")),
    target="bitsandbytes.optim:LAMB8bit",
    package="bitsandbytes",
    lr=replace(_LAMB_LR, advice=_LAMB_8BIT_ADVICE),
    uses=(
        _BIAS_CORRECTION,
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE_LAMB),
        shared.unavailable(o.AMSGRAD, False, _RAISES, "amsgrad"),
        _ADAM_W_MODE,
        Use(
            o.MIN_8BIT_SIZE,
            4096,
            "min_8bit_size",
            note="Tensors below it are limited by their norm; one of them that starts at zero never moves.",
        ),
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
        shared.unavailable(
            o.MAX_UNORM,
            1.0,
            f"{_RAISES}; it acts only on tensors that keep 32-bit states. LAMB lets you change it",
            "max_unorm",
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}, shared.NO_BLOCKS),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99, "min_8bit_size": 0},
            "AdamW's values, and all states in 8 bits, since only those of 32 bits are limited: under the limit tensors that "
            "start at zero never move. On the bench's digits the loss ends at 0.19; at the package's min_8bit_size, at 0.82.",
        ),
    ),
    hidden=(shared.BNB_ARGS,),
    rate="per_tensor:Trust",
    rate_words=_RATE_WORDS_8BIT,
    remedies=(BETA2,),
    state_bits=8,
    state_names=("state1", "state2"),
    steps_each_tensor=True,
)

# LARS
_LARS_LR = Use(
    o.LR,
    0.01,
    "lr",
    note="The package has no default of its own; 0.01 is the bench's.",
    advice=Advice(
        1.0,
        "The limit makes steps small, so the rate is large.",
        "the LARS paper",
        words="about 1, by factors of 3 around it",
        between=(0.1, 10),
    ),
    fixed=True,
)
_LARS_8BIT_ADVICE = Advice(
    0.03,
    "Large tensors are not limited, so take SGD's rate.",
    "common practice",
    words="about 0.03, by factors of 3 around it",
    between=(0.01, 1),
)
_LARS_MOMENTUM = Use(
    o.MOMENTUM,
    0.9,
    "momentum",
    note="The package's own default of 0 raises, so 0.9 is the default here.",
    domain=shared.OPEN_FRACTION,
    fixed=True,
)
_DAMPENING = shared.inert(o.DAMPENING, 0.0, "dampening", f"{_IGNORED}; SGD honours it", shared.BELOW_ONE)
_NESTEROV = shared.inert(o.NESTEROV, False, "nesterov", f"{_IGNORED}; SGD honours it")
_DECAY_LARS = Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note="Added to the gradient before the momentum.")
_LARS_ONETRAINER = shared.onetrainer({}, "Momentum 0 is left out, since it raises.")

LARS = OptimizerSpec(
    key="LARS",
    title="LARS",
    family=_FAMILY,
    summary="SGD with momentum whose update is limited, tensor by tensor, to a fraction of the tensor's norm. Made for very "
    "large batches.",
    formula=_LARS_FORMULA,
    links=(_LARS_PAPER, Link("code", f"{_BNB}/lars.py")),
    target="bitsandbytes.optim:LARS",
    package="bitsandbytes",
    lr=_LARS_LR,
    uses=(
        _LARS_MOMENTUM,
        _DAMPENING,
        _DECAY_LARS,
        _NESTEROV,
        shared.OPTIM_BITS,
        shared.MIN_8BIT_SIZE_IF_8BIT,
        shared.PERCENTILE_CLIPPING,
        Use(
            o.MAX_UNORM,
            0.02,
            "max_unorm",
            note="The update's norm is taken before the learning rate. Tensors with 8-bit states are not limited.",
        ),
    ),
    presets=(
        shared.LIBRARY,
        _LARS_ONETRAINER,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1.0, "momentum": 0.9, "schedule": "COSINE", "warmup": 0.05},
            "The limit keeps each update below 2% of its tensor, so a rate of 1 is safe and needed. Tensors that start at zero "
            "do not move under the limit.",
        ),
    ),
    hidden=(shared.BNB_ARGS,),
    rate="per_tensor:Trust",
    rate_words=_RATE_WORDS,
    state_names=("state1",),
    steps_each_tensor=True,
)

LARS_8BIT = OptimizerSpec(
    key="LARS_8BIT",
    title="LARS (8-bit)",
    family=_FAMILY,
    summary="LARS with its momentum in 8 bits. bitsandbytes leaves out the limit for such tensors, so it is SGD (8-bit) except "
    "for tensors small enough to keep 32-bit states.",
    formula=_LARS_FORMULA,
    links=(_LARS_PAPER, _8BIT_PAPER, Link("code", f"{_BNB}/lars.py")),
    target="bitsandbytes.optim:LARS8bit",
    package="bitsandbytes",
    lr=replace(_LARS_LR, advice=_LARS_8BIT_ADVICE),
    uses=(
        _LARS_MOMENTUM,
        _DAMPENING,
        _DECAY_LARS,
        _NESTEROV,
        shared.MIN_8BIT_SIZE,
        shared.PERCENTILE_CLIPPING,
        Use(o.MAX_UNORM, 0.02, "max_unorm", note="It acts only on tensors that keep 32-bit states."),
    ),
    presets=(
        shared.LIBRARY,
        _LARS_ONETRAINER,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 0.03, "momentum": 0.9, "schedule": "COSINE", "warmup": 0.05, "max_unorm": 0.0},
            "Large tensors move as under SGD (8-bit), so its rate fits; the limit is taken off the small ones, so that those "
            "that start at zero learn too.",
        ),
    ),
    hidden=(shared.BNB_ARGS,),
    rate="per_tensor:Trust",
    rate_words=_RATE_WORDS_8BIT,
    state_bits=8,
    state_names=("state1",),
    steps_each_tensor=True,
)

ENTRIES = (LAMB, LAMB_8BIT, LARS, LARS_8BIT)
