"""ADOPT, AdaBelief, Aida and Yogi: Adam with another divisor."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import pytorch_optimizer_uses as po
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use, When

_FAMILY = "Variants of Adam"
_AS_ADAM = replace(shared.RATES_OF_ADAMW, reason="Adam's rates carry over to this form of it.")
_WITH_ADANORM = When("adanorm", "==", True)
_ADANORM = Use(o.ADANORM, False, "adanorm", note="The divisor is made from the gradient as it came.")
_R = Use(o.R_OF_ADANORM, 0.95, "adanorm_r", enabled_if=_WITH_ADANORM)
_ADAM_DEBIAS = Use(o.ADAM_DEBIAS, False, "adam_debias")

ADOPT = OptimizerSpec(
    key="ADOPT",
    title="ADOPT",
    family=_FAMILY,
    summary="Adam that divides each gradient by the average before it joined in, and only then averages: it converges with "
    "any beta2. Its first step only measures the gradients; apart from weight decay it moves nothing.",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\,\mathrm{clip}\!\left(\frac{g}{\max(\sqrt{v},\ \epsilon)},\ t^{1/4}\right)"
    r",\quad \theta \leftarrow \theta - \gamma\, m,\quad v \leftarrow \beta_2 v + (1-\beta_2)\,g^2",
    links=(Link("Taniguchi et al. 2024", "https://arxiv.org/abs/2411.02853"), po.code("adopt")),
    target="pytorch_optimizer:ADOPT",
    package=po.PACKAGE,
    lr=Use(o.LR, 1e-3, "lr", advice=_AS_ADAM),
    uses=(
        Use(
            o.BETA1,
            0.9,
            "betas[0]",
            note="The average starts at 0 and is not corrected for that, which is a warm-up of its own.",
        ),
        Use(
            o.BETA2,
            0.9999,
            "betas[1]",
            note="Any value is safe here, which is what ADOPT was made for. The average starts from the very first gradient's square, "
            "so at 0.9999 that one batch counts for thousands of steps.",
        ),
        *po.decay(0.0, decoupled=False),
        Use(o.CAUTIOUS, False, "cautious", note="It compares the step with the divided and clipped gradient."),
        po.above_zero(1e-6, "Here it is the least that a gradient is divided by."),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "weight_decay": 0.01, "decoupled_decay": True},
            "The paper's own betas and epsilon, with AdamW's weight decay on the weights themselves. Use 1e-4 for a LoRA of a "
            "large model.",
        ),
    ),
    rules=po.DECAY_RULES,
    hidden=(
        Hidden(
            "clip_lambda", "a function of the step that limits the divided gradient; the paper's fourth root is used"
        ),
        *po.HIDDEN,
        Hidden(
            "kwargs",
            "further entries of the parameter groups: cautious, which is shown, and stable_adamw, which limits an update by "
            "its root mean square and which no paper on ADOPT has",
        ),
    ),
    rate="first_steps:MeasuresFirst",
    rate_words="the learning rate as scheduled; 0 at the first step, which only measures",
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ADABELIEF = OptimizerSpec(
    key="ADABELIEF",
    title="AdaBelief",
    family=_FAMILY,
    summary="Adam that divides by how far gradients stray from their average instead of by their size: where they keep to what "
    "was expected, it takes larger steps.",
    formula=r"s \leftarrow \beta_2 s + (1-\beta_2)(g - m)^2 + \epsilon,\quad "
    r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\, \frac{\hat m}{\sqrt{\hat s} + \epsilon}",
    links=(Link("Zhuang et al. 2020", "https://arxiv.org/abs/2010.07468"), po.code("adabelief")),
    target="pytorch_optimizer:AdaBelief",
    package=po.PACKAGE,
    lr=Use(
        o.LR,
        1e-3,
        "lr",
        note="Where gradients are steady, steps become several times the rate.",
        advice=_AS_ADAM,
    ),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2_OF_SURPRISE, 0.999, "betas[1]"),
        po.above_zero(
            1e-16, "At the defaults the least divisor is 3e-7.", soft=(1e-20, 1e-4), option=o.EPS_OF_SURPRISE
        ),
        *po.decay(0.0, decoupled=True),
        Use(o.AMSGRAD, False, "ams_bound", note="Here it is the largest average of squared distances."),
        po.RECTIFY,
        po.N_SMA_THRESHOLD,
        po.DEGENERATED_TO_SGD,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"rectify": True}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99, "weight_decay": 0.01},
            "The paper's rate, with decoupled decay, a short warm-up in place of rectify, and beta2 of 0.99 for runs of "
            "hundreds or a few thousand steps. Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    rules=(*po.DECAY_RULES, *po.RECTIFY_RULES),
    hidden=(
        *po.HIDDEN,
        Hidden(
            "kwargs",
            "further entries of the parameter groups: adanorm and adam_debias, which AIDA offers, work here too",
        ),
    ),
    rate="first_steps:Rectified",
    rate_words=po.RECTIFIED_WORDS,
    state_names=("exp_avg", "exp_avg_var"),
    steps_each_tensor=True,
)

AIDA = OptimizerSpec(
    key="AIDA",
    title="Aida",
    family=_FAMILY,
    summary="AdaBelief that first projects gradient and momentum onto each other, which is meant to make the steps of "
    "different weights more alike, as in SGD. Its package's epsilon is large: set it before the rate.",
    formula=r"s \leftarrow \beta_2 s + (1-\beta_2)(m_K - g_K)^2 + \epsilon,\quad "
    r"\theta \leftarrow \theta - \gamma\, \frac{\hat m}{\sqrt{\hat s} + \epsilon}",
    links=(Link("Zhang et al. 2022", "https://arxiv.org/abs/2203.13273"), po.code("aida")),
    target="pytorch_optimizer:Aida",
    package=po.PACKAGE,
    lr=Use(
        o.LR,
        1e-3,
        "lr",
        note="With noisy gradients far above the floor that epsilon sets, its steps are four to five times as large as "
        "Adam's; below that floor they are far smaller.",
        advice=replace(shared.RATES_OF_ADAMW, reason="With epsilon at 1e-16 Adam's rates carry over."),
    ),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(
            o.BETA2_OF_SURPRISE,
            0.999,
            "betas[1]",
            note="Gradient and momentum are projected onto each other before they are compared.",
        ),
        Use(o.K, 2, "k"),
        Use(o.XI, 1e-20, "xi"),
        *po.decay(0.0, decoupled=False),
        po.RECTIFY,
        po.N_SMA_THRESHOLD,
        po.DEGENERATED_TO_SGD,
        Use(o.AMS_BOUND, False, "ams_bound"),
        _R,
        _ADANORM,
        _ADAM_DEBIAS,
        Use(
            replace(o.EPS_OF_SURPRISE, soft=(1e-20, 1e-4)),
            1e-8,
            "eps",
            note="At the defaults the least divisor is 0.003: weights with smaller gradients hardly move.",
            advice=Advice(
                1e-16,
                "On the bench's digits 1e-8 ends at a loss of 0.23, and 1e-12 and 1e-16 at 0.17, where AdamW ends at 0.19.",
                source="measured on the bench",
                between=(1e-16, 1e-12),
            ),
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "eps": 1e-16},
            "Adam's rate, with an epsilon so small that it no longer holds weights with small gradients back. Use 1e-4 for a "
            "LoRA of a large model.",
        ),
    ),
    rules=(*po.DECAY_RULES, *po.RECTIFY_RULES),
    hidden=(*po.HIDDEN, po.KWARGS),
    rate="first_steps:Rectified",
    rate_words=po.RECTIFIED_WORDS,
    state_names=("exp_avg", "exp_avg_var"),
    steps_each_tensor=True,
)

YOGI = OptimizerSpec(
    key="YOGI",
    title="Yogi",
    family=_FAMILY,
    summary="Adam whose squared average moves toward each new square by a fixed share of that square, never by a share of the "
    "gap: it forgets large gradients slowly, so steps do not jump up after a quiet stretch.",
    formula=r"v \leftarrow v - (1-\beta_2)\,\operatorname{sign}(v - g^2)\,g^2,\quad "
    r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
    links=(
        Link("Zaheer et al. 2018", "https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization"),
        po.code("yogi"),
    ),
    target="pytorch_optimizer:Yogi",
    package=po.PACKAGE,
    lr=Use(
        o.LR,
        1e-2,
        "lr",
        note="With epsilon at 1e-3 weights whose gradients are smaller than that move by far less than the rate.",
        advice=Advice(
            1e-2,
            "Ten times Adam's rate, as long as epsilon is at 1e-3; with Adam's epsilon take Adam's rate.",
            source="TensorFlow Federated's documentation",
            words="ten times Adam's rate",
            between=(1e-4, 1e-2),
        ),
    ),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        *po.decay(0.0, decoupled=True),
        po.ignored(o.R_OF_ADANORM, 0.95, "adanorm_r"),
        po.ignored(o.ADANORM, False, "adanorm"),
        _ADAM_DEBIAS,
        Use(
            o.INITIAL_ACCUMULATOR,
            1e-6,
            "initial_accumulator",
            note="The momentum starts from it as well, so that a large one pushes all weights down at first.",
        ),
        po.above_zero(
            1e-3,
            "Far larger than Adam's, as the paper has it; it keeps weights with tiny gradients nearly still.",
            soft=(1e-10, 1e-1),
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-2, "schedule": "COSINE", "warmup": 0.05},
            "The package's rate, betas and epsilon, with a short warm-up and a cosine. Use 1e-3 for a LoRA of a large model.",
        ),
    ),
    rules=po.DECAY_RULES,
    hidden=(*po.HIDDEN, po.KWARGS),
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ENTRIES = (ADOPT, ADABELIEF, AIDA, YOGI)
