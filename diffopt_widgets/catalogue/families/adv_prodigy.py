"""Prodigy as adv_optm has it: with AdEMAMix, an arctangent, a moving beta2, factored states."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import adv_uses as adv
from diffopt_widgets.catalogue.remedies import lower_estimate, restored_beta2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use, When

PRODIGY_ADV = OptimizerSpec(
    key="PRODIGY_ADV",
    title="Prodigy (adv)",
    family="Finds its own rate",
    summary="Prodigy with switches for a slow second average, a bounded step, a beta2 that follows spikes and factored states; "
    "its estimate can be limited or stopped, and parts of a model may have rates of their own.",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\, d\, g,\quad v \leftarrow \beta_2 v + (1-\beta_2)\, d^2 g^2"
    r",\quad n \leftarrow \beta_3 n + \gamma d^2 \langle g,\, \theta_0 - \theta\rangle,\quad s \leftarrow \beta_3 s + \gamma d^2 g"
    r",\quad \hat d = c_d\, \frac{n}{\lVert s\rVert_1}"
    r",\quad \theta \leftarrow (1 - \gamma d \lambda)\,\theta - \gamma\, d\, \frac{m}{\sqrt{v} + d\,\epsilon}",
    links=(
        Link("Mishchenko & Defazio 2023", "https://arxiv.org/abs/2306.06101"),
        adv.ADEMAMIX_PAPER,
        adv.SIMPLIFIED_PAPER,
        adv.ATAN2_PAPER,
        adv.KOURKOUTAS_PAPER,
        adv.SMMF_PAPER,
        adv.CODE,
    ),
    target="adv_optm:Prodigy_adv",
    package="adv_optm",
    lr=Use(
        o.LR_OF_ESTIMATE,
        1.0,
        "lr",
        note="Unlike Prodigy it may differ between parts of a model: the estimate is shared, the factor is each part's own.",
        advice=Advice(1.0, "It finds the rate by itself; this only scales that rate.", source="Prodigy's README"),
    ),
    uses=(
        Use(
            o.D_COEF,
            1.0,
            "d_coef",
            advice=Advice(
                1.0,
                "The option to adjust Prodigy with, instead of the learning rate: 0.5 slows it down, 2 speeds it up.",
                source="the package's description",
                between=(0.5, 2),
            ),
        ),
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.BETA3, None, "beta3", note="Here it sets how long the sums behind the estimate d remember."),
        Use(o.EPS, 1e-8, "eps", note="Multiplied by d in the denominator.", enabled_if=When("use_atan2", "==", False)),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note="Multiplied by d and the learning rate at each step."),
        adv.CAUTIOUS_WD,
        replace(
            adv.USE_ATAN2,
            note="Prodigy has no bias correction, so in its first steps the quotient is 3 to 7 at the default betas; the arctangent "
            "keeps it below 2.",
            enabled_if=adv.WITHOUT_SIMPLIFIED,
        ),
        replace(adv.USE_ADEMAMIX, enabled_if=adv.WITHOUT_SIMPLIFIED),
        adv.BETA3_EMA,
        adv.ALPHA,
        adv.SIMPLIFIED_ADEMAMIX,
        adv.ALPHA_GRAD,
        adv.KOURKOUTAS_BETA,
        adv.ORTHOGONAL_GRADIENT,
        Use(o.D0, 1e-6, "d0"),
        Use(
            o.GROWTH_RATE,
            float("inf"),
            "growth_rate",
            note="Prodigy's first leap, away from the initial D, is not limited; d_limiter limits that too.",
        ),
        Use(
            o.D_LIMITER,
            False,
            "d_limiter",
            note="Its first leap is limited too. The plotted d_hat is what came out before this limit.",
        ),
        Use(o.PRODIGY_STEPS, 0, "prodigy_steps"),
        Use(o.SLICE_P, 11, "slice_p"),
        replace(
            adv.NNMF_FACTOR,
            note=f"{adv.NNMF_FACTOR.note} What the estimate needs is not factored; slice_p makes that smaller.",
        ),
        adv.STOCHASTIC_ROUNDING,
        adv.COMPILE,
        adv.FUSED_BACK_PASS,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"beta2": 0.99}, lr="Prodigy would stand still"),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1.0, "schedule": "COSINE", "beta2": 0.99, "weight_decay": 0.01, "d_limiter": True},
            "Learning rate 1 without warm-up, since d grows by itself, and a cosine, since d never falls. The limit keeps d "
            "from being thrown up by a single batch.",
        ),
    ),
    rules=(
        shared.lr_near_one(0.1, 10.0),
        shared.SCALER_RULE,
        shared.OWN_WARMUP_RULE,
        adv.KOURKOUTAS_RULE,
        adv.SIMPLIFIED_BETA1_RULE,
        adv.ADEMAMIX_RULE,
        adv.ATAN2_RULE,
    ),
    hidden=(
        Hidden("safeguard_warmup", "OneTrainer does not offer it here; PRODIGY has it"),
        Hidden(
            "fsdp_in_use",
            "the package notices the parameters of FSDP1 by itself, and its step raises with those of FSDP2",
        ),
        *adv.MASKS_HIDDEN,
        *adv.KOURKOUTAS_HIDDEN,
        adv.VECTOR_RESHAPE,
    ),
    rate="adv:ProdigyAdv",
    rate_words="d · learning rate, for each part of the model its own",
    estimates_rate=True,
    remedies=(
        restored_beta2(where=lambda values: values["use_atan2"] is False),
        *lower_estimate({"d_coef", "growth_rate"}),
    ),
    state_names=("exp_avg", "exp_avg_sq", "s", "p0"),
)

ENTRIES = (PRODIGY_ADV,)
