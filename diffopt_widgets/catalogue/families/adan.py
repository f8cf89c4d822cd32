"""Adan, which also follows how the gradient changes from one step to the next."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import pytorch_optimizer_uses as po
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.remedies import restored_beta2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Rule, Use, When
from diffopt_widgets.catalogue.values import Interval

MAX_GRAD_NORM = Option(
    "max_grad_norm",
    "Largest gradient norm",
    "float",
    "Scales all gradients down together when their common norm is larger than this; 0 switches it off. Smaller holds back "
    "more steps: near the usual norm it acts on every second batch, at several times that norm only on rare spikes. Turn it "
    "on when single batches throw the loss up.",
    domain=Interval(0),
    soft=(0.0, 10.0),
)

ADAN = OptimizerSpec(
    key="ADAN",
    title="Adan",
    family="Variants of Adam",
    summary="Adam with Nesterov's look ahead: beside the gradients it averages how they change from step to step, and steps "
    "toward where they are heading. It tolerates larger rates than Adam and keeps four state tensors where Adam keeps two.",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\,g_t,\quad n \leftarrow \beta_2 n + (1-\beta_2)(g_t - g_{t-1}),\quad "
    r"v \leftarrow \beta_3 v + (1-\beta_3)\left(g_t + \beta_2 (g_t - g_{t-1})\right)^2,\quad "
    r"\theta \leftarrow \frac{1}{1 + \gamma\lambda}\left(\theta - \gamma\, "
    r"\frac{\hat m + \beta_2\, \hat n}{\sqrt{\hat v} + \epsilon}\right)",
    links=(Link("Xie et al. 2022", "https://arxiv.org/abs/2208.06677"), po.code("adan")),
    target="pytorch_optimizer:Adan",
    package=po.PACKAGE,
    lr=Use(
        o.LR,
        1e-3,
        "lr",
        advice=Advice(
            1e-3,
            "The authors go up to 5 to 10 times above AdamW's rate: about 5e-4 for a LoRA.",
            source="the Adan paper",
            words="5 to 10 times AdamW's rate",
            between=(1e-4, 1e-2),
        ),
    ),
    uses=(
        Use(
            o.BETA1,
            0.98,
            "betas[0]",
            note="Longer than Adam's 0.9, since the average of changes answers what is new.",
        ),
        Use(o.BETA2_OF_DIFFERENCES, 0.92, "betas[1]"),
        Use(
            replace(o.BETA3, nullable=False, null_words=""),
            0.99,
            "betas[2]",
            note="Here it averages the squared gradients, as beta2 does for Adam.",
        ),
        po.above_zero(1e-8, ""),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note="Multiplied by the learning rate."),
        Use(o.NO_PROX, False, "weight_decouple", enabled_if=When("weight_decay", ">", 0)),
        Use(MAX_GRAD_NORM, 0.0, "max_grad_norm"),
    ),
    presets=(
        shared.LIBRARY,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 4e-3, "schedule": "COSINE", "warmup": 0.05, "weight_decay": 0.02},
            "Four times AdamW's rate with the authors' betas and decay, a short warm-up and a cosine. "
            "Use about 5e-4 for a LoRA of a large model.",
        ),
    ),
    rules=(
        Rule(
            "common-norm-one-by-one",
            ("max_grad_norm", "fused_back_pass", "stochastic_rounding", "kahan_summation"),
            lambda values: (
                shared.number(values, "max_grad_norm") > 0
                and (
                    values["fused_back_pass"] is True
                    or values["stochastic_rounding"] is True
                    or values["kahan_summation"] is True
                )
            ),
            "The largest gradient norm needs all gradients at once. Fused back pass, stochastic rounding and Kahan summation step "
            "one tensor after the other. Set the largest norm to 0, or turn these off; percentile clipping goes with them.",
            fix={"max_grad_norm": 0.0},
        ),
    ),
    hidden=(
        *po.HIDDEN,
        Hidden(
            "kwargs",
            "further entries of the parameter groups: adanorm, which AIDA offers, and use_gc, which centres gradients, work "
            "here too",
        ),
    ),
    rate_words="the learning rate as scheduled; on top of it come the changes of the gradient, which are 0 where it is steady",
    remedies=(restored_beta2("beta1", "beta3"),),
    state_names=("exp_avg", "exp_avg_sq", "exp_avg_diff", "previous_grad"),
    steps_each_tensor=True,
)

ENTRIES = (ADAN,)
