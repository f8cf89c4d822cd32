"""StableAdamW, which holds back the steps of a tensor whose gradients have suddenly grown."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.families import pytorch_optimizer_uses as po
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.remedies import BETA2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use, When

KAHAN_SUM = Option(
    "kahan_sum",
    "Kahan sum",
    "bool",
    "When weights are kept in bfloat16, remembers what each step lost to rounding and adds it to the next one, so that many "
    "small steps count in full. It costs one more state tensor in bfloat16. Off loses every step that is too small for the "
    "format. It has no use for 32-bit weights.",
)

STABLE_ADAMW = OptimizerSpec(
    key="STABLE_ADAMW",
    title="StableAdamW",
    family="Variants of Adam",
    summary="AdamW with Adafactor's update clipping in place of gradient clipping: where a tensor's gradients are larger than "
    "their average says, its step shrinks as a whole, so that single bad batches cause no spike in the loss.",
    formula=r"r = \max\!\left(1, \sqrt{\operatorname{mean}\,\frac{g^2}{\max(\hat v,\ \epsilon^2)}}\right),\quad "
    r"\theta \leftarrow \left(1 - \frac{\gamma\lambda}{r}\right)\theta - \frac{\gamma}{r}\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
    links=(Link("Wortsman et al. 2023", "https://arxiv.org/abs/2304.13013"), po.code("adamw")),
    target="pytorch_optimizer:StableAdamW",
    package=po.PACKAGE,
    lr=Use(
        o.LR,
        1e-3,
        "lr",
        advice=replace(shared.RATES_OF_ADAMW, reason="AdamW's rates carry over to this form of it."),
    ),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(
            o.BETA2,
            0.99,
            "betas[1]",
            note="It also decides when a gradient counts as too large: the shorter the memory, the less is clipped.",
        ),
        Use(
            KAHAN_SUM,
            True,
            "kahan_sum",
            only_in="bfloat16",
            note="Under stochastic rounding and Kahan summation each tensor is stepped in 32 bits, where it does nothing.",
        ),
        Use(
            o.WEIGHT_DECAY,
            0.01,
            "weight_decay",
            note="Multiplied by the learning rate and shrunk with the step when decoupled; added to the gradient otherwise.",
        ),
        Use(o.DECOUPLED_DECAY, True, "weight_decouple", enabled_if=When("weight_decay", ">", 0)),
        po.above_zero(1e-8, ""),
    ),
    presets=(
        shared.LIBRARY,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05},
            "The package's rate, betas and decay with a short warm-up and a cosine; no gradient clipping beside it, since the "
            "clipping of updates takes its place. Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    hidden=(
        *po.HIDDEN,
        Hidden("kwargs", "further entries of the parameter groups, which this optimizer never reads"),
    ),
    rate_words="the learning rate as scheduled; where an update is clipped, the tensor's step is smaller by that much",
    remedies=(BETA2,),
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ENTRIES = (STABLE_ADAMW,)
