"""Every option, stated once: what it is, whoever uses it."""

from __future__ import annotations

from diffopt_widgets.catalogue.schema import Option
from diffopt_widgets.catalogue.values import Interval

_FRACTION = Interval(0, 1, high_open=True)

LR = Option(
    "lr",
    "Learning rate",
    "float",
    "The size of each step. Too large and the loss jumps or becomes NaN; too small and nothing is learned in time. It is "
    "the first thing to tune, by factors of 2 or 3. Optimizers that estimate their own rate want about 1 here.",
    domain=Interval(0, low_open=True),
    soft=(1e-7, 10.0),
    log=True,
)
BETA1 = Option(
    "beta1",
    "Beta 1",
    "float",
    "How much of the past direction each step keeps (momentum). Larger (0.95) averages over more steps: smoother, slower "
    "to turn. Smaller (0.8 or 0) follows each batch more closely. Rarely the first thing to touch.",
    domain=_FRACTION,
    soft=(0.0, 0.999),
)
D_COEF = Option(
    "d_coef",
    "D coefficient",
    "float",
    "Scales the estimate of the learning rate. Below 1 is more careful, above 1 bolder. It is not an exact multiplier: "
    "the estimate is made while training and answers to what it caused. The first thing to change with Prodigy.",
    domain=Interval(0, low_open=True),
    soft=(0.1, 10.0),
    log=True,
)
