"""Prodigy Plus, which estimates its own learning rate and needs no falling schedule."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.remedies import lower_estimate, restored_beta2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Rule, Standing, Use, Values, When

_README = "prodigy-plus-schedule-free's README"
_SCHEDULE_FREE = When("use_schedulefree", "==", True)
_NO_GROWTH = 2**-0.25
"""Value of d_coef that undoes the largest growth of the limited estimate in a step, 2 to the quarter."""
_NO_GROWTH_WITH_SPEED = 0.25
"""Value of d_coef for the same with SPEED, which takes its eighth root."""


def _plain_adam(values: Values) -> bool:
    """Check whether steps are Adam's own: with momentum, which schedule-free steps do without, and a plain division."""
    return values["eps"] is not None and values["use_schedulefree"] is False and values["use_adopt"] is False


PRODIGY_PLUS = OptimizerSpec(
    key="PRODIGY_PLUS_SCHEDULE_FREE",
    title="Prodigy Plus (schedule-free)",
    family="Finds its own rate",
    summary="Prodigy with the schedule-free average in place of a falling rate, an estimate for each parameter group, and "
    "squared gradients kept by rows and columns. In eval mode the weights hold the average; the bench switches to it and back.",
    formula=r"v \leftarrow \beta_2 v + (1-\beta_2)\, d^2 g^2,\quad "
    r"z \leftarrow z - \gamma d\, \frac{d\, g}{\sqrt{v} + d\,\epsilon},\quad x \leftarrow (1 - c)\, x + c\, z"
    r",\quad \theta \leftarrow (1-\beta_1)\, z + \beta_1\, x"
    r",\quad \hat d = c_d\, \frac{\sum d^2 \langle g,\, \theta_0 - z\rangle}{\lVert s\rVert_1}",
    links=(
        Link("Mishchenko & Defazio 2023", "https://arxiv.org/abs/2306.06101"),
        Link("Defazio et al. 2024", "https://arxiv.org/abs/2405.15682"),
        Link("code", "https://github.com/LoganBooker/prodigy-plus-schedule-free"),
    ),
    target="prodigyplus:ProdigyPlusScheduleFree",
    package="prodigy-plus-schedule-free",
    lr=Use(
        o.LR_OF_ESTIMATE,
        1.0,
        "lr",
        advice=Advice(
            1.0, "It finds the rate by itself; this only scales that rate, and may differ by group.", source=_README
        ),
    ),
    uses=(
        Use(
            o.D_COEF,
            1.0,
            "d_coef",
            note="With d_limiter anything up to 0.84 holds the estimate where it starts, so turn that off to go lower. With "
            "use_speed the eighth root of it multiplies each growth.",
        ),
        Use(
            o.BETA1,
            0.9,
            "betas[0]",
            note="With use_schedulefree it sets where gradients are computed: at a mix of this share of the average and, for the "
            "rest, of the point that takes the steps; 0 is refused then. Without it, this is Adam's momentum.",
            advice=Advice(
                0.95, "It works better than 0.9 in most situations with the schedule-free average.", source=_README
            ),
        ),
        Use(o.BETA2, 0.99, "betas[1]"),
        Use(o.BETA3, None, "beta3", note="Here it sets how long the sums behind the estimate d remember."),
        Use(
            replace(o.EPS, nullable=True, null_words="atan2 in place of the division"),
            1e-8,
            "eps",
            note="Multiplied by d in the denominator; 0 raises. Left empty, the step is bounded by an arc tangent and needs "
            "no epsilon; use_stableadamw then has no effect.",
            domain=shared.POSITIVE,
        ),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay"),
        Use(o.WEIGHT_DECAY_BY_LR, True, "weight_decay_by_lr", enabled_if=When("weight_decay", ">", 0)),
        Use(
            o.USE_BIAS_CORRECTION,
            False,
            "use_bias_correction",
            note="Here it is RAdam's: the first steps (four at a beta2 of 0.99) move nothing, the next ones little. The "
            "estimate then takes longer to rise.",
        ),
        Use(o.D0, 1e-6, "d0"),
        Use(
            o.D_LIMITER,
            True,
            "d_limiter",
            note="The limit is multiplied by d_coef. SPEED has a limit of its own.",
            enabled_if=When("use_speed", "==", False),
        ),
        Use(o.PRODIGY_STEPS, 0, "prodigy_steps"),
        Use(o.USE_SPEED, False, "use_speed"),
        Use(
            o.SPLIT_GROUPS,
            True,
            "split_groups",
            note="The bench's tasks have two groups, text encoder and UNet.",
        ),
        Use(
            o.SPLIT_GROUPS_MEAN,
            False,
            "split_groups_mean",
            enabled_if=When("split_groups", "==", True),
        ),
        Use(
            o.USE_SCHEDULEFREE,
            True,
            "use_schedulefree",
        ),
        Use(
            o.SCHEDULEFREE_C,
            0.0,
            "schedulefree_c",
            enabled_if=_SCHEDULE_FREE,
        ),
        Use(
            o.FACTORED,
            True,
            "factored",
            note="Tensors with all sides below 32, and vectors, keep one number per weight.",
        ),
        Use(
            o.FACTORED_FP32,
            True,
            "factored_fp32",
            only_in="bfloat16",
            note="It affects only 16-bit gradients, such as those of bfloat16 weights.",
            enabled_if=When("factored", "==", True),
        ),
        Use(o.USE_STABLEADAMW, True, "use_stableadamw", enabled_if=When("eps", "!=", None)),
        Use(o.USE_CAUTIOUS, False, "use_cautious", note="It works only with use_schedulefree."),
        Use(o.USE_GRAMS, False, "use_grams", enabled_if=When("use_cautious", "==", False)),
        Use(o.USE_ADOPT, False, "use_adopt", note="It works only with use_schedulefree."),
        Use(
            o.USE_ORTHOGRAD,
            False,
            "use_orthograd",
            note="Weights that are not contiguous in memory, such as channels-last ones, raise at the first step.",
        ),
        Use(
            o.STOCHASTIC_ROUNDING,
            True,
            "stochastic_rounding",
            only_in="bfloat16",
            note="It affects only bfloat16 weights. It draws from torch's global random numbers.",
            draws="torch",
        ),
        Use(
            o.FUSED_BACK_PASS,
            False,
            "fused_back_pass",
            standing=Standing.UNAVAILABLE,
            reason="the package's step() then does nothing, and waits for the training loop to call step_param for each "
            "gradient, which the bench's loop does not do: the run would not train",
        ),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}, lr="the weights would stand still"),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1.0, "beta1": 0.95, "schedule": "CONSTANT", "warmup": 0.0},
            "The package's own values under a constant rate, without warm-up since the estimate starts low by itself; beta1 of "
            "0.95, as its README advises.",
        ),
    ),
    rules=(
        shared.lr_near_one(0.1, 10.0),
        shared.SCALER_RULE,
        shared.OWN_WARMUP_RULE,
        Rule(
            "falling-schedule",
            ("schedule", "use_schedulefree"),
            lambda values: values["use_schedulefree"] is True and values["schedule"] not in {"CONSTANT", "ADAFACTOR"},
            "With use_schedulefree no falling schedule is needed: the average of the weights settles by itself. Set the "
            "schedule to CONSTANT, or turn use_schedulefree off.",
            fix={"schedule": "CONSTANT"},
            severity="warning",
        ),
        Rule(
            "beta1-zero",
            ("beta1", "use_schedulefree"),
            lambda values: values["use_schedulefree"] is True and shared.number(values, "beta1") == 0,
            "With use_schedulefree and a beta1 of 0 the package divides by zero in eval mode. Set beta1 to 0.9, or turn "
            "use_schedulefree off.",
            fix={"beta1": 0.9},
        ),
        Rule(
            "bias-correction-beta2",
            ("beta2", "use_bias_correction"),
            lambda values: values["use_bias_correction"] is True and shared.number(values, "beta2") <= 0.6,
            "With bias correction and a beta2 of 0.6 or less RAdam never lets a step through, and nothing is trained. Set "
            "beta2 to 0.99, or turn bias correction off.",
            fix={"beta2": 0.99},
        ),
        Rule(
            "d-coef-limiter",
            ("d_coef", "d_limiter"),
            lambda values: (
                values["d_limiter"] is True
                and values["use_speed"] is False
                and shared.number(values, "d_coef") <= _NO_GROWTH
            ),
            "The package multiplies the limited estimate by d_coef, so at 0.84 or less it can never rise above where it starts. "
            "Turn d_limiter off, or set d_coef back to 1.",
            fix={"d_limiter": False},
        ),
        Rule(
            "d-coef-speed",
            ("d_coef", "use_speed"),
            lambda values: values["use_speed"] is True and shared.number(values, "d_coef") <= _NO_GROWTH_WITH_SPEED,
            "With SPEED and a d_coef of 0.25 or less the estimate can never rise above where it starts. Set d_coef back to 1.",
            fix={"d_coef": 1.0},
        ),
        Rule(
            "prodigy-steps-few",
            ("prodigy_steps",),
            lambda values: (
                shared.number(values, "prodigy_steps") > 0
                and shared.number(values, "d0") * 1.19 ** min(shared.number(values, "prodigy_steps"), 200)
                < 1e-6 * 1.19**60
                and (values["d_limiter"] is True or values["use_speed"] is True)
            ),
            "The estimate rises by no more than 19% per step, which takes about 50 steps from a d0 of 1e-6 to a rate that trains. "
            "Stopped sooner it stays too small to the end: set prodigy_steps to 0, or to a quarter of a long run.",
            fix={"prodigy_steps": 0},
            severity="warning",
        ),
        Rule(
            "cautious-momentum",
            ("use_cautious", "use_schedulefree"),
            lambda values: values["use_cautious"] is True and values["use_schedulefree"] is False,
            "Without use_schedulefree the package multiplies momentum by the gradient where it should mask it: steps lose their "
            "sign, and nothing is learned. Turn use_cautious off.",
            fix={"use_cautious": False},
        ),
        Rule(
            "adopt-momentum",
            ("use_adopt", "use_schedulefree"),
            lambda values: values["use_adopt"] is True and values["use_schedulefree"] is False,
            "Without use_schedulefree the package multiplies ADOPT's steps by the estimate d twice, and the weights hardly move. "
            "Turn use_adopt off.",
            fix={"use_adopt": False},
        ),
        Rule(
            "cautious-grams",
            ("use_grams", "use_cautious"),
            lambda values: values["use_grams"] is True and values["use_cautious"] is True,
            "The package switches use_grams off where use_cautious is on. Turn one of them off.",
            fix={"use_grams": False},
            severity="warning",
        ),
        Rule(
            "speed-decay",
            ("use_speed", "weight_decay"),
            lambda values: values["use_speed"] is True and shared.number(values, "weight_decay") > 0,
            "SPEED reads the rate off the way that the weights move, and weight decay can make it far too large. Set weight "
            "decay to 0.",
            fix={"weight_decay": 0.0},
            severity="warning",
        ),
    ),
    hidden=(
        Hidden(
            "use_focus",
            "an experiment that replaces the whole update and switches factored off; OneTrainer does not show it either",
        ),
    ),
    rate="schedule_free:ProdigyPlus",
    rate_words="d · learning rate · bias correction of the point that takes the steps; with use_schedulefree the weights stay "
    "between it and its average",
    estimates_rate=True,
    remedies=(restored_beta2(where=_plain_adam), *lower_estimate({"d_coef"})),
    state_names=("z", "exp_avg_sq_row", "exp_avg_sq_col"),
    has_modes=True,
)

ENTRIES = (PRODIGY_PLUS,)
