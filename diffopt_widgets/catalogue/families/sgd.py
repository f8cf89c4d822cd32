"""Plain gradient descent with momentum, in 32 and 8 bits."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Rule, Use, When

_FAMILY = "SGD and momentum"
_FORMULA = r"b \leftarrow \mu\, b + (1-\tau)(g + \lambda\theta),\quad \theta \leftarrow \theta - \gamma\, b"
_PAPER = Link("Sutskever et al. 2013", "https://proceedings.mlr.press/v28/sutskever13.html")
_DECAY_NOTE = "Added to the gradient, as is classical; for plain SGD that is the same as shrinking the weights."
_WITH_MOMENTUM = When("momentum", ">", 0)
_LR_ADVICE = Advice(
    0.03,
    "Steps are as large as the gradients, so the rate must be far larger than Adam's and fits one model only.",
    source="common practice",
    words="about 0.03, by factors of 3 around it",
    between=(0.01, 1),
)

SGD = OptimizerSpec(
    key="SGD",
    title="SGD",
    family=_FAMILY,
    summary="Steps straight down the gradient, with or without momentum. Without it there is no state at all. The rate must be "
    "tuned, since steps are as large as the gradients.",
    formula=_FORMULA,
    links=(_PAPER, Link("code", "https://github.com/pytorch/pytorch/blob/main/torch/optim/sgd.py")),
    target="torch.optim:SGD",
    package="torch",
    lr=Use(o.LR, 1e-3, "lr", advice=_LR_ADVICE),
    uses=(
        Use(o.MOMENTUM, 0.0, "momentum"),
        Use(o.DAMPENING, 0.0, "dampening", enabled_if=_WITH_MOMENTUM),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE),
        Use(o.NESTEROV, False, "nesterov", enabled_if=_WITH_MOMENTUM),
        shared.FOREACH,
        shared.MAXIMIZE,
        shared.DIFFERENTIABLE,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"foreach": False}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 0.03, "momentum": 0.9, "nesterov": True, "schedule": "COSINE", "warmup": 0.05},
            "Momentum makes SGD usable for networks like these, Nesterov costs nothing, and the warm-up lets the large rate "
            "in slowly.",
        ),
    ),
    rules=(
        Rule(
            "nesterov-momentum",
            ("nesterov", "momentum"),
            lambda values: values["nesterov"] is True and shared.number(values, "momentum") == 0,
            "Nesterov needs momentum above 0. Set momentum to 0.9, or turn nesterov off.",
            fix={"momentum": 0.9},
        ),
        Rule(
            "nesterov-dampening",
            ("nesterov", "dampening"),
            lambda values: values["nesterov"] is True and shared.number(values, "dampening") != 0,
            "Nesterov works only without dampening. Set dampening to 0, or turn nesterov off.",
            fix={"dampening": 0.0},
        ),
        shared.MAXIMIZE_RULE,
    ),
    hidden=(
        Hidden("fused", "torch decides by device whether to fuse the step; the result is the same up to rounding"),
    ),
    state_names=("momentum_buffer",),
    steps_each_tensor=True,
)

_IGNORED = "bitsandbytes accepts it and never reads it; SGD honours it"

SGD_8BIT = OptimizerSpec(
    key="SGD_8BIT",
    title="SGD (8-bit)",
    family=_FAMILY,
    summary="SGD with its momentum kept in 8 bits, for less memory.",
    formula=r"b \leftarrow \mu\, b + g + \lambda\theta,\quad \theta \leftarrow \theta - \gamma\, b",
    links=(
        Link("Dettmers et al. 2021", "https://arxiv.org/abs/2110.02861"),
        Link("code", "https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/optim/sgd.py"),
    ),
    target="bitsandbytes.optim:SGD8bit",
    package="bitsandbytes",
    lr=Use(
        o.LR,
        0.01,
        "lr",
        note="The package has no default of its own; 0.01 is the bench's.",
        advice=_LR_ADVICE,
        fixed=True,
    ),
    uses=(
        Use(
            o.MOMENTUM,
            0.9,
            "momentum",
            note="The package's own default of 0 raises, so 0.9 is the default here. Without momentum there is nothing "
            "to keep in 8 bits: use SGD.",
            domain=shared.OPEN_FRACTION,
            fixed=True,
        ),
        shared.inert(o.DAMPENING, 0.0, "dampening", _IGNORED, shared.BELOW_ONE),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY_NOTE),
        shared.inert(o.NESTEROV, False, "nesterov", _IGNORED),
        shared.MIN_8BIT_SIZE,
        shared.PERCENTILE_CLIPPING,
        shared.BLOCK_WISE,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}, f"Momentum 0 is left out, since it raises. {shared.NO_BLOCKS}"),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 0.03, "momentum": 0.9, "schedule": "COSINE", "warmup": 0.05},
            "As for SGD; the warm-up lets the large rate in slowly.",
        ),
    ),
    hidden=(shared.BNB_ARGS,),
    state_bits=8,
    state_names=("state1",),
    steps_each_tensor=True,
)

ENTRIES = (SGD, SGD_8BIT)
