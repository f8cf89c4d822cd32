"""AdEMAMix, which adds a second and very slow momentum to Adam's, in 32 and 8 bits."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.remedies import BETA2
from diffopt_widgets.catalogue.schema import Link, OptimizerSpec, Preset, Rule, Use, When

_FAMILY = "Variants of Adam"
_PAPER = Link("Pagliardini et al. 2024", "https://arxiv.org/abs/2409.03137")
_8BIT_PAPER = Link("Dettmers et al. 2021", "https://arxiv.org/abs/2110.02861")
_CODE = Link("code", "https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/optim/ademamix.py")
_FORMULA = (
    r"m_2 \leftarrow \beta_3 m_2 + (1-\beta_3)\,g,\quad "
    r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\, \frac{\hat m_1 + \alpha\, m_2}{\sqrt{\hat v} + \epsilon}"
)
_RATE_WORDS = "the learning rate as scheduled; as the slow average fills, a steady gradient comes to step up to 1 + alpha times as far"
_WITH_SLOW = When("alpha", ">", 0)
_LR = Use(
    o.LR,
    1e-3,
    "lr",
    advice=replace(
        shared.RATES_OF_ADAMW,
        reason="AdamW's rates carry over; where the slow average pushes hard (a long run, a large alpha) go lower.",
    ),
)
_AVERAGES = (
    Use(o.BETA1, 0.9, "betas[0]", note="Here it is the memory of the fast average."),
    Use(o.BETA2, 0.999, "betas[1]"),
)
_BETA3_NOTE = (
    "Here it is the memory of the slow average, 10,000 steps at 0.9999, which starts at 0 and is not corrected for that. In "
    "a run of a few hundred steps only about 0.99 lets it count."
)
_BETA3 = Use(
    replace(o.BETA3, nullable=False, null_words=""), 0.9999, "betas[2]", note=_BETA3_NOTE, enabled_if=_WITH_SLOW
)
_WEIGHTS = (
    Use(
        o.ALPHA_OF_ADEMAMIX,
        5.0,
        "alpha",
        note="At 0 it is AdamW.",
        advice=Advice(5.0, "The values that the paper found best.", "the AdEMAMix paper", between=(4, 10)),
    ),
    Use(o.T_ALPHA, None, "t_alpha", enabled_if=_WITH_SLOW),
    Use(o.T_BETA3, None, "t_beta3", enabled_if=_WITH_SLOW),
)
_DECAY = Use(
    o.WEIGHT_DECAY, 0.01, "weight_decay", note="Applied to the weights themselves, multiplied by the learning rate."
)
_EPS = Use(o.EPS, 1e-8, "eps")
_PRESETS = (
    shared.LIBRARY,
    shared.onetrainer({}),
    Preset(
        "recommended",
        "Recommended",
        {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta3": 0.99, "alpha": 5.0, "t_alpha": 300, "t_beta3": 300},
        "For a run of some 300 steps: both warm-ups as long as the run, as the paper has them, and a slow average short "
        "enough to fill in it. For longer runs set the warm-ups to their length and beta3 nearer to 0.9999. The rate suits "
        "models of the bench's size; use 1e-4 for a LoRA of a large model.",
    ),
)
_RULES = (
    Rule(
        "t_beta3-betas",
        ("t_beta3", "beta1", "beta3"),
        lambda values: (
            values["t_beta3"] is not None and not 0 < shared.number(values, "beta1") <= shared.number(values, "beta3")
        ),
        "The warm-up of beta3 goes from beta1 up to beta3. With one of them at 0 the back end raises, and with beta1 above "
        "beta3 the memory breaks down once the warm-up is over. Leave it empty, or set beta1 to 0.9 and beta3 above that.",
        fix={"t_beta3": None},
    ),
)

ADEMAMIX = OptimizerSpec(
    key="AdEMAMix",
    title="AdEMAMix",
    family=_FAMILY,
    summary="AdamW with a second momentum that remembers thousands of steps, so that old gradients still help. Made for long "
    "runs.",
    formula=_FORMULA,
    links=(_PAPER, _CODE),
    target="bitsandbytes.optim:AdEMAMix",
    package="bitsandbytes",
    lr=_LR,
    uses=(
        *_AVERAGES,
        _BETA3,
        _EPS,
        *_WEIGHTS,
        _DECAY,
        shared.OPTIM_BITS,
        shared.MIN_8BIT_SIZE_IF_8BIT,
        shared.IS_PAGED,
    ),
    presets=_PRESETS,
    rules=_RULES,
    remedies=(BETA2,),
    rate_words=_RATE_WORDS,
    state_names=("state1", "state2"),
    steps_each_tensor=True,
)

ADEMAMIX_8BIT = OptimizerSpec(
    key="AdEMAMix_8BIT",
    title="AdEMAMix (8-bit)",
    family=_FAMILY,
    summary="AdEMAMix with all three averages in 8 bits. The slow average loses what is too small for 8 bits.",
    formula=_FORMULA,
    links=(_PAPER, _8BIT_PAPER, _CODE),
    target="bitsandbytes.optim:AdEMAMix8bit",
    package="bitsandbytes",
    lr=_LR,
    uses=(
        *_AVERAGES,
        replace(
            _BETA3,
            note=f"{_BETA3_NOTE} In 8 bits a change of less than about one percent is rounded away: at 0.9999 the slow average "
            "of steady gradients is a fifth to a half too small after 1,000 steps. Noise carries it on.",
        ),
        _EPS,
        *_WEIGHTS,
        _DECAY,
        shared.MIN_8BIT_SIZE,
        shared.IS_PAGED,
    ),
    presets=_PRESETS,
    rules=_RULES,
    remedies=(BETA2,),
    rate_words=_RATE_WORDS,
    state_bits=8,
    state_names=("state1", "state2"),
    steps_each_tensor=True,
)

ENTRIES = (ADEMAMIX, ADEMAMIX_8BIT)
