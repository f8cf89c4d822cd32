"""Lion and signSGD as adv_optm has them: with cautious weight decay, factored states, spheres for convolutions."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import adv_uses as adv
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use

_FAMILY = "Sign of the gradient"
_LR_ADVICE = Advice(
    3e-5,
    "Every weight moves by the full rate at every step, so the rate is 3 to 10 times smaller than AdamW's.",
    source="the Lion paper",
    words="a third to a tenth of AdamW's rate",
    between=(1e-6, 1e-3),
)
_DECAY = Use(
    o.WEIGHT_DECAY,
    0.0,
    "weight_decay",
    note="Multiplied by the learning rate, so with these small rates take 3 to 10 times AdamW's value.",
)
_LION_K_PAPER = Link("Chen et al. 2023 (spheres)", "https://arxiv.org/abs/2310.05898")
_KAPPA_P = "a direction between the sign (1) and the sphere (2); the package's 1 is used"

LION_ADV = OptimizerSpec(
    key="LION_ADV",
    title="Lion (adv)",
    family=_FAMILY,
    summary="Lion with switches: a clip on each tensor's gradient, whole directions instead of signs for convolutions, cautious "
    "weight decay, and a factored momentum.",
    formula=r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\,\operatorname{sign}(\beta_1 m + (1-\beta_1)\,g)"
    r",\quad m \leftarrow \beta_2 m + (1-\beta_2)\,g",
    links=(
        Link("Chen et al. 2023", "https://arxiv.org/abs/2302.06675"),
        _LION_K_PAPER,
        adv.SMMF_PAPER,
        adv.CODE,
    ),
    target="adv_optm:Lion_adv",
    package="adv_optm",
    lr=Use(o.LR, 1e-4, "lr", advice=_LR_ADVICE),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]", note="The weight of the memory in the direction of this step."),
        Use(o.BETA2_OF_MOMENTUM, 0.99, "betas[1]"),
        _DECAY,
        adv.CAUTIOUS_WD,
        Use(
            o.CLIP_THRESHOLD_OF_LION,
            0.0,
            "clip_threshold",
            note="The gradient itself is scaled, in place, and the step waits for the device to compare norms.",
        ),
        Use(
            o.AUTO_KAPPA_P,
            False,
            "auto_kappa_p",
            note="The length is what the signs would have, so the root mean square of a step is the learning rate either way.",
        ),
        adv.ORTHOGONAL_GRADIENT,
        adv.NNMF_FACTOR,
        adv.STOCHASTIC_ROUNDING,
        adv.COMPILE_UNUSED,
        adv.FUSED_BACK_PASS,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"auto_kappa_p": True}, "Its empty clip threshold is 0 here: no clipping."),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "weight_decay": 0.1},
            "As for Lion: ten times AdamW's weight decay, and a cosine, since steps of a fixed size settle only when the rate "
            "falls. Use 1e-5 to 3e-5 for a LoRA of a large model.",
        ),
    ),
    hidden=(
        Hidden("cautious_mask", "another change to the direction of a step, which OneTrainer does not offer; off"),
        Hidden("kappa_p", _KAPPA_P),
        adv.VECTOR_RESHAPE,
    ),
    state_names=("exp_avg",),
    steps_each_tensor=True,
)

SIGNSGD_ADV = OptimizerSpec(
    key="SIGNSGD_ADV",
    title="SignSGD (adv)",
    family=_FAMILY,
    summary="SGD with momentum that keeps only the sign: every weight moves by the learning rate, whichever way its momentum "
    "points. Convolution weights move along the whole direction instead.",
    formula=r"m \leftarrow \mu m + g,\quad \theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\,\operatorname{sign}(m)",
    links=(
        Link("Bernstein et al. 2018", "https://arxiv.org/abs/1802.04434"),
        _LION_K_PAPER,
        adv.SIMPLIFIED_PAPER,
        adv.SMMF_PAPER,
        adv.CODE,
    ),
    target="adv_optm:SignSGD_adv",
    package="adv_optm",
    lr=Use(o.LR, 1e-4, "lr", advice=_LR_ADVICE),
    uses=(
        Use(
            o.MOMENTUM,
            0.9,
            "momentum",
            note="Only its sign is taken, so it turns the direction and never enlarges the step. 0 raises at the first step.",
            domain=shared.OPEN_FRACTION,
        ),
        _DECAY,
        adv.CAUTIOUS_WD,
        replace(
            adv.SIMPLIFIED_ADEMAMIX,
            note="The momentum here is a fading sum in any case; what it adds is the newest gradient, once more.",
        ),
        replace(adv.ALPHA_GRAD, default=1.0),
        adv.ORTHOGONAL_GRADIENT,
        adv.NNMF_FACTOR,
        adv.STOCHASTIC_ROUNDING,
        adv.COMPILE_UNUSED,
        adv.FUSED_BACK_PASS,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"momentum": 0.95, "alpha_grad": 100.0}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "momentum": 0.95, "weight_decay": 0.1},
            "Lion's rate and decay, since the steps have the same size, a longer momentum, and a cosine, since steps of a fixed "
            "size settle only when the rate falls.",
        ),
    ),
    hidden=(
        Hidden(
            "auto_kappa_p",
            "on, as in the package, and OneTrainer does not show it: convolution weights (four dimensions or more) "
            "move along their whole momentum, brought to the length that signs would have",
        ),
        Hidden("kappa_p", _KAPPA_P),
        adv.VECTOR_RESHAPE,
    ),
    state_names=("exp_avg",),
    steps_each_tensor=True,
)

ENTRIES = (LION_ADV, SIGNSGD_ADV)
