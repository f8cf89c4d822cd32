"""Parts that the optimizers of the package pytorch_optimizer share: weight decay, rectification, hidden arguments."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schema import Hidden, Link, Rule, Use, Values, When
from diffopt_widgets.catalogue.values import Value

PACKAGE = "pytorch_optimizer"
NEVER_READ = "pytorch_optimizer accepts it and this optimizer never reads it; AIDA does"

_WITH_DECAY = When("weight_decay", ">", 0)
_RECTIFIED = When("rectify", "==", True)


def code(module: str) -> Link:
    """Make the link to an optimizer's source."""
    return Link(
        "code", f"https://github.com/kozistr/pytorch_optimizer/blob/main/pytorch_optimizer/optimizer/{module}.py"
    )


def decay(weight_decay: float, *, decoupled: bool) -> tuple[Use, ...]:
    """Make the uses of the three options of weight decay, with the package's own defaults for this optimizer."""
    return (
        Use(
            o.WEIGHT_DECAY,
            weight_decay,
            "weight_decay",
            note="Multiplied by the learning rate when decoupled, unless fixed; added to the gradient otherwise.",
        ),
        Use(o.DECOUPLED_DECAY, decoupled, "weight_decouple", enabled_if=_WITH_DECAY),
        Use(o.FIXED_DECAY, False, "fixed_decay", enabled_if=_WITH_DECAY),
    )


def above_zero(default: float, note: str, soft: tuple[float, float] | None = None, option: Option = o.EPS) -> Use:
    """Make the use of epsilon for an optimizer where 0 turns a weight that never had a gradient into NaN."""
    option = replace(option, soft=soft) if soft else option
    ending = "0 would turn weights that never had a gradient into NaN."
    return Use(option, default, "eps", note=f"{note} {ending}".strip(), domain=shared.POSITIVE)


def ignored(option: Option, default: Value, argument: str) -> Use:
    """Make the use of an option that the constructor passes into the parameter groups, where nothing reads it."""
    return shared.inert(option, default, argument, NEVER_READ)


DECAY_RULES = (
    Rule(
        "fixed-decay",
        ("fixed_decay", "decoupled_decay"),
        lambda values: (
            values["fixed_decay"] is True
            and values["decoupled_decay"] is False
            and shared.number(values, "weight_decay") > 0
        ),
        "Fixed decay is a way of decoupled decay, which is off, and does nothing without it. Turn fixed decay off, or "
        "decoupled decay on.",
        fix={"fixed_decay": False},
        severity="warning",
    ),
    Rule(
        "fixed-decay-strong",
        ("fixed_decay", "weight_decay"),
        lambda values: (
            values["fixed_decay"] is True
            and values["decoupled_decay"] is True
            and shared.number(values, "weight_decay") > 1e-3
        ),
        "Fixed decay takes this share off every weight at each step, whatever the learning rate: at 0.001 half of a weight is "
        "gone after 693 steps, at 0.01 after 69. Set weight decay to 1e-4 or less.",
        fix={"weight_decay": 1e-4},
        severity="warning",
    ),
)


def _never_rectified(values: Values) -> bool:
    """Check whether the squared average can never rest on as many gradients as the threshold requires."""
    most = 2.0 / (1.0 - shared.number(values, "beta2")) - 1.0
    return values["rectify"] is True and most <= shared.number(values, "n_sma_threshold")


def _still(values: Values) -> bool:
    return _never_rectified(values) and values["degenerated_to_sgd"] is False


def _sgd(values: Values) -> bool:
    return _never_rectified(values) and values["degenerated_to_sgd"] is True


RECTIFY = Use(
    o.RECTIFY,
    False,
    "rectify",
    note="The first five steps, before the threshold of 5 is passed, are SGD's or none.",
)
N_SMA_THRESHOLD = Use(
    o.N_SMA_THRESHOLD,
    5,
    "n_sma_threshold",
    enabled_if=_RECTIFIED,
    note="From 5 on only, since below 4 the back end takes the root of a negative number and raises.",
)
DEGENERATED_TO_SGD = Use(o.DEGENERATED_TO_SGD, True, "degenerated_to_sgd", enabled_if=_RECTIFIED)
RECTIFY_RULES = (
    Rule(
        "rectify-still",
        ("rectify", "n_sma_threshold", "beta2", "degenerated_to_sgd"),
        _still,
        "The squared average rests on at most 2 / (1 − beta2) − 1 gradients, which does not pass this threshold, so that no "
        "weight ever moves. Turn rectify off, or raise beta2, or lower the threshold.",
        fix={"rectify": False},
    ),
    Rule(
        "rectify-sgd",
        ("rectify", "n_sma_threshold", "beta2"),
        _sgd,
        "The squared average rests on at most 2 / (1 − beta2) − 1 gradients, which does not pass this threshold, so that the "
        "whole run is plain SGD. Turn rectify off, or raise beta2, or lower the threshold.",
        fix={"rectify": False},
        severity="warning",
    ),
)
RECTIFIED_WORDS = "learning rate · rectification; before the threshold the learning rate of an SGD step, or 0 where the weights stand still"

HIDDEN = (
    Hidden("foreach", "the package steps all tensors in one call where it can; the result is the same up to rounding"),
    Hidden("maximize", "a loss is never maximised"),
)
KWARGS = Hidden(
    "kwargs", "further entries of the parameter groups; those that the optimizer reads are shown by their names"
)
