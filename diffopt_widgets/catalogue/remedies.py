"""Remedies after a run diverged, by the options that an optimizer has."""

from __future__ import annotations

from collections.abc import Callable, Collection

from diffopt_widgets.catalogue.schema import Remedy, Values
from diffopt_widgets.catalogue.shared import number
from diffopt_widgets.catalogue.values import two_digits

ADAMW_LIKE_RATE = 1e-3
"""Learning rate at which Adafactor trains like AdamW."""
_TOO_HIGH = "The estimated rate is too high"


def _without_relative_step(values: Values) -> Values:
    """Turn off `relative_step`, and with it the options and the schedule that depend on it."""
    warmup = {"warmup_init": False} if values.get("warmup_init") else {}
    # The schedule ADAFACTOR leaves the rate to relative_step.
    schedule = {"schedule": "CONSTANT"} if values["schedule"] == "ADAFACTOR" else {}
    return {"relative_step": False, "lr": ADAMW_LIKE_RATE, **warmup, **schedule}


RELATIVE_STEP = Remedy(
    lambda values: values["relative_step"] is True,
    "Adafactor set its own rate too high",
    "turn relative_step off and give a learning rate, such as {lr}",
    _without_relative_step,
    ignores_lr=True,
)


def restored_beta2(
    beta1: str = "beta1", beta2: str = "beta2", *, where: Callable[[Values], bool] = lambda _: True
) -> Remedy:
    """Return the remedy for an average of squared gradients that forgets faster than the momentum.

    Where gradients become small, momentum / √average then grows at each step by beta1 / √beta2, without limit.

    Args:
        beta1: option with the memory of the momentum.
        beta2: option with the memory of the squared gradients.
        where: condition under which steps are a momentum over the root of that average, with nothing that limits them.
    """

    def applies(values: Values) -> bool:
        return number(values, beta2) < number(values, beta1) ** 2 and where(values)

    def better(values: Values) -> Values:
        usual = {beta2: 0.99}
        return usual if number(values, beta1) ** 2 < 0.99 else {beta1: 0.9, **usual}

    return Remedy(
        applies,
        f"{beta2} is below the square of {beta1}, so that squared gradients are forgotten before the momentum is and steps can "
        "grow without limit",
        f"try {beta2} at {{{beta2}}}",
        better,
        any_rate=True,
    )


BETA2 = restored_beta2()


def lower_estimate(options: Collection[str]) -> tuple[Remedy, ...]:
    """Return remedies that slow down the estimate of the rate, by the names of the options that an optimizer has."""
    growth = ", or a growth_rate of 1.02" if "growth_rate" in options else ""
    third = Remedy(
        lambda _: True,
        _TOO_HIGH,
        f"try a third of the learning rate ({{lr}}){growth}",
        lambda values: {"lr": two_digits(number(values, "lr") / 3)},
    )
    return (*_lower_d_coef(growth), third) if "d_coef" in options else (third,)


def _lower_d_coef(growth: str) -> tuple[Remedy, Remedy]:
    """Return two remedies: halve `d_coef`, or set it back to its default where that is lower still."""

    def acts(values: Values) -> bool:
        return not values.get("d_limiter")  # with the limiter a small d_coef stops the estimate

    half = Remedy(
        lambda values: acts(values) and number(values, "d_coef") <= 2,
        _TOO_HIGH,
        f"try half of d_coef ({{d_coef}}){growth}",
        lambda values: {"d_coef": two_digits((number(values, "d_coef") or 1.0) / 2)},
    )
    default = Remedy(acts, _TOO_HIGH, f"try the default d_coef ({{d_coef}}){growth}", lambda _: {"d_coef": 1.0})
    return half, default


def known_remedies(options: Collection[str]) -> tuple[Remedy, ...]:
    """Return the remedies for an optimizer of which only the names of its options are known."""
    relative = (RELATIVE_STEP,) if "relative_step" in options else ()
    return (*relative, *(lower_estimate(options)[:-1] if "d_coef" in options else ()))
