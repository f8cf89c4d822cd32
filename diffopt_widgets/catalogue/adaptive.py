"""Optimizers that estimate their own learning rate: Prodigy and D-Adaptation."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue.schema import Advice, Link, OptimizerSpec, Preset, Use

PRODIGY = OptimizerSpec(
    key="PRODIGY",
    title="Prodigy",
    family="Finds its own rate",
    summary="Adam that estimates its own step size while it trains: d grows until it fits the distance still to go.",
    formula=r"\theta \leftarrow \theta - \gamma\, d\, \frac{m}{\sqrt{v} + d\,\epsilon}",
    links=(
        Link("Mishchenko & Defazio 2023", "https://arxiv.org/abs/2306.06101"),
        Link("code", "https://github.com/konstmish/prodigy"),
    ),
    target="prodigyopt:Prodigy",
    package="prodigyopt",
    lr=Use(o.LR, 1.0, "lr"),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(
            o.D_COEF,
            1.0,
            "d_coef",
            advice=Advice(1.0, "0.5 slows it down, 2 speeds it up.", words="0.5 to 2"),
        ),
    ),
    presets=(Preset("library", "Library defaults", {}),),
    rate="prodigy",
    rate_words="d · learning rate · bias correction",
    estimates_rate=True,
    state_names=("exp_avg", "exp_avg_sq"),
)

ADAPTIVE = (PRODIGY,)
