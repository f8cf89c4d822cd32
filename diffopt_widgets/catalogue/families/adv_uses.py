"""Parts that the optimizers of adv_optm share: uses of its options, rules between them, hidden arguments, links."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.schema import Hidden, Link, Rule, Use, When

_CODE = "https://github.com/Koratahiu/Advanced_Optimizers"
README = "adv_optm's README"
CODE = Link("code", _CODE)
SMMF_PAPER = Link("Park & Lee 2024 (factored state)", "https://arxiv.org/abs/2412.08894")
ADEMAMIX_PAPER = Link("Pagliardini et al. 2024 (AdEMAMix)", "https://arxiv.org/abs/2409.03137")
SIMPLIFIED_PAPER = Link("Morwani et al. 2025 (Simplified AdEMAMix)", "https://arxiv.org/abs/2502.02431")
ATAN2_PAPER = Link("Everett et al. 2024 (arctangent)", "https://arxiv.org/abs/2407.05872")
KOURKOUTAS_PAPER = Link("Kassinos 2025 (Kourkoutas beta)", "https://arxiv.org/abs/2508.12996")

_NO_CHANNELS_LAST = "Weights laid out in memory as channels_last make the step raise."

CAUTIOUS_WD = Use(o.CAUTIOUS_WD, False, "cautious_wd", enabled_if=When("weight_decay", ">", 0))
NNMF_FACTOR = Use(
    o.NNMF_FACTOR,
    False,
    "nnmf_factor",
    note=f"Tensors of one dimension, such as biases, keep their full state. {_NO_CHANNELS_LAST}",
)
STOCHASTIC_ROUNDING = Use(
    o.STOCHASTIC_ROUNDING,
    True,
    "stochastic_rounding",
    only_in="bfloat16",
    draws="package",
    note="With weights of 32 bits it changes nothing. Its random numbers come from a generator of the package, not from "
    "torch's global one. The bench seeds it at each step; elsewhere building an optimizer for bfloat16 weights seeds it anew, "
    "so that a run can be repeated to the bit as long as no other such optimizer is built or steps in between.",
)
ORTHOGONAL_GRADIENT = Use(o.ORTHOGONAL_GRADIENT, False, "orthogonal_gradient", note=_NO_CHANNELS_LAST)
FUSED_BACK_PASS = shared.FUSED_BACK_PASS
COMPILE = Use(
    o.COMPILE,
    False,
    "compiled_optimizer",
    requires="compiler",
    note="Each shape of tensor is compiled once, before its first step, so that a short run may lose more time than it gains.",
)
COMPILE_UNUSED = shared.inert(
    o.COMPILE,
    False,
    "compiled_optimizer",
    "adv_optm 2.2.3 prepares a compiled step for this optimizer and then takes the ordinary one, so no compiler is needed "
    "and nothing becomes faster",
)
USE_ADEMAMIX = Use(
    o.USE_ADEMAMIX,
    False,
    "use_AdEMAMix",
    note="With a beta1 of 0 the gradient itself takes the place of the fast average, whose state is then not kept.",
)
BETA3_EMA = Use(
    o.BETA3_EMA,
    0.9999,
    "beta3_ema",
    enabled_if=When("use_AdEMAMix", "==", True),
    advice=Advice(
        0.999,
        "0.9999 is for runs of more than 120,000 steps.",
        source=README,
        words="0.999, in very long runs 0.9999",
        between=(0.999, 0.9999),
    ),
)
BETA3_EMA_FORGOTTEN = replace(BETA3_EMA, note="OneTrainer shows it and never passes it on; here it is passed on.")
ALPHA = Use(
    o.ALPHA_OF_ADEMAMIX,
    5.0,
    "alpha",
    enabled_if=When("use_AdEMAMix", "==", True),
    advice=Advice(5.0, "Take 2 or 3 where a run diverges with 5.", source=README, between=(2, 5)),
)
SIMPLIFIED_ADEMAMIX = Use(
    o.SIMPLIFIED_ADEMAMIX,
    False,
    "Simplified_AdEMAMix",
    note="The sum is divided by its weights, so the learning rate keeps its meaning; weight decay is divided by them too, "
    "about 110 at the defaults, and so nearly vanishes.",
)
ALPHA_GRAD = Use(
    o.ALPHA_GRAD,
    100.0,
    "alpha_grad",
    enabled_if=When("Simplified_AdEMAMix", "==", True),
    advice=Advice(
        100.0,
        "The smaller the batch, the larger it should be; take 0.1 to 1 for batches of 512 and more.",
        source=README,
        words="10 to 100 for batches of up to 32",
        between=(10, 100),
    ),
)
WITHOUT_SIMPLIFIED = When("Simplified_AdEMAMix", "==", False)
USE_ATAN2 = Use(o.USE_ATAN2, False, "use_atan2")
KOURKOUTAS_BETA = Use(
    o.KOURKOUTAS_BETA,
    False,
    "kourkoutas_beta",
    note="The package's lower end of 0.9 is used, and so beta2 must be above it. beta2 then comes from the gradients of the "
    "step before.",
)

KOURKOUTAS_RULE = Rule(
    "kourkoutas-beta2",
    ("beta2", "kourkoutas_beta"),
    lambda values: values["kourkoutas_beta"] is True and shared.number(values, "beta2") <= 0.9,
    "Kourkoutas beta moves beta2 between 0.9 and its own value, so beta2 must be above 0.9. Raise it, or turn Kourkoutas "
    "beta off.",
    fix={"beta2": 0.99},
)
COMPILE_FUSED_RULE = Rule(
    "compile-fused",
    ("compile", "fused_back_pass"),
    lambda values: values["compile"] is True and values["fused_back_pass"] is True,
    "Compile makes one step for all tensors of a shape, and with a fused back pass torch gives up compiling after eight "
    "shapes and raises. Turn compile off to save memory, or fused back pass off to try the compiled step.",
    fix={"compile": False},
)
ADEMAMIX_RULE = Rule(
    "two-ademamix",
    ("use_AdEMAMix", "Simplified_AdEMAMix"),
    lambda values: values["use_AdEMAMix"] is True and values["Simplified_AdEMAMix"] is True,
    "Simplified AdEMAMix takes the place of AdEMAMix: the package then leaves the slow average out. Turn one of the two off.",
    fix={"use_AdEMAMix": False},
    severity="warning",
)
ATAN2_RULE = Rule(
    "atan2-simplified",
    ("use_atan2", "Simplified_AdEMAMix"),
    lambda values: values["use_atan2"] is True and values["Simplified_AdEMAMix"] is True,
    "With Simplified AdEMAMix the package divides as usual and leaves the arctangent out. Turn one of the two off.",
    fix={"use_atan2": False},
    severity="warning",
)
SIMPLIFIED_BETA1_RULE = Rule(
    "simplified-beta1",
    ("beta1", "Simplified_AdEMAMix"),
    lambda values: values["Simplified_AdEMAMix"] is True and values["beta1"] == 0,
    "Simplified AdEMAMix is a sum of past gradients, and with a beta1 of 0 there would be none. Set beta1 above 0.",
    fix={"beta1": 0.9},
)

VECTOR_RESHAPE = Hidden(
    "vector_reshape",
    "it factors the states of one-dimensional tensors too, which are small in any case; off, as in the package",
)
KOURKOUTAS_HIDDEN = (
    Hidden("beta2_min", "the lower end for Kourkoutas beta; the package's 0.9 is used"),
    Hidden("ema_alpha", "how long Kourkoutas beta remembers gradient norms; the package's 0.95 is used"),
    Hidden("tiny_spike", "a small number that keeps Kourkoutas beta's quotient finite"),
    Hidden("k_warmup_steps", "steps before Kourkoutas beta begins; it begins at once, as in the package"),
    Hidden("k_logging", "the package accepts it and never reads it"),
    Hidden("layer_key_fn", "a function that groups tensors for Kourkoutas beta; the package groups them by shape"),
)
MASKS_HIDDEN = (
    Hidden("cautious_mask", "another change to the direction of a step, which OneTrainer does not offer; off"),
    Hidden("grams_moment", "another change to the direction of a step, which OneTrainer does not offer; off"),
)
