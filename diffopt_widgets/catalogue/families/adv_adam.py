"""AdamW and ADOPT as adv_optm has them: with AdEMAMix, an arctangent, a moving beta2, factored states."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import adv_uses as adv
from diffopt_widgets.catalogue.remedies import restored_beta2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use, When

_FAMILY = "Adam"
_LR_ADVICE = shared.RATES_OF_ADAMW

ADAMW_ADV = OptimizerSpec(
    key="ADAMW_ADV",
    title="AdamW (adv)",
    family=_FAMILY,
    summary="AdamW with what papers have added to it since, each behind a switch: a slow second average, a bounded step, a "
    "beta2 that follows spikes, factored states.",
    formula=r"\theta \leftarrow (1 - \gamma_t\lambda)\,\theta - \gamma_t\, \frac{m}{\sqrt{\hat v} + \epsilon}"
    r",\quad \gamma_t = \frac{\gamma}{1 - \beta_1^t}",
    links=(
        Link("Loshchilov & Hutter 2017", "https://arxiv.org/abs/1711.05101"),
        adv.ADEMAMIX_PAPER,
        adv.ATAN2_PAPER,
        adv.KOURKOUTAS_PAPER,
        adv.SMMF_PAPER,
        adv.CODE,
    ),
    target="adv_optm:AdamW_adv",
    package="adv_optm",
    lr=Use(o.LR, 1e-3, "lr", advice=_LR_ADVICE),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps", enabled_if=When("use_atan2", "==", False)),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="Multiplied by the learning rate and divided by 1 − beta1^t, as the momentum is: with a beta1 of 0.9 the "
            "first step decays ten times as much as a late one.",
        ),
        adv.CAUTIOUS_WD,
        replace(
            adv.USE_ATAN2,
            note="The momentum is corrected for its start only after the arctangent, so the very first step is up to 1.27 "
            "times the learning rate.",
        ),
        adv.USE_ADEMAMIX,
        adv.BETA3_EMA_FORGOTTEN,
        adv.ALPHA,
        adv.KOURKOUTAS_BETA,
        adv.ORTHOGONAL_GRADIENT,
        adv.NNMF_FACTOR,
        adv.STOCHASTIC_ROUNDING,
        adv.COMPILE,
        adv.FUSED_BACK_PASS,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"beta2": 0.99}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99, "weight_decay": 0.01},
            "As for AdamW: a short warm-up, a cosine, and a beta2 that suits runs of hundreds or a few thousand steps. Then "
            "turn on one switch at a time and compare. Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    rules=(adv.KOURKOUTAS_RULE, adv.COMPILE_FUSED_RULE),
    remedies=(restored_beta2(where=lambda values: values["use_atan2"] is False),),
    hidden=(
        Hidden("use_bias_correction", "on, as Adam is defined; without it the first steps have no fixed size"),
        *adv.MASKS_HIDDEN,
        *adv.KOURKOUTAS_HIDDEN,
        adv.VECTOR_RESHAPE,
    ),
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ADOPT_ADV = OptimizerSpec(
    key="ADOPT_ADV",
    title="ADOPT (adv)",
    family=_FAMILY,
    summary="Adam in another order: each gradient is divided by the size that gradients had before it, and only then averaged, "
    "so that it never takes part in its own scale. With the same switches as AdamW (adv).",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\,\operatorname{clip}\!\left(\frac{g}{\sqrt{v} + \epsilon},\ (t-1)^{1/4}\right)"
    r",\quad \theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\, m"
    r",\quad v \leftarrow \beta_2 v + (1-\beta_2)\,g^2",
    links=(
        Link("Taniguchi et al. 2024", "https://arxiv.org/abs/2411.02853"),
        adv.ADEMAMIX_PAPER,
        adv.SIMPLIFIED_PAPER,
        adv.ATAN2_PAPER,
        adv.KOURKOUTAS_PAPER,
        adv.SMMF_PAPER,
        adv.CODE,
    ),
    target="adv_optm:Adopt_adv",
    package="adv_optm",
    lr=Use(
        o.LR,
        1e-4,
        "lr",
        note="Without the arctangent the first step only measures the gradients: nothing moves, and the applied rate is 0.",
        advice=_LR_ADVICE,
    ),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]", note="It averages gradients that are already divided by their size."),
        Use(
            o.BETA2,
            0.9999,
            "betas[1]",
            note="The average starts from the very first gradient's square, so at 0.9999 that one batch sets the scale for "
            "thousands of steps.",
        ),
        Use(o.EPS, 1e-6, "eps", enabled_if=When("use_atan2", "==", False)),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note="Multiplied by the learning rate at each step."),
        adv.CAUTIOUS_WD,
        replace(
            adv.USE_ATAN2,
            note="It is taken of each single gradient, before averaging, and takes the place of the clip: without it a gradient "
            "counts at most (step − 1)^(1/4) times its usual size.",
            enabled_if=adv.WITHOUT_SIMPLIFIED,
            advice=Advice(True, "ADOPT tends to be unstable without a bound.", source=adv.README),
        ),
        replace(adv.USE_ADEMAMIX, enabled_if=adv.WITHOUT_SIMPLIFIED),
        adv.BETA3_EMA_FORGOTTEN,
        adv.ALPHA,
        adv.SIMPLIFIED_ADEMAMIX,
        adv.ALPHA_GRAD,
        adv.KOURKOUTAS_BETA,
        adv.ORTHOGONAL_GRADIENT,
        adv.NNMF_FACTOR,
        adv.STOCHASTIC_ROUNDING,
        adv.COMPILE,
        adv.FUSED_BACK_PASS,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"use_atan2": True}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "use_atan2": True, "beta2": 0.99},
            "The arctangent bounds each gradient, as the package advises, and a beta2 of 0.99 lets the scale follow a run of "
            "hundreds of steps. Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    rules=(
        adv.KOURKOUTAS_RULE,
        adv.COMPILE_FUSED_RULE,
        adv.SIMPLIFIED_BETA1_RULE,
        adv.ADEMAMIX_RULE,
        adv.ATAN2_RULE,
    ),
    hidden=(
        Hidden("clip_lambda", "a function of the step; the paper's limit, the fourth root of the step, is used"),
        *adv.MASKS_HIDDEN,
        *adv.KOURKOUTAS_HIDDEN,
        adv.VECTOR_RESHAPE,
    ),
    rate="adv:AdoptAdv",
    rate_words="the learning rate as scheduled, and 0 while it first measures the gradients",
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ENTRIES = (ADAMW_ADV, ADOPT_ADV)
