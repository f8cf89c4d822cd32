"""Lion, which steps by the sign of its direction, in 32 and 8 bits."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use

_FAMILY = "Sign of the gradient"
_PAPER = Link("Chen et al. 2023", "https://arxiv.org/abs/2302.06675")
_FORMULA = (
    r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\,\operatorname{sign}(\beta_1 m + (1-\beta_1)\,g)"
    r",\quad m \leftarrow \beta_2 m + (1-\beta_2)\,g"
)
_LR_ADVICE = Advice(
    3e-5,
    "Every weight moves by the full rate at every step, so Lion needs a rate 3 to 10 times smaller than AdamW's.",
    source="the Lion paper",
    words="a third to a tenth of AdamW's rate",
    between=(1e-6, 1e-3),
)
_DECAY_NOTE = "Multiplied by the learning rate, so with Lion's small rates take 3 to 10 times AdamW's value."
_BETA1 = Use(o.BETA1, 0.9, "betas[0]", note="The weight of the memory in the direction of this step.")
_BETA2 = Use(o.BETA2_OF_MOMENTUM, 0.99, "betas[1]")
_RECOMMENDED = Preset(
    "recommended",
    "Recommended",
    {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "weight_decay": 0.1},
    "Ten times AdamW's weight decay, and a cosine: steps of a fixed size settle only when the rate falls. On the bench's digits this "
    "rate ends at a loss of 0.18 and a third of it at 0.23. Use 1e-5 to 3e-5 for a LoRA of a large model.",
)

LION = OptimizerSpec(
    key="LION",
    title="Lion",
    family=_FAMILY,
    summary="Keeps only the sign of the averaged gradient: every weight moves by exactly the learning rate. It needs a "
    "smaller rate than AdamW.",
    formula=_FORMULA,
    links=(_PAPER, Link("code", "https://github.com/lucidrains/lion-pytorch")),
    target="lion_pytorch:Lion",
    package="lion-pytorch",
    lr=Use(o.LR, 1e-4, "lr", advice=_LR_ADVICE),
    uses=(
        _BETA1,
        _BETA2,
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE),
        shared.unavailable(
            o.USE_TRITON,
            False,
            "lion-pytorch ends the whole process, and with it the notebook, when the triton package is missing; with triton "
            "it would need an NVIDIA GPU",
            "use_triton",
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        _RECOMMENDED,
    ),
    hidden=(
        Hidden(
            "decoupled_weight_decay",
            "it divides the weight decay by the first learning rate; the decay that is shown means the same everywhere",
        ),
    ),
    state_names=("exp_avg",),
    steps_each_tensor=True,
)

LION_8BIT = OptimizerSpec(
    key="LION_8BIT",
    title="Lion (8-bit)",
    family=_FAMILY,
    summary="Lion with its momentum in 8 bits.",
    formula=_FORMULA,
    links=(
        _PAPER,
        Link("Dettmers et al. 2021", "https://arxiv.org/abs/2110.02861"),
        Link("code", "https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/optim/lion.py"),
    ),
    target="bitsandbytes.optim:Lion8bit",
    package="bitsandbytes",
    lr=Use(o.LR, 1e-4, "lr", advice=_LR_ADVICE),
    uses=(
        _BETA1,
        _BETA2,
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE),
        shared.MIN_8BIT_SIZE,
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
        shared.IS_PAGED,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"beta2": 0.999}, shared.NO_BLOCKS),
        _RECOMMENDED,
    ),
    hidden=(shared.BNB_ARGS,),
    state_bits=8,
    state_names=("state1",),
    steps_each_tensor=True,
)

ENTRIES = (LION, LION_8BIT)
