"""Options of the Adam inside Muon's optimizers, as adv_optm has them."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Interval

ADAM_USE_BIAS_CORRECTION = Option(
    "adam_use_bias_correction",
    "Auxiliary bias correction",
    "bool",
    "Corrects the auxiliary Adam's averages for having started at zero, so that its first steps have their full size. Off "
    "makes those of biases, norms and embeddings larger or smaller than meant, depending on both betas. Leave it on.",
)
ADAM_USE_ATAN2 = Option(
    "adam_use_atan2",
    "Auxiliary arctangent",
    "bool",
    "Has the auxiliary Adam take the arctangent where it would divide, times 4/π. Once past the first steps, no bias or "
    "embedding can move by more than twice the rate, and its epsilon has nothing to do. Try it where rare tokens throw their "
    "embeddings about.",
)
ADAM_CAUTIOUS_MASK = Option(
    "adam_cautious_mask",
    "Auxiliary caution",
    "bool",
    "Lets the auxiliary Adam move only those weights whose momentum and newest gradient agree in sign, and makes their steps "
    "larger in return. It can speed up training a little; with noisy batches it mostly drops momentum. Off moves all of them.",
)
ADAM_GRAMS_MOMENT = Option(
    "adam_grams_moment",
    "Auxiliary Grams",
    "bool",
    "Takes only the size of the auxiliary Adam's steps from its momentum, and the sign from the newest gradient. It turns at "
    "once when the gradient does, and follows the noise of small batches as readily. It takes the place of caution.",
)
ADAM_ORTHOGONAL_GRADIENT = Option(
    "adam_orthogonal_gradient",
    "Auxiliary orthogonal gradient",
    "bool",
    "Removes from what the auxiliary Adam gets the part that only scales a tensor up or down, and restores the length of what "
    "remains. Norm layers feel it most, since their weights start at one. Meant for long runs that stop generalising.",
)
ADAM_USE_ADEMAMIX = Option(
    "adam_use_AdEMAMix",
    "Auxiliary AdEMAMix",
    "bool",
    "Gives the auxiliary Adam a second, slow average of the gradients beside its momentum, and one more state tensor for it. "
    "Steps of biases and embeddings grow up to 1 + adam_alpha times, so lower their rate with it. Only long runs profit.",
)
ADAM_BETA3_EMA = Option(
    "adam_beta3_ema",
    "Auxiliary beta 3",
    "float",
    "How long the auxiliary Adam's slow average remembers: about 1 / (1 − value) steps, ten thousand at 0.9999. In a run of "
    "a few hundred steps it barely fills, so take 0.99 or 0.999 there; larger values wait for longer runs.",
    domain=Interval(0, 1, high_open=True),
    soft=(0.9, 0.99999),
)
ADAM_ALPHA = Option(
    "adam_alpha",
    "Auxiliary alpha",
    "float",
    "How much the slow average counts in a step of the auxiliary Adam, beside a momentum that counts once. Larger follows old "
    "directions further and enlarges the steps; 0 leaves only the momentum. Halve it when the loss begins to swing.",
    domain=Interval(0),
    soft=(0.0, 20.0),
)
ADAM_KOURKOUTAS_BETA = Option(
    "adam_kourkoutas_beta",
    "Auxiliary Kourkoutas beta",
    "bool",
    "Shortens the memory of squared gradients, down to a beta2 of 0.9, for tensors whose gradients have just grown. The "
    "package overwrites this beta2 with the plain one as long as bias correction is on, so it works only with that "
    "off. Steady gradients keep it halfway.",
)
ADAM_NNMF_FACTOR = Option(
    "adam_nnmf_factor",
    "Auxiliary factored state",
    "bool",
    "Keeps the auxiliary Adam's averages by rows and columns, with one bit of sign per weight. It saves nearly all of their "
    "memory for large embeddings and heads, at some loss of precision. Biases and norms, of one dimension, stay as they are.",
)
