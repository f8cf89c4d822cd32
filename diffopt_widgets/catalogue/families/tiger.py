"""Tiger, which steps by the sign of its momentum."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import pytorch_optimizer_uses as po
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use

TIGER = OptimizerSpec(
    key="TIGER",
    title="Tiger",
    family="Sign of the gradient",
    summary="Lion with one beta for both of its averages: every weight moves by exactly the learning rate, along the sign of "
    "the momentum. It needs a smaller rate than AdamW.",
    formula=r"m \leftarrow \beta\, m + (1-\beta)\,g,\quad "
    r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\,\operatorname{sign}(m)",
    links=(Link("Su 2023", "https://kexue.fm/archives/9512"), po.code("tiger")),
    target="pytorch_optimizer:Tiger",
    package=po.PACKAGE,
    lr=Use(
        o.LR,
        1e-3,
        "lr",
        note="The author's own code also multiplies it by the size of each tensor; the package does not, so its rates do not "
        "carry over.",
        advice=Advice(
            3e-5,
            "Every weight moves by the full rate at every step, as in Lion: take a rate 3 to 10 times smaller than AdamW's.",
            source="the Lion paper",
            words="a third to a tenth of AdamW's rate",
            between=(1e-6, 1e-3),
        ),
    ),
    uses=(
        Use(o.BETA1, 0.965, "beta", note="Tiger has this one average only."),
        *po.decay(0.01, decoupled=True),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "weight_decay": 0.1},
            "The package's rate with ten times its weight decay, and a cosine, since steps of a fixed size settle only when the "
            "rate falls. On the bench's digits twice this rate does as well. Use 1e-5 to 3e-5 for a LoRA of a large model.",
        ),
    ),
    rules=po.DECAY_RULES,
    hidden=(*po.HIDDEN, Hidden("kwargs", "the constructor takes further arguments and drops them")),
    state_names=("exp_avg",),
    steps_each_tensor=True,
)

ENTRIES = (TIGER,)
