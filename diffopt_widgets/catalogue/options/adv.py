"""Options of the adv_optm family: changes to the direction of a step, factored states, a compiled step."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.state_sizes import state_words
from diffopt_widgets.catalogue.values import Interval

CAUTIOUS_WD = Option(
    "cautious_wd",
    "Cautious weight decay",
    "bool",
    "Decays only the weights that the step itself moves toward zero, so that decay never pulls against what is being "
    "learned. On weakens the decay as a whole, so a larger weight decay fits. Off decays every weight. It matters "
    "only with weight decay above 0.",
)
NNMF_FACTOR = Option(
    "nnmf_factor",
    "Factored state",
    "bool",
    "Keeps each running average as one number per row, one per column and one bit of sign per weight (SMMF), instead of one "
    "number per weight. AdamW (adv) then keeps "
    f"{state_words('ADAMW_ADV', nnmf_factor=True)}. The averages are only known roughly, and a step takes longer. Turn it on "
    "when the state does not fit.",
)
COMPILE = Option(
    "compile",
    "Compiled step",
    "bool",
    "Has torch.compile join the many small operations of a step into a few kernels. The first step waits for the compiler, "
    "later ones can be faster; what is learned stays the same up to rounding. It needs a C++ compiler, and on a GPU "
    "triton too. Worth it for long runs only.",
)
USE_ATAN2 = Option(
    "use_atan2",
    "Arctangent",
    "bool",
    "Takes the arctangent of momentum and gradient size where Adam divides one by the other, times 4/π so that a full step "
    "keeps its size. The result is bounded, so no spike can throw a weight far, and epsilon is not needed. On is "
    "steadier; off is the usual division.",
)
ORTHOGONAL_GRADIENT = Option(
    "orthogonal_gradient",
    "Orthogonal gradient",
    "bool",
    "Takes out of each gradient the part that points along its tensor's own weights, and brings the rest back to the full "
    "length. That part only scales the weights up or down. It is meant to help a model generalise in long training; leave "
    "it off at first. A tensor of zeros is not affected.",
)
USE_ADEMAMIX = Option(
    "use_AdEMAMix",
    "AdEMAMix",
    "bool",
    "Adds a second, slow average of the gradients to the fast one, so that steps also follow directions that have held for "
    "thousands of steps. It costs one more state tensor, and steps become larger, so lower the rate with it. Meant for "
    "long runs with small batches.",
)
BETA3_EMA = Option(
    "beta3_ema",
    "Beta 3 of the slow average",
    "float",
    "How long AdEMAMix's slow average remembers: about 1 / (1 − beta3) steps, so ten thousand at 0.9999. It starts at zero "
    "and fills no faster than that: in a run of a few hundred steps 0.9999 adds almost nothing. Take 0.99 or 0.999 for "
    "short runs.",
    domain=Interval(0, 1, high_open=True),
    soft=(0.9, 0.99999),
)
ALPHA_OF_ADEMAMIX = Option(
    "alpha",
    "Alpha of the slow average",
    "float",
    "How much AdEMAMix's slow average counts when it is added to the fast one. Larger leans more on old directions and "
    "makes steps larger: up to 1 + alpha times, where the gradient is steady. 0 leaves the slow average out. Lower it, or "
    "the learning rate, when the loss begins to swing late in a run.",
    domain=Interval(0),
    soft=(0.0, 20.0),
)
SIMPLIFIED_ADEMAMIX = Option(
    "Simplified_AdEMAMix",
    "Simplified AdEMAMix",
    "bool",
    "Sums past gradients, fading, where others average them, and adds the newest gradient once more, weighted by "
    "alpha_grad. So one state tensor gives both a long memory and a quick answer to each batch. Off is the usual average. "
    "Try it with small batches.",
)
ALPHA_GRAD = Option(
    "alpha_grad",
    "Alpha of the newest gradient",
    "float",
    "How much the newest gradient counts beside the fading sum, with Simplified AdEMAMix. Larger (10 to 100) answers each "
    "batch at once, which suits small batches; near 0 the sum decides, which suits large ones. Lower it when steps follow "
    "the noise.",
    domain=Interval(0),
    soft=(0.0, 200.0),
)
KOURKOUTAS_BETA = Option(
    "kourkoutas_beta",
    "Kourkoutas beta",
    "bool",
    "Lets beta2 move between 0.9 and its own value, for tensors of one shape together: toward 0.9 when their gradients are "
    "larger than usual, back up when they calm down. Steady gradients keep it halfway, so the memory becomes much shorter. "
    "Try it when single batches give spikes.",
)
AUTO_KAPPA_P = Option(
    "auto_kappa_p",
    "Sphere for convolutions",
    "bool",
    "Steps convolution weights (tensors of four dimensions or more) along the averaged direction itself, brought to one "
    "length, where all other weights move by its sign. Entries whose average is small then move little. Off takes the sign "
    "everywhere. It changes nothing in a model without convolutions.",
)
CLIP_THRESHOLD_OF_LION = Option(
    "clip_threshold",
    "Gradient clip",
    "float",
    "The largest norm that one tensor's gradient may have; a larger gradient is scaled down to it before the momentum takes "
    "it up. Smaller tames spikes sooner and evens out the batches; 0 switches it off. Set it near the usual norm when single "
    "batches throw the run off.",
    domain=Interval(0),
    soft=(0.0, 10.0),
)
