"""Prodigy, which estimates its own learning rate."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.remedies import BETA2, lower_estimate
from diffopt_widgets.catalogue.schema import Link, OptimizerSpec, Preset, Rule, Use, When
from diffopt_widgets.catalogue.state_sizes import state_words

PRODIGY = OptimizerSpec(
    key="PRODIGY",
    title="Prodigy",
    family="Finds its own rate",
    summary="Adam that estimates its own step size while it trains: d grows toward the distance between the start and a solution. A "
    "good start when no learning rate is known; the rate that it settles at can be used in AdamW. It keeps more "
    "state than AdamW unless slice_p is raised, so with large models it is for LoRAs and embeddings.",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\, d\, g,\quad v \leftarrow \beta_2 v + (1-\beta_2)\, d^2 g^2"
    r",\quad n \leftarrow \beta_3 n + \gamma d^2 \langle g,\, \theta_0 - \theta\rangle,\quad s \leftarrow \beta_3 s + \gamma d^2 g"
    r",\quad \hat d = c_d\, \frac{n}{\lVert s\rVert_1}"
    r",\quad \theta \leftarrow (1 - \gamma d \lambda)\,\theta - \gamma\, d\, \frac{m}{\sqrt{v} + d\,\epsilon}",
    links=(
        Link("Mishchenko & Defazio 2023", "https://arxiv.org/abs/2306.06101"),
        Link("code", "https://github.com/konstmish/prodigy"),
    ),
    target="prodigyopt:Prodigy",
    package="prodigyopt",
    lr=Use(
        o.LR_OF_ESTIMATE,
        1.0,
        "lr",
        advice=Advice(
            1.0,
            "Prodigy finds the rate by itself; this only scales that rate, and it must be the same for all parts of a model.",
        ),
    ),
    uses=(
        Use(
            o.D_COEF,
            1.0,
            "d_coef",
            note="The OneTrainer wiki calls it a multiplier of the learning rate; that holds only roughly.",
            advice=Advice(
                1.0,
                "The option to adjust Prodigy with, instead of the learning rate: 0.5 slows it down, 2 speeds it up. Its authors go "
                "from 0.1 to 10 where a much smaller or larger rate is wanted.",
                between=(0.5, 2),
            ),
        ),
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(
            o.BETA2,
            0.999,
            "betas[1]",
            advice=Advice(
                0.99,
                "0.99 has been seen to help Prodigy converge; its authors, too, name it for diffusion models.",
                between=(0.99, 0.999),
            ),
        ),
        Use(o.BETA3, None, "beta3", note="Here it sets how long the sums behind the estimate d remember."),
        Use(o.EPS, 1e-8, "eps", note="Multiplied by d in the denominator; 0 raises.", domain=shared.POSITIVE),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            advice=Advice(
                0.01,
                "It helps Prodigy not to overtrain. 0.01 is its authors' value for diffusion models.",
                between=(0.001, 0.01),
            ),
        ),
        Use(o.DECOUPLE, True, "decouple", enabled_if=When("weight_decay", ">", 0)),
        Use(
            o.USE_BIAS_CORRECTION,
            False,
            "use_bias_correction",
            advice=Advice(
                True,
                "Prodigy's authors turn it on for diffusion models: it makes Prodigy act more like Adam. The OneTrainer wiki adds: "
                "try both, and perhaps leave it off with a constant schedule or SDXL.",
                source="Prodigy's README, OneTrainer wiki",
                words="on, but try both",
            ),
        ),
        Use(
            o.SAFEGUARD_WARMUP,
            False,
            "safeguard_warmup",
            note="At a learning rate of 1 under a constant schedule without bias correction it changes nothing, to the bit.",
            advice=Advice(
                True,
                "Prodigy's authors turn it on for diffusion models, and wherever the rate starts low or restarts. According to the "
                "OneTrainer wiki it may help short runs, and matters little in long ones.",
                source="Prodigy's README, OneTrainer wiki",
            ),
        ),
        Use(o.D0, 1e-6, "d0"),
        Use(
            o.GROWTH_RATE,
            float("inf"),
            "growth_rate",
            note="Prodigy's first leap, away from the initial D, is not limited.",
        ),
        Use(
            o.SLICE_P,
            1,
            "slice_p",
            advice=Advice(
                11,
                f"The state then takes {state_words('PRODIGY', slice_p=11)}.",
                source="OneTrainer's defaults",
            ),
        ),
        replace(
            shared.FSDP_IN_USE,
            note=f"{shared.FSDP_IN_USE.note} Under FSDP1 keep slice_p at 1: the slices then fall on other "
            "weights, which changes the estimate by up to a tenth. Under FSDP2 with slice_p above 1 the estimate is the same on and off.",
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"slice_p": 11}, lr="Prodigy would stand still"),
        Preset(
            "recommended",
            "Recommended",
            {
                "lr": 1.0,
                "schedule": "COSINE",
                "warmup": 0.0,
                "beta2": 0.99,
                "weight_decay": 0.01,
                "use_bias_correction": True,
                "safeguard_warmup": True,
            },
            "The advice of Prodigy's README for diffusion models, and of the OneTrainer wiki: bias correction, safeguard, a little "
            "weight decay, beta2 of 0.99; learning rate 1 without warm-up, since Prodigy has its own; and one cosine over the "
            "whole run, without restarts, since Prodigy never lowers its rate by itself.",
        ),
    ),
    rules=(
        shared.lr_near_one(0.1, 10.0),
        shared.SCALER_RULE,
        shared.OWN_WARMUP_RULE,
        Rule(
            "restarts-safeguard",
            ("schedule", "safeguard_warmup"),
            lambda values: (
                values["schedule"] in {"COSINE_WITH_RESTARTS", "COSINE_WITH_HARD_RESTARTS"}
                and values["safeguard_warmup"] is False
            ),
            "Prodigy's authors advise against restarts, since a low rate in the middle of a run can make the estimate too large. "
            "Choose COSINE, or turn safeguard_warmup on.",
            fix={"schedule": "COSINE"},
            severity="warning",
        ),
    ),
    rate="estimating:Prodigy",
    rate_words="d · learning rate · bias correction",
    estimates_rate=True,
    remedies=(BETA2, *lower_estimate({"d_coef", "growth_rate"})),
    rates="one",
    state_names=("exp_avg", "exp_avg_sq", "s", "p0"),
)

ENTRIES = (PRODIGY,)
