"""D-Adaptation: five optimizers that estimate their own learning rate."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.remedies import BETA2, lower_estimate, restored_beta2
from diffopt_widgets.catalogue.schema import Link, OptimizerSpec, Preset, Rule, Use, When

_FAMILY = "Finds its own rate"
_PAPER = Link("Defazio & Mishchenko 2023", "https://arxiv.org/abs/2301.07733")
_CODE = Link("code", "https://github.com/facebookresearch/dadaptation")

_LR_ADVICE = Advice(
    1.0,
    "The optimizer finds the rate by itself; this is not ignored, but multiplies that rate.",
    source="dadaptation's README",
)
_LR = Use(o.LR_OF_ESTIMATE, 1.0, "lr", advice=_LR_ADVICE)
_DECAY = "If a model overfits, its README advises two to four times the usual decay."
_D0 = Use(o.D0, 1e-6, "d0")
_GROWTH_RATE = Use(o.GROWTH_RATE, float("inf"), "growth_rate")
_REMEDIES = lower_estimate({"growth_rate"})
_LOG_EVERY = Use(
    o.LOG_EVERY,
    0,
    "log_every",
    note="In copied code it goes to Python's logging at level INFO, which is silent unless set up.",
)
_EPS = Use(o.EPS, 1e-8, "eps", note="0 raises.", domain=shared.POSITIVE)
_WITH_DECAY = When("weight_decay", ">", 0)
_COMMON_RULES = (shared.SCALER_RULE,)

ADAM = OptimizerSpec(
    key="DADAPT_ADAM",
    title="D-Adapt Adam",
    family=_FAMILY,
    summary="Adam that estimates its own learning rate by D-Adaptation, from which Prodigy was made. Without bias correction its "
    "estimate can leap far higher than Prodigy's.",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\,\gamma d\, g,\quad \theta \leftarrow \theta - \frac{m}{\sqrt{v} + \epsilon}",
    links=(_PAPER, _CODE),
    target="dadaptation:DAdaptAdam",
    package="dadaptation",
    lr=_LR,
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]", note="Its square root also sets how long the estimate remembers."),
        _EPS,
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=_DECAY),
        Use(
            o.DECOUPLE,
            False,
            "decouple",
            enabled_if=_WITH_DECAY,
            note="Off by default here: turn it on to replace AdamW.",
        ),
        Use(o.USE_BIAS_CORRECTION, False, "use_bias_correction"),
        _D0,
        _GROWTH_RATE,
        _LOG_EVERY,
        shared.FSDP_IN_USE,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        Preset(
            "recommended",
            "Recommended",
            {
                "lr": 1.0,
                "schedule": "COSINE",
                "use_bias_correction": True,
                "decouple": True,
                "weight_decay": 0.01,
            },
            "Learning rate 1, since the estimate does the rest; bias correction, without which the loss "
            "ends at 0.86 and not at 0.16 on the bench's digits; decoupled weight decay as in AdamW; and a cosine, since the estimate never falls.",
        ),
    ),
    rules=(shared.lr_near_one(0.1, 10.0), *_COMMON_RULES),
    rate="estimating:DAdaptAdam",
    rate_words="beta1-average of d · learning rate · bias correction",
    estimates_rate=True,
    remedies=(BETA2, *_REMEDIES),
    rates="one",
    state_names=("s", "exp_avg", "exp_avg_sq"),
)

ADAN = OptimizerSpec(
    key="DADAPT_ADAN",
    title="D-Adapt Adan",
    family=_FAMILY,
    summary="Adan, which also looks at how the gradient changes from step to step, with its learning rate estimated. It keeps five "
    "state tensors.",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\,\gamma d\, g_t,\quad n \leftarrow \beta_2 n + (1-\beta_2)\,\gamma d\,(g_t - g_{t-1}),\quad "
    r"v \leftarrow \beta_3 v + (1-\beta_3)\left(g_t + \beta_2 (g_t - g_{t-1})\right)^2,\quad "
    r"\theta \leftarrow \frac{1}{1 + \gamma d \lambda}\left(\theta - \frac{m + \beta_2\, n}{\sqrt{v} + \epsilon}\right)",
    links=(_PAPER, Link("Xie et al. 2022 (Adan)", "https://arxiv.org/abs/2208.06677"), _CODE),
    target="dadaptation:DAdaptAdan",
    package="dadaptation",
    lr=_LR,
    uses=(
        Use(o.BETA1, 0.98, "betas[0]"),
        Use(o.BETA2_OF_DIFFERENCES, 0.92, "betas[1]"),
        Use(
            replace(o.BETA3, nullable=False, null_words=""),
            0.99,
            "betas[2]",
            note="Here it averages the squared gradients, as beta2 does for Adam.",
        ),
        _EPS,
        Use(o.WEIGHT_DECAY, 0.02, "weight_decay", note=_DECAY),
        Use(o.NO_PROX, False, "no_prox", enabled_if=_WITH_DECAY),
        _D0,
        _GROWTH_RATE,
        Use(o.LOG_EVERY, 0, "log_every", note="In copied code it is printed."),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1.0, "schedule": "COSINE", "growth_rate": 1.05},
            "At its own values the estimate can overshoot: on the bench's digits the loss ends at 0.55, a mean of two seeds, "
            "and at 0.22 where the estimate grows by 5% per step at most. A cosine lets the run settle, since the estimate never falls.",
        ),
    ),
    rules=(
        shared.lr_near_one(0.1, 10.0),
        *_COMMON_RULES,
    ),
    rate="estimating:DAdaptAdan",
    rate_words="beta1-average of d · learning rate",
    estimates_rate=True,
    remedies=(restored_beta2("beta1", "beta3"), *_REMEDIES),
    rates="first",
    state_names=("s", "exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad"),
)

ADA_GRAD = OptimizerSpec(
    key="DADAPT_ADA_GRAD",
    title="D-Adapt AdaGrad",
    family=_FAMILY,
    summary="Adagrad by dual averaging with an estimated rate: each step recomputes the weights from where they began and the "
    "weighted sum of all gradients.",
    formula=r"\alpha \leftarrow \alpha + g^2,\quad s \leftarrow s + \gamma d\, g,\quad "
    r"\theta \leftarrow \theta_0 - \frac{s}{\sqrt{\alpha} + \epsilon}",
    links=(_PAPER, _CODE),
    target="dadaptation:DAdaptAdaGrad",
    package="dadaptation",
    lr=_LR,
    uses=(
        Use(o.MOMENTUM_OF_AVERAGE, 0.0, "momentum"),
        Use(
            o.EPS,
            1e-6,
            "eps",
            note="OneTrainer starts with 0, which raises.",
            domain=shared.POSITIVE,
        ),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=f"Added to the gradient. {_DECAY}"),
        _D0,
        _GROWTH_RATE,
        _LOG_EVERY,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}, "Epsilon 0 is left out, since it raises."),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1.0, "momentum": 0.9, "schedule": "CONSTANT"},
            "Steps shrink by themselves as gradients add up, so no falling schedule is needed; momentum smooths the path.",
        ),
    ),
    rules=(shared.lr_near_one(0.1, 10.0), *_COMMON_RULES),
    rate="estimating:DAdaptAdaGrad",
    rate_words="d · learning rate (dual averaging has no rate of a single step)",
    estimates_rate=True,
    remedies=_REMEDIES,
    rates="first",
    state_names=("alphak", "sk", "x0"),
)

LION = OptimizerSpec(
    key="DADAPT_LION",
    title="D-Adapt Lion",
    family=_FAMILY,
    summary="Lion with an estimated rate: every weight moves by exactly d times the learning rate. The package keeps its momentum "
    "at that small scale and adds the fresh gradient in full, so at rates that train a step follows the sign of the newest "
    "gradient, almost without momentum.",
    formula=r"\theta \leftarrow (1 - \gamma d\lambda)\,\theta - \gamma d\,\operatorname{sign}(\beta_1 m + (1-\beta_1)\,g)"
    r",\quad m \leftarrow \beta_2 m + (1-\beta_2)\,\gamma d\, g",
    links=(_PAPER, Link("Chen et al. 2023 (Lion)", "https://arxiv.org/abs/2302.06675"), _CODE),
    target="dadaptation:DAdaptLion",
    package="dadaptation",
    lr=Use(
        o.LR_OF_ESTIMATE,
        1.0,
        "lr",
        note="Its estimate can be too bold for steps by sign: where the loss jumps, go down to 0.3 or 0.1.",
        advice=_LR_ADVICE,
    ),
    uses=(
        Use(
            o.BETA1,
            0.9,
            "betas[0]",
            note="Here it hardly matters: the momentum has the size of the gradients times the small rate, the fresh gradient its full "
            "size.",
        ),
        Use(
            o.BETA2_OF_MOMENTUM,
            0.99,
            "betas[1]",
            note="Its square root does the same for the estimate, and this is what it is for here: the momentum hardly counts.",
        ),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=f"Multiplied by d and the learning rate. {_DECAY}"),
        _D0,
        _LOG_EVERY,
        replace(
            shared.FSDP_IN_USE,
            note=f"{shared.FSDP_ALONE} It has to be turned on under FSDP1 and FSDP2 alike.",
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"beta2": 0.999}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1.0, "schedule": "COSINE"},
            "A cosine, because the estimate never falls and steps by sign settle only when the rate does.",
        ),
    ),
    rules=(
        shared.lr_near_one(0.03, 10.0),
        Rule(
            "log-at-zero",
            ("log_every", "schedule"),
            lambda values: shared.number(values, "log_every") > 0 and shared.touches_zero(values),
            "This schedule passes through a rate of 0, where the package's logging raises. Set log every to 0.",
            fix={"log_every": 0},
        ),
        *_COMMON_RULES,
    ),
    rate="estimating:DAdaptLion",
    rate_words="d · learning rate",
    estimates_rate=True,
    remedies=lower_estimate(()),
    rates="one",
    state_names=("exp_avg", "s"),
)

SGD = OptimizerSpec(
    key="DADAPT_SGD",
    title="D-Adapt SGD",
    family=_FAMILY,
    summary="SGD with an estimated rate, measured in units of the very first gradient. Three state tensors where SGD needs none.",
    formula=r"z \leftarrow z - \frac{\gamma d}{\lVert g_0\rVert}\, g,\quad \theta \leftarrow \mu\,\theta + (1-\mu)\, z",
    links=(_PAPER, _CODE),
    target="dadaptation:DAdaptSGD",
    package="dadaptation",
    lr=Use(
        o.LR_OF_ESTIMATE,
        1.0,
        "lr",
        note="On the bench's digits it trains at 1 with a momentum of 0.9, and runs away at 1 without momentum and at 2 with it.",
        advice=_LR_ADVICE,
    ),
    uses=(
        Use(o.MOMENTUM_OF_AVERAGE, 0.0, "momentum"),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note=f"Added to the gradient. {_DECAY}"),
        _D0,
        _GROWTH_RATE,
        _LOG_EVERY,
        replace(
            shared.FSDP_IN_USE,
            note=f"{shared.FSDP_ALONE} It has to be turned on under FSDP1 and FSDP2 alike.",
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1.0, "momentum": 0.9, "schedule": "COSINE", "min_factor": 0.01},
            "Learning rate 1, since the estimate does the rest, and momentum, which keeps it from running away: on the bench's digits "
            "the loss ends at 0.21, and at a rate of 0.3 at 0.26. No warm-up and a minimum factor of 0.01, since a step at a rate "
            "of 0 raises.",
        ),
    ),
    rules=(
        Rule(
            "lr-runs-away",
            ("lr",),
            lambda values: shared.number(values, "lr") >= 2,
            "At a learning rate of 2 and above D-Adapt SGD easily runs away. Set it to 1.",
            fix={"lr": 1.0},
            severity="warning",
        ),
        Rule(
            "momentum-runs-away",
            ("momentum", "lr"),
            lambda values: 1 <= shared.number(values, "lr") < 2 and shared.number(values, "momentum") < 0.5,
            "Without momentum D-Adapt SGD easily runs away at a learning rate of 1. Set momentum to 0.9, or lower the rate to 0.3.",
            fix={"momentum": 0.9},
            severity="warning",
        ),
        Rule(
            "warmup",
            ("warmup",),
            lambda values: shared.number(values, "warmup") > 0,
            "Warm-up starts at a rate of 0, and D-Adapt SGD divides by zero there. Set warm-up to 0; it warms up by itself.",
            fix={"warmup": 0.0},
        ),
        Rule(
            "schedule-at-zero",
            ("schedule", "min_factor"),
            shared.touches_zero,
            "This schedule passes through a rate of 0, where D-Adapt SGD raises. Set the minimum factor to 0.01.",
            fix={"min_factor": 0.01},
        ),
        *_COMMON_RULES,
    ),
    rate="estimating:DAdaptSGD",
    rate_words="momentum-average of d · learning rate / norm of the first gradient",
    estimates_rate=True,
    remedies=_REMEDIES,
    rates="one",
    raises_at_zero=True,
    state_names=("z", "s", "x0"),
)

ENTRIES = (ADAM, ADAN, LION, ADA_GRAD, SGD)
