"""Muon, which makes the update of each hidden matrix nearly orthogonal, with its auxiliary Adam."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.hidden_layers import OUTER_WORDS, is_expression
from diffopt_widgets.catalogue.remedies import restored_beta2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Remedy, Rule, Use, Values, When

FAMILY = "Orthogonal updates"
AUXILIARY = "Auxiliary Adam"
WITH_ADAM = When("MuonWithAuxAdam", "==", True)
PAPER = Link("Jordan et al. 2024", "https://kellerjordan.github.io/posts/muon/")

USES = (
    Use(
        o.MUONWITHAUXADAM,
        True,
        None,
        by_groups=True,
        note="Adam is part of the same optimizer: each parameter group is split in two, and curves and tables show both rates.",
    ),
    Use(
        o.MUON_HIDDEN_LAYERS,
        None,
        None,
        by_groups=True,
        enabled_if=WITH_ADAM,
        note="Empty takes every tensor that is a matrix once flattened, with no side of 1, unless its name is that of an embedding "
        f"or of a first or last layer: {OUTER_WORDS}. A convolution counts as outputs × all the rest. Parameters without names "
        "are chosen by shape alone.",
    ),
    Use(
        o.MUON_ADAM_REGEX,
        False,
        None,
        by_groups=True,
        enabled_if=When("muon_hidden_layers", "!=", None),
        note="It applies to Muon's hidden layers; the auxiliary Adam takes the tensors that no expression matches.",
    ),
)
"""Options that decide between Muon and its auxiliary Adam."""
RATE_NOTE = "Where the learning-rate scaler is used, it multiplies this rate too."
TEXT_ENCODER_USES = tuple(
    Use(option, None, None, by_groups=True, enabled_if=WITH_ADAM, section=AUXILIARY)
    for option in (o.MUON_TE1_ADAM_LR, o.MUON_TE2_ADAM_LR)
)

EXPRESSION_RULE = Rule(
    "muon-expression",
    ("muon_hidden_layers", "muon_adam_regex"),
    lambda values: values["muon_adam_regex"] is True and not is_expression(values["muon_hidden_layers"]),
    "One of the pieces is not a regular expression. Fix it (a comma ends a piece, a bracket needs its partner), or turn the "
    "option off to look for the pieces letter by letter.",
    fix={"muon_adam_regex": False},
)

MATRICES_RULE = Rule(
    "muon-alone",
    ("MuonWithAuxAdam",),
    lambda values: values["MuonWithAuxAdam"] is False,
    "Without the auxiliary Adam, Muon gets every tensor, but it can step only matrices. The models of the bench have biases too, "
    "so a run here is refused. Turn it on, or use these settings in code of your own.",
    fix={"MuonWithAuxAdam": True},
    severity="refused",
)


def adams_remedy(limited: str = "") -> Remedy:
    """Make the remedy for the auxiliary Adam's betas; `limited` is the option that limits its steps otherwise."""

    def where(values: Values) -> bool:
        return values["MuonWithAuxAdam"] is True and not (limited and values[limited])

    return restored_beta2("adam_beta1", "adam_beta2", where=where)


def recommended(lr: float, adam_lr: float, why: str) -> Preset:
    """Make the recommended preset, with both rates and a cosine."""
    values: Values = {"lr": lr, "muon_adam_lr": adam_lr, "schedule": "COSINE", "warmup": 0.05}
    return Preset("recommended", "Recommended", values, why)


