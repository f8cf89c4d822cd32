"""SOAP, which runs Adam in the directions in which a matrix's gradients vary."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.families import pytorch_optimizer_uses as po
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.remedies import BETA2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Rule, Use, Values
from diffopt_widgets.catalogue.values import Interval

SHAMPOO_BETA = Option(
    "shampoo_beta",
    "Shampoo beta",
    "float",
    "How long the averages remember from which the directions are found: about 1 / (1 − beta) steps. Larger (0.99) gives "
    "directions that change little and are surer, smaller follows the gradients sooner. Raise it when batches are small and "
    "noisy.",
    domain=Interval(0, 1),
    soft=(0.8, 0.9999),
    nullable=True,
    null_words="beta2",
)
PRECONDITION_FREQUENCY = Option(
    "precondition_frequency",
    "Steps between directions",
    "int",
    "How many steps pass before the directions are found anew. 1 keeps them fresh and is the slowest, since finding them "
    "costs far more than a step; 10 to 100 saves most of that, and training suffers little. Raise it when steps are slow, "
    "lower it when learning stalls.",
    domain=Interval(1),
    soft=(1, 100),
    unit="steps",
)
MAX_PRECONDITION_DIM = Option(
    "max_precondition_dim",
    "Largest side",
    "int",
    "Sides of a matrix that are longer than this are left as they are and cost no memory for directions; a matrix with both "
    "sides left out is stepped by plain Adam. Smaller saves memory and time on wide layers, larger turns more of them. "
    "Lower it when the state does not fit.",
    domain=Interval(1),
    soft=(1, 20_000),
)
MERGE_DIMS = Option(
    "merge_dims",
    "Merge dimensions",
    "bool",
    "Joins small neighbouring dimensions of a tensor, such as the sides of a convolution's kernel, into one before the "
    "directions are found. On finds fewer and larger sets of directions, off one set for each dimension. It changes nothing "
    "for a plain matrix.",
)
PRECONDITION_1D = Option(
    "precondition_1d",
    "Turn vectors too",
    "bool",
    "Finds directions for biases and norms as well, which are otherwise stepped by plain Adam. It costs a square matrix for "
    "each vector, as many numbers as its length squared, and gains little. Leave it off.",
)
NORMALIZE_GRADIENT = Option(
    "normalize_gradient",
    "Normalise updates",
    "bool",
    "Brings each tensor's update to a root mean square of 1 before the rate multiplies it, so that all tensors move alike "
    "whatever their gradients. Steps become larger, so lower the rate with it. Off keeps Adam's own sizes and is what the "
    "paper trains with.",
)


def _large_first_steps(values: Values) -> bool:
    return values["normalize_gradient"] is True and values["bias_correction"] is True


SOAP = OptimizerSpec(
    key="SOAP",
    title="SOAP",
    family="Preconditioned",
    summary="Adam, run in turned coordinates: for each side of a matrix it finds the directions in which the gradients vary, as "
    "Shampoo does, and scales every direction by itself. Fewer steps than AdamW, each slower, with far more memory, above "
    "all in a LoRA, whose factors have a long side each: lower max_precondition_dim there.",
    formula=r"L \leftarrow \beta L + (1-\beta)\,g g^\top,\quad R \leftarrow \beta R + (1-\beta)\,g^\top g,\quad "
    r"g' = Q_L^\top g\, Q_R,\quad "
    r"\theta \leftarrow (1 - \gamma\lambda)\left(\theta - \gamma\, Q_L\, \frac{\hat m'}{\sqrt{\hat v'} + \epsilon}\, Q_R^\top\right)",
    links=(
        Link("Vyas et al. 2024", "https://arxiv.org/abs/2409.11321"),
        Link("Gupta et al. 2018 (Shampoo)", "https://arxiv.org/abs/1802.09568"),
        po.code("soap"),
    ),
    target="pytorch_optimizer:SOAP",
    package=po.PACKAGE,
    lr=Use(
        o.LR,
        3e-3,
        "lr",
        note="The first step only measures and moves nothing.",
        advice=Advice(
            3e-3,
            "The authors' own rate, for language models and large batches, where SOAP gains most. "
            "For a LoRA begin with AdamW's 1e-4.",
            source="SOAP's README",
            words="about 3e-3, for a LoRA 1e-4",
            between=(1e-4, 1e-2),
        ),
    ),
    uses=(
        Use(o.BETA1, 0.95, "betas[0]"),
        Use(o.BETA2, 0.95, "betas[1]", note="It averages the squares in the turned coordinates."),
        Use(SHAMPOO_BETA, None, "shampoo_beta"),
        Use(
            o.WEIGHT_DECAY,
            0.01,
            "weight_decay",
            note="Applied to the weights themselves, multiplied by the learning rate.",
        ),
        Use(PRECONDITION_FREQUENCY, 10, "precondition_frequency"),
        Use(MAX_PRECONDITION_DIM, 10_000, "max_precondition_dim"),
        shared.unavailable(
            MERGE_DIMS,
            False,
            "pytorch_optimizer 4.1 then raises at the second step for every tensor whose dimensions merge into one, as those of "
            "biases and of small matrices do",
            "merge_dims",
        ),
        Use(PRECONDITION_1D, False, "precondition_1d"),
        Use(o.BIAS_CORRECTION, True, "correct_bias"),
        Use(NORMALIZE_GRADIENT, False, "normalize_gradient"),
        po.above_zero(1e-8, ""),
    ),
    presets=(
        shared.LIBRARY,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 3e-3, "schedule": "COSINE", "warmup": 0.05, "weight_decay": 0.01},
            "The authors' rate, betas and decay with a short warm-up and a cosine. For a LoRA of a large model begin with 1e-4.",
        ),
    ),
    rules=(
        Rule(
            "normalised-first-steps",
            ("normalize_gradient", "bias_correction"),
            _large_first_steps,
            "A normalised update needs no bias correction, which here enlarges the first steps: at the default betas more than "
            "four times at the second step and twice at the sixth. Turn bias correction off.",
            fix={"bias_correction": False},
            severity="warning",
        ),
    ),
    hidden=(
        Hidden("maximize", "a loss is never maximised"),
        Hidden(
            "data_format", "how a convolution's weights are laid out, which is read only while dimensions are merged"
        ),
        Hidden("kwargs", "the constructor takes further arguments and drops them"),
    ),
    rate="first_steps:Soap",
    rate_words="the learning rate as scheduled; 0 at the first step, which only measures; with normalised updates times the "
    "bias correction",
    remedies=(BETA2,),
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ENTRIES = (SOAP,)
