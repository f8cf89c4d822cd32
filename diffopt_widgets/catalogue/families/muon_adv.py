"""Muon and AdaMuon of adv_optm, with all the switches of that package and its own auxiliary Adam."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import adv_uses as adv
from diffopt_widgets.catalogue.families import muon
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Rule, Use, When

_NORMUON = Link("Li et al. 2025 (NorMuon)", "https://arxiv.org/abs/2510.05491")
_LIU = Link("Liu et al. 2025 (RMS of 0.2)", "https://arxiv.org/abs/2502.16982")
_LR = Use(
    o.LR,
    1e-3,
    "lr",
    note="With RMS rescaling an update has a root mean square of 0.2 times this, whatever the gradient.",
    advice=Advice(
        1e-3,
        "RMS rescaling gives steps of Adam's size, so what suits AdamW suits here too.",
        source="Liu et al. 2025",
        words="as for AdamW",
        between=(1e-5, 1e-2),
    ),
)
_WEIGHT_DECAY = Use(
    o.WEIGHT_DECAY,
    0.0,
    "weight_decay",
    note="It acts on Muon's matrices and is multiplied by the learning rate; the auxiliary Adam has its own.",
)
_CAUTIOUS_WD = replace(
    adv.CAUTIOUS_WD,
    enabled_if=None,
    note="It acts on both decays, Muon's and the auxiliary Adam's.",
)
_NNMF_FACTOR = replace(
    adv.NNMF_FACTOR,
    note="Muon then makes the state's own shape orthogonal, which is as square as its size allows, and not the matrix of the "
    "weight: another update, not only a rougher one. The auxiliary Adam has adam_nnmf_factor. Weights laid out in memory as "
    "channels_last make the step raise.",
)
_ORTHOGONALISED = "Its size does not matter here, since the update is made orthogonal anyway."
_STEPS = (
    Use(o.ACCELERATED_NS, False, "accelerated_ns"),
    Use(
        o.NS_STEPS,
        5,
        "ns_steps",
        note="With Chebyshev coefficients more steps do come nearer to 1, and at least 10 are needed.",
    ),
    Use(o.LOW_RANK_ORTHO, False, "low_rank_ortho", draws="torch"),
    Use(o.ORTHO_RANK, 128, "ortho_rank", enabled_if=When("low_rank_ortho", "==", True)),
    Use(o.RMS_RESCALING, True, "rms_rescaling"),
)
_COMPILE = replace(
    adv.COMPILE, note=f"{adv.COMPILE.note} Orthogonalising runs in bfloat16, so its rounding shows more than elsewhere."
)
_ENGINE = (_NNMF_FACTOR, adv.STOCHASTIC_ROUNDING, _COMPILE, adv.FUSED_BACK_PASS)
_CHOICE = (
    *muon.USES,
    Use(
        replace(o.MUON_ADAM_LR, nullable=True, null_words="as the learning rate"),
        None,
        None,
        by_groups=True,
        enabled_if=muon.WITH_ADAM,
        note=muon.RATE_NOTE,
    ),
)
_SIMPLIFIED = replace(adv.SIMPLIFIED_ADEMAMIX, note=_ORTHOGONALISED)


def _inner(use: Use) -> Use:
    """Put an option into the section of the auxiliary Adam, and disable it where there is no such Adam."""
    return replace(use, enabled_if=use.enabled_if or muon.WITH_ADAM, section=muon.AUXILIARY)


_ADEMAMIX = When("adam_use_AdEMAMix", "==", True)
_ADAM = (
    *muon.TEXT_ENCODER_USES,
    *(
        _inner(use)
        for use in (
            Use(o.ADAM_BETA1, 0.9, "adam_betas[0]"),
            Use(o.ADAM_BETA2, 0.99, "adam_betas[1]"),
            Use(o.ADAM_EPS, 1e-8, "adam_eps", enabled_if=When("adam_use_atan2", "==", False)),
            Use(
                o.ADAM_WEIGHT_DECAY,
                0.0,
                "adam_weight_decay",
                note="With bias correction the rate in it is divided as the first average is, so that the first step decays 10 "
                "times as strongly at an adam_beta1 of 0.9.",
            ),
            Use(o.ADAM_USE_BIAS_CORRECTION, True, "adam_use_bias_correction"),
            Use(o.ADAM_USE_ATAN2, False, "adam_use_atan2"),
            Use(o.ADAM_CAUTIOUS_MASK, False, "adam_cautious_mask", enabled_if=When("adam_grams_moment", "==", False)),
            Use(o.ADAM_GRAMS_MOMENT, False, "adam_grams_moment"),
            Use(o.ADAM_ORTHOGONAL_GRADIENT, False, "adam_orthogonal_gradient"),
            Use(o.ADAM_USE_ADEMAMIX, False, "adam_use_AdEMAMix"),
            Use(o.ADAM_BETA3_EMA, 0.9999, "adam_beta3_ema", enabled_if=_ADEMAMIX),
            Use(o.ADAM_ALPHA, 5.0, "adam_alpha", enabled_if=_ADEMAMIX),
            Use(
                o.ADAM_KOURKOUTAS_BETA,
                False,
                "adam_kourkoutas_beta",
                enabled_if=When("adam_use_bias_correction", "==", False),
            ),
            Use(o.ADAM_NNMF_FACTOR, False, "adam_nnmf_factor"),
        )
    ),
)
_HIDDEN = (
    Hidden("ns_eps", "keeps the first division of the iteration finite; the package's 1e-7 is used"),
    Hidden("ns_coeffs", "the coefficients of the Newton-Schulz iteration; the original ones are Muon's definition"),
    Hidden(
        "cns_a_bound",
        "the smallest singular value that the Chebyshev coefficients are made for; the package's 1e-4 is used",
    ),
    Hidden("mars_gamma", "how much MARS corrects; the package's 0.025 is used, and OneTrainer shows only the switch"),
    Hidden("vector_reshape", "would factor the states of biases too, which are too small to be worth it"),
    Hidden("use_muon", "it belongs to the parameter groups, which are made from the hidden layers"),
    Hidden("n_layers", "belongs to spectral normalisation, which is not shown"),
    Hidden("spectral_normalization", "another way to scale an update, which OneTrainer does not offer; off"),
    Hidden("adam_beta2_min", "the lower end that Kourkoutas beta goes down to; the package's 0.9 is used"),
    Hidden("adam_ema_alpha", "how long Kourkoutas beta remembers gradient norms; the package's 0.95 is used"),
    Hidden("adam_tiny_spike", "a small number that keeps Kourkoutas beta's quotient finite"),
    Hidden("adam_k_warmup_steps", "steps before Kourkoutas beta begins; it begins at once, as in the package"),
)
_RULES = (
    adv.COMPILE_FUSED_RULE,
    muon.EXPRESSION_RULE,
    muon.MATRICES_RULE,
    Rule(
        "accelerated-steps",
        ("ns_steps", "accelerated_ns"),
        lambda values: values["accelerated_ns"] is True and shared.number(values, "ns_steps") < 10,
        "Chebyshev coefficients need at least 10 steps: with fewer an update is further from orthogonal than with the usual "
        "ones. Raise the steps, or turn the coefficients off.",
        fix={"ns_steps": 10},
        severity="warning",
    ),
    Rule(
        "adam-kourkoutas-beta2",
        ("adam_beta2", "adam_kourkoutas_beta"),
        lambda values: values["adam_kourkoutas_beta"] is True and shared.number(values, "adam_beta2") <= 0.9,
        "Kourkoutas beta moves adam_beta2 between 0.9 and its own value, so below 0.9 it lengthens the memory where it should "
        "shorten it. Raise adam_beta2, or turn Kourkoutas beta off.",
        fix={"adam_beta2": 0.99},
        severity="warning",
    ),
)
_REMEDIES = (muon.adams_remedy("adam_use_atan2"),)

MUON_ADV = OptimizerSpec(
    key="MUON_ADV",
    title="Muon (adv)",
    family=muon.FAMILY,
    summary="Muon with its updates rescaled to Adam's size, so that AdamW's learning rates fit, and with switches to try: NorMuon, "
    "cheaper or low-rank orthogonalisation, factored states.",
    formula=r"m \leftarrow \beta_1 m + (1-\beta_1)\,g,\quad "
    r"O = \mathrm{NS}_5((1-\beta_1)\,g + \beta_1 m),\quad "
    r"\theta \leftarrow (1-\gamma\lambda)\,\theta - 0.2\,\gamma\, \frac{O}{\mathrm{RMS}(O)}",
    links=(muon.PAPER, _LIU, _NORMUON, adv.SMMF_PAPER, adv.CODE),
    target="adv_optm:Muon_adv",
    package="adv_optm",
    lr=_LR,
    uses=(
        Use(o.BETA1, 0.95, "beta1", note="Muon's momentum, an average; the auxiliary Adam has adam_beta1."),
        _WEIGHT_DECAY,
        _CAUTIOUS_WD,
        *_CHOICE,
        Use(o.NESTEROV, True, "nesterov", enabled_if=adv.WITHOUT_SIMPLIFIED),
        *_STEPS,
        Use(o.NORMUON_VARIANT, False, "normuon_variant"),
        Use(o.BETA2_NORMUON, 0.95, "beta2_normuon", enabled_if=When("normuon_variant", "==", True)),
        _SIMPLIFIED,
        adv.ALPHA_GRAD,
        adv.ORTHOGONAL_GRADIENT,
        Use(o.APPROX_MARS, False, "approx_mars"),
        *_ENGINE,
        *_ADAM,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer(
            {"beta1": 0.9, "normuon_variant": True, "muon_adam_lr": 1e-6},
            "The rate of its auxiliary Adam, 1e-6, is meant for large models. An empty configuration of that Adam means "
            "its defaults.",
        ),
        muon.recommended(
            1e-2,
            3e-3,
            "Rates for models as small as those of the bench: on the bench's digits the loss ends at 0.16. Use 1e-4 for both with a LoRA "
            "of a large model.",
        ),
    ),
    rules=_RULES,
    hidden=(*_HIDDEN, Hidden("normuon_eps", "keeps NorMuon's division finite; the package's 1e-8 is used")),
    rate="muon:MuonAdv",
    rate_words="0.2 · lr, the root mean square of each rescaled update; Adam's groups: their own lr",
    remedies=_REMEDIES,
    state_names=("momentum_buffer",),
    steps_each_tensor=True,
    auxiliary=True,
)

ADAMUON_ADV = OptimizerSpec(
    key="ADAMUON_ADV",
    title="AdaMuon (adv)",
    family=muon.FAMILY,
    summary="Makes the sign of the averaged gradient orthogonal, and divides the result weight by weight by its own running "
    "size, as Adam does; convolutions keep the average itself in place of its sign.",
    formula=r"O = \mathrm{NS}_5(\operatorname{sign}(m)),\quad "
    r"v \leftarrow \beta_2 v + (1-\beta_2)\, O^2,\quad u = \frac{O}{\sqrt{v} + \epsilon},\quad "
    r"\theta \leftarrow (1-\gamma\lambda)\,\theta - 0.2\,\gamma\, \frac{u}{\mathrm{RMS}(u)}",
    links=(Link("Si et al. 2025", "https://arxiv.org/abs/2507.11005"), muon.PAPER, _NORMUON, adv.SMMF_PAPER, adv.CODE),
    target="adv_optm:AdaMuon_adv",
    package="adv_optm",
    lr=_LR,
    uses=(
        Use(o.BETA1, 0.95, "betas[0]", note="Muon's momentum, an average; the auxiliary Adam has adam_beta1."),
        Use(
            o.BETA2,
            0.95,
            "betas[1]",
            note="Here it averages the squares of the orthogonal update, or, with NorMuon, of its rows.",
        ),
        Use(
            o.EPS,
            1e-8,
            "eps",
            enabled_if=When("use_atan2", "==", False),
            note="The auxiliary Adam has adam_eps.",
        ),
        _WEIGHT_DECAY,
        _CAUTIOUS_WD,
        *_CHOICE,
        Use(o.NESTEROV, False, "nesterov", enabled_if=adv.WITHOUT_SIMPLIFIED),
        *_STEPS,
        replace(
            adv.USE_ATAN2,
            enabled_if=When("normuon_variant", "==", False),
            note="The factor of 4/π comes after the rescaling: with RMS rescaling it makes every step 1.27 times larger.",
        ),
        replace(
            Use(o.NORMUON_VARIANT, False, "normuon_variant"),
            note="It takes the place of the division weight by weight, and of that state.",
        ),
        _SIMPLIFIED,
        adv.ALPHA_GRAD,
        adv.ORTHOGONAL_GRADIENT,
        Use(o.APPROX_MARS, False, "approx_mars"),
        *_ENGINE,
        *_ADAM,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer(
            {"normuon_variant": True, "muon_adam_lr": 1e-6},
            "The rate of its auxiliary Adam, 1e-6, is meant for large models. An empty configuration of that Adam means "
            "its defaults.",
        ),
        muon.recommended(
            1e-2,
            3e-3,
            "Rates for models as small as those of the bench: on the bench's digits the loss ends at 0.16. Use 1e-4 for both with a LoRA "
            "of a large model.",
        ),
    ),
    rules=(
        *_RULES,
        Rule(
            "normuon-atan2",
            ("use_atan2", "normuon_variant"),
            lambda values: values["use_atan2"] is True and values["normuon_variant"] is True,
            "NorMuon divides by rows, and the package then leaves the arctangent out. Turn one of the two off.",
            fix={"use_atan2": False},
            severity="warning",
        ),
    ),
    hidden=(
        *_HIDDEN,
        Hidden("kappa_p", "set by auto_projection: sign for matrices, the average itself for convolutions"),
        Hidden("auto_projection", "on, as the package has it; OneTrainer does not show it for this optimizer"),
    ),
    rate="muon:AdaMuonAdv",
    rate_words="0.2 · lr, the root mean square of each rescaled update; Adam's groups: their own lr",
    remedies=_REMEDIES,
    state_names=("momentum_buffer", "second_momentum_buffer"),
    steps_each_tensor=True,
    auxiliary=True,
)

ENTRIES = (MUON_ADV, ADAMUON_ADV)
