"""CAME, which is Adafactor with a momentum and a confidence in it, in 32 and 8 bits."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.schema import Link, OptimizerSpec, Preset, Use

_FAMILY = "Low memory"
_PAPER = Link("Luo et al. 2023", "https://arxiv.org/abs/2307.02047")
_FORMULA = (
    r"u = \frac{g}{\sqrt{\hat v}\ \max(1,\ \mathrm{RMS}(g / \sqrt{\hat v}) / \kappa)},\quad m \leftarrow \beta_1 m + (1-\beta_1)\,u"
    r",\quad \theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\, \frac{m}{\sqrt{\hat s}},\quad \hat s \approx \overline{(u - m)^2}"
)
_RATE_WORDS = (
    "the learning rate as scheduled; dividing by the doubt makes the first steps of a matrix about 11 times as large"
)
_LR_NOTE = (
    "The average of the doubt starts at 0 and is not corrected for that: with the usual betas the first steps of a matrix "
    "are about 11 times the rate. On the bench's digits they are 1.3 times the rate after 300 steps; with steady gradients they "
    "grow. Biases and norms take ordinary steps."
)
_LR_ADVICE = Advice(
    1e-4,
    "The authors take a third of AdamW's rate up to the same.",
    source="the CAME authors' README",
    words="a third of AdamW's rate, up to the same",
    between=(3e-6, 1e-3),
)
_USES = (
    Use(o.BETA1, 0.9, "betas[0]"),
    Use(o.BETA2, 0.999, "betas[1]"),
    Use(
        replace(o.BETA3, nullable=False, null_words=""),
        0.9999,
        "betas[2]",
        note="Here it averages the squared doubt, the distance of an update from the momentum, in matrices only. Smaller also "
        "makes the first steps smaller.",
        advice=Advice(
            0.9999,
            "The range that the authors found to suit beta1 of 0.9 and beta2 of 0.999.",
            source="the CAME authors' README",
            between=(0.9995, 0.99995),
        ),
    ),
    Use(
        replace(o.EPS_OF_SQUARES, soft=(1e-30, 1e-6)),
        1e-30,
        "eps[0]",
        note="0 would turn weights without a gradient into NaN.",
        domain=shared.POSITIVE,
    ),
    Use(
        replace(o.EPS2_OF_CAME, soft=(1e-20, 1e-2)),
        1e-16,
        "eps[1]",
        note="0 would turn weights without a gradient into NaN.",
        domain=shared.POSITIVE,
    ),
    Use(
        o.CLIP_THRESHOLD,
        1.0,
        "clip_threshold",
        note="The squared average starts at 0, so that at the beginning of a run every update is clipped.",
    ),
)
_DECAY_NOTE = "Applied to the weights themselves, multiplied by the learning rate."
_RECOMMENDED = Preset(
    "recommended",
    "Recommended",
    {"lr": 2e-4, "schedule": "COSINE", "warmup": 0.1, "weight_decay": 0.01},
    "The rate, betas and weight decay of the authors' own example. The warm-up is there because the first steps are the largest; runs "
    "without it ended alike. "
    "Use 3e-5 to 1e-4 for a LoRA of a large model.",
)

CAME = OptimizerSpec(
    key="CAME",
    title="CAME",
    family=_FAMILY,
    summary="Adafactor with a momentum and a second factored average, of how far updates stray from it: where they do, steps "
    "become smaller.",
    formula=_FORMULA,
    links=(_PAPER, Link("code", "https://github.com/yangluo7/CAME")),
    target="came_pytorch:CAME",
    package="came-pytorch",
    lr=Use(
        o.LR,
        2e-4,
        "lr",
        note=f"{_LR_NOTE} The package has no default that runs; 2e-4 is its README's.",
        advice=_LR_ADVICE,
        fixed=True,
    ),
    uses=(
        *_USES,
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE),
        shared.STOCHASTIC_ROUNDING,
        shared.unavailable(
            o.USE_CAUTIOUS, False, "came-pytorch has no such form of CAME; ADOPT has one, named cautious"
        ),
        shared.FUSED_BACK_PASS,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"weight_decay": 0.01}),
        _RECOMMENDED,
    ),
    rate_words=_RATE_WORDS,
    state_names=("exp_avg", "exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_res_row", "exp_avg_res_col"),
    steps_each_tensor=True,
)

CAME_8BIT = OptimizerSpec(
    key="CAME_8BIT",
    title="CAME (8-bit)",
    family=_FAMILY,
    summary="CAME with its momentum in 8 bits. No package has it, so the bench brings its "
    "own, written from the paper with the quantisation of bitsandbytes.",
    formula=_FORMULA,
    links=(
        _PAPER,
        Link("Dettmers et al. 2021", "https://arxiv.org/abs/2110.02861"),
        Link("code", "https://github.com/yangluo7/CAME"),
    ),
    target="diffopt_widgets.optimizers.came8bit:CAME8bit",
    package="bitsandbytes",
    lr=Use(o.LR, 2e-4, "lr", note=_LR_NOTE, advice=_LR_ADVICE),
    uses=(
        *_USES,
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE),
        shared.STOCHASTIC_ROUNDING,
        shared.FUSED_BACK_PASS,
        Use(
            o.MIN_8BIT_SIZE,
            16384,
            "min_8bit_size",
            note="Only the momentum is in 8 bits; the averages of rows and columns are small and stay exact.",
        ),
        Use(o.QUANT_BLOCK_SIZE, 2048, "quant_block_size"),
    ),
    presets=(
        Preset(
            "library",
            "Library defaults",
            {},
            "The defaults of the class: the values of came-pytorch, the rate of its README and OneTrainer's sizes of blocks "
            "and tensors.",
        ),
        shared.onetrainer({"weight_decay": 0.01}),
        _RECOMMENDED,
    ),
    rate_words=_RATE_WORDS,
    state_bits=8,
    state_names=("exp_avg",),
    steps_each_tensor=True,
)

ENTRIES = (CAME, CAME_8BIT)
