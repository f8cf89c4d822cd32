"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.remedies import BETA2
from diffopt_widgets.catalogue.schema import Link, OptimizerSpec, Preset, Use, When
from diffopt_widgets.catalogue.values import Interval

MOMENTUM_DECAY = Option(
    "momentum_decay",
    "Momentum decay",
    "float",
    "How soon the momentum comes to its full share of a step. It begins at half of beta1 and climbs to beta1: halfway after "
    "17 / momentum_decay steps, 4,200 at the default. Larger (0.1) gets there within a short run, 0 stays at half for good. "
    "It is rarely worth a change.",
    domain=Interval(0),
    soft=(0.0, 1.0),
)

NADAM = OptimizerSpec(
    key="NADAM",
    title="NAdam",
    family="Variants of Adam",
    summary="Adam with Nesterov's momentum: a step mixes the newest gradient with the momentum as it will be at the next step, "
    "so it turns a little sooner. It takes the same rates as Adam.",
    formula=r"\mu_t = \beta_1\left(1 - \tfrac{1}{2}\, 0.96^{\,t\psi}\right),\quad "
    r"\theta \leftarrow \theta - \frac{\gamma}{\sqrt{\hat v} + \epsilon}\left(\frac{1 - \mu_t}{1 - \prod_{i \le t} \mu_i}\, g + "
    r"\frac{\mu_{t+1}}{1 - \prod_{i \le t+1} \mu_i}\, m\right)",
    links=(
        Link("Dozat 2016", "https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ"),
        Link("code", "https://github.com/pytorch/pytorch/blob/main/torch/optim/nadam.py"),
    ),
    target="torch.optim:NAdam",
    package="torch",
    lr=Use(
        o.LR,
        2e-3,
        "lr",
        note="A steady gradient moves a weight by 1.06 times the rate at the first step, 0.78 times at the second, 0.73 times at "
        "the third and the fourth, and by the rate itself after some 40 steps.",
        advice=replace(shared.RATES_OF_ADAMW, reason="Adam's rates carry over to NAdam.", between=(1e-5, 2e-3)),
    ),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="Added to the gradient, unless decoupled, which then multiplies it by the learning rate.",
        ),
        Use(MOMENTUM_DECAY, 4e-3, "momentum_decay"),
        Use(o.DECOUPLED_DECAY, False, "decoupled_weight_decay", enabled_if=When("weight_decay", ">", 0)),
        replace(shared.FOREACH, note="The results of the two ways differ by rounding."),
        shared.MAXIMIZE,
        replace(shared.CAPTURABLE, note="On a CPU torch raises."),
        shared.DIFFERENTIABLE,
    ),
    presets=(
        shared.LIBRARY,
        Preset(
            "recommended",
            "Recommended",
            {
                "lr": 2e-3,
                "schedule": "COSINE",
                "warmup": 0.05,
                "beta2": 0.99,
                "weight_decay": 0.01,
                "decoupled_decay": True,
            },
            "torch's rate with AdamW's decay of the weights themselves, a short warm-up, a cosine, and a beta2 that suits runs "
            "of hundreds or a few thousand steps. Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    rules=(shared.MAXIMIZE_RULE,),
    remedies=(BETA2,),
    rate="nadam:NAdam",
    rate_words="learning rate · the weight that a step gives to all gradients so far: about 1.06, 0.78, 0.73, 0.73, then rising to 1",
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ENTRIES = (NADAM,)