MUON = OptimizerSpec(
    key="MUON",
    title="Muon",
    family=FAMILY,
    summary="Makes the averaged gradient of each hidden matrix nearly orthogonal, so that its rare directions are learned as "
    "fast as its common ones; an Adam inside steps everything else.",
    formula=r"m \leftarrow \mu m + (1-\mu)\,g,\quad "
    r"O = \mathrm{NS}_5((1-\mu)\,g + \mu\, m),\quad "
    r"\theta \leftarrow (1-\gamma\lambda)\,\theta - \gamma\,\sqrt{\max(1,\ \frac{r}{c})}\; O",
    links=(
        PAPER,
        Link("Liu et al. 2025", "https://arxiv.org/abs/2502.16982"),
        Link("code", "https://github.com/kozistr/pytorch_optimizer/blob/main/pytorch_optimizer/optimizer/muon/muon.py"),
    ),
    target="pytorch_optimizer:Muon",
    package="pytorch_optimizer",
    lr=Use(
        o.LR,
        2e-2,
        "lr",
        note="Muon's own rate: the auxiliary Adam has muon_adam_lr.",
        advice=Advice(
            2e-2,
            "The larger singular values of an update lie between 0.7 and 1.2, so each weight moves by about the rate over "
            "√columns, or a little less: far less than with Adam at the same number.",
            source="the package's default",
            words="about 0.02",
            between=(5e-3, 5e-2),
        ),
    ),
    uses=(
        Use(
            o.MOMENTUM_OF_MUON,
            0.95,
            "momentum",
            note="It is the momentum of Muon's matrices; the auxiliary Adam has adam_beta1.",
        ),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="It acts on Muon's matrices and is multiplied by the learning rate; the auxiliary Adam has its own.",
        ),
        *USES,
        Use(
            o.MUON_ADAM_LR,
            3e-4,
            "adamw_lr",
            enabled_if=WITH_ADAM,
            note=RATE_NOTE,
        ),
        *TEXT_ENCODER_USES,
        Use(o.ADAM_BETA1, 0.9, "adamw_betas[0]", enabled_if=WITH_ADAM, section=AUXILIARY),
        Use(o.ADAM_BETA2, 0.95, "adamw_betas[1]", enabled_if=WITH_ADAM, section=AUXILIARY),
        Use(o.ADAM_EPS, 1e-10, "adamw_eps", enabled_if=WITH_ADAM, section=AUXILIARY),
        Use(o.ADAM_WEIGHT_DECAY, 0.0, "adamw_wd", enabled_if=WITH_ADAM, section=AUXILIARY),
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({}, "An empty configuration of its auxiliary Adam means that Adam's defaults."),
        recommended(
            2e-2,
            3e-3,
            "Muon's usual rate for the hidden matrices, and for the rest one of Adam's for small models. Use 3e-4 for the "
            "auxiliary Adam on large ones.",
        ),
    ),
    rules=(EXPRESSION_RULE, MATRICES_RULE),
    remedies=(adams_remedy(),),
    hidden=(
        Hidden("weight_decouple", "decay mixed into the gradient would be made orthogonal with it and lose its size"),
        Hidden("nesterov", "its default, on, is what Muon is defined with"),
        Hidden(
            "ns_steps", "five, the number that the coefficients were chosen for; OneTrainer does not show it either"
        ),
        Hidden("ns_coeffs", "the coefficients of the Newton-Schulz iteration; the original ones are Muon's definition"),
        Hidden("ns_method", "another way to the same iteration, in half precision; OneTrainer does not show it"),
        Hidden("ns_reset_steps", "belongs to the other way of iterating, which is not shown"),
        Hidden("use_adjusted_lr", "updates of Adam's size instead; MUON_ADV has that as rms_rescaling"),
        Hidden("maximize", "it makes the loss grow; OneTrainer does not show it"),
        Hidden(
            "foreach",
            "steps matrices of one shape together, which changes the speed, and rounding where there are several",
        ),
        Hidden("kwargs", "unknown names that the package would keep in its groups and never read"),
    ),
    rate="muon:Muon",
    rate_words="lr × √max(1, rows / columns), on an update whose larger singular values lie between 0.7 and 1.2; Adam's groups: their own lr",
    state_names=("momentum_buffer",),
    steps_each_tensor=True,
    auxiliary=True,
)

ENTRIES = (MUON,)
