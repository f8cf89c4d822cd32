"""Options of Muon's family: which weights it takes, how it makes a step orthogonal, and its auxiliary Adam."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Interval

_POSITIVE = Interval(0, low_open=True)
_NOT_NEGATIVE = Interval(0)
_FRACTION = Interval(0, 1, high_open=True)

MUONWITHAUXADAM = Option(
    "MuonWithAuxAdam",
    "Auxiliary Adam",
    "bool",
    "Has an Adam inside the optimizer step what Muon should not: biases, norms, embeddings, first and last layers. Off gives "
    "every tensor to Muon; then each must have two dimensions or more, or nothing is built. Turn it off only where nothing "
    "but matrices is trained, as in a LoRA.",
)
MUON_HIDDEN_LAYERS = Option(
    "muon_hidden_layers",
    "Hidden layers",
    "text",
    "Which weights Muon takes: pieces of their names with commas between them, such as blocks, attn. A tensor with one of the "
    "pieces in its name goes to Muon if it has two dimensions or more; everything else goes to the auxiliary Adam. A piece "
    "that no name has is refused. Needs parameters with names.",
    nullable=True,
    null_words="told by name and shape",
)
MUON_ADAM_REGEX = Option(
    "muon_adam_regex",
    "Hidden layers by regex",
    "bool",
    "Takes each piece in Hidden layers as a regular expression, found anywhere in a name; off looks for it letter by letter, "
    "case included. Turn it on to name many layers in one piece, as in blocks\\.\\d+\\.attn. A comma always ends a piece, so an "
    "expression cannot contain one.",
)
MUON_ADAM_LR = Option(
    "muon_adam_lr",
    "Learning rate of the auxiliary Adam",
    "float",
    "The rate at which the auxiliary Adam steps its tensors; the schedule scales it as it scales Muon's. Adam's usual values "
    "fit. Larger lets biases, norms and embeddings learn faster, smaller nearly freezes them. It wins over a rate that a "
    "parameter group brings along.",
    domain=_POSITIVE,
    soft=(1e-7, 1e-1),
    log=True,
)
MUON_TE1_ADAM_LR = Option(
    "muon_te1_adam_lr",
    "Auxiliary rate, text encoder 1",
    "float",
    "The auxiliary Adam's rate in the first text encoder: the parameter groups named text_encoder, text_encoder_1, te or te1. "
    "Smaller than elsewhere keeps what a pretrained encoder knows. It changes nothing where no group has such a name, and "
    "never what Muon steps.",
    domain=_POSITIVE,
    soft=(1e-7, 1e-1),
    log=True,
    nullable=True,
    null_words="as elsewhere",
)
MUON_TE2_ADAM_LR = Option(
    "muon_te2_adam_lr",
    "Auxiliary rate, text encoder 2",
    "float",
    "The auxiliary Adam's rate in a second text encoder, such as that of SDXL: groups named text_encoder_2 or te2. Lower "
    "values train it more gently than the rest, higher ones let it adapt. The tasks of the bench have one text "
    "encoder only, so here it makes no difference.",
    domain=_POSITIVE,
    soft=(1e-7, 1e-1),
    log=True,
    nullable=True,
    null_words="as elsewhere",
)
MOMENTUM_OF_MUON = Option(
    "momentum",
    "Momentum of the average",
    "float",
    "How much of the averaged gradient each step keeps before it is made orthogonal. Larger (0.95 to 0.98) follows steady "
    "directions and evens out single batches; smaller turns sooner. It does not enlarge steps: gradients are averaged, not "
    "summed, and the orthogonal update does not keep their size. It is seldom changed.",
    domain=_FRACTION,
    soft=(0.0, 0.99),
)
NS_STEPS = Option(
    "ns_steps",
    "Newton-Schulz steps",
    "int",
    "How often the iteration is repeated that makes an update nearly orthogonal. Five bring the larger singular values to "
    "about 0.7 to 1.2 and leave the smallest below; eight lift nearly all of them there. More cost time and, with the usual "
    "coefficients, come no nearer to 1.",
    domain=Interval(1, 99),
    soft=(1, 20),
)
ACCELERATED_NS = Option(
    "accelerated_ns",
    "Chebyshev coefficients",
    "bool",
    "Takes cubic Chebyshev polynomials (CANS) in place of the usual quintic ones: each step is cheaper, and 15 of them bring "
    "every singular value within 1% of 1. It needs at least 10: with 5, singular values still lie anywhere between 0 and 2, "
    "which is worse than without it.",
)
LOW_RANK_ORTHO = Option(
    "low_rank_ortho",
    "Low-rank orthogonalisation",
    "bool",
    "Makes only a random sketch of the update orthogonal, of rank ortho_rank, and lets the rest go. Cheaper for wide matrices; "
    "weak directions then wait for another step. The sketch is drawn from torch's global generator: the bench seeds it for "
    "each step, your own loop must do so itself.",
)
ORTHO_RANK = Option(
    "ortho_rank",
    "Rank of the sketch",
    "int",
    "How many directions of an update low-rank orthogonalisation keeps. Smaller is cheaper and drops more of it. From the "
    "smaller side of a matrix on nothing is dropped: what changes is then only rounding, at the cost of the sketch.",
    domain=Interval(1),
    soft=(1, 512),
)
RMS_RESCALING = Option(
    "rms_rescaling",
    "RMS rescaling",
    "bool",
    "Scales each matrix's update to a root mean square of 0.2, about that of Adam's steps, so that learning rates for AdamW "
    "fit. Off scales it by √(rows / columns) where there are more rows, as Muon was first written: a weight then moves by "
    "about the rate over √columns, so the rate must be larger, 6 times at 1,000 columns.",
)
NORMUON_VARIANT = Option(
    "normuon_variant",
    "NorMuon",
    "bool",
    "Divides each row of the orthogonal update by the running root mean square of that row, so that all neurons learn at a "
    "like pace. It costs one number per row. Without RMS rescaling it also enlarges the update, to 1 per weight and more in "
    "the first steps: lower the rate then.",
)
BETA2_NORMUON = Option(
    "beta2_normuon",
    "Beta 2 of NorMuon",
    "float",
    "How long the row averages of NorMuon remember: about 1 / (1 − beta2) steps. Larger keeps the balance between neurons "
    "steady, smaller follows each step's own. The default of 20 steps seldom needs a change.",
    domain=_FRACTION,
    soft=(0.5, 0.999),
)
APPROX_MARS = Option(
    "approx_mars",
    "Approximate MARS",
    "bool",
    "Adds to each gradient a part of its difference from the last one, 0.475 of it at a beta1 of 0.95, to reach a new "
    "direction sooner (MARS-M). It keeps that last gradient: one more number per weight. The two come from different batches; "
    "with small ones the difference is mostly noise.",
)
ADAM_BETA1 = Option(
    "adam_beta1",
    "Auxiliary beta 1",
    "float",
    "The auxiliary Adam's momentum: how much of the past direction a step of biases, norms and embeddings keeps. Larger is "
    "smoother and slower to turn; 0 follows each batch. Muon's own momentum is a separate option.",
    domain=_FRACTION,
    soft=(0.0, 0.999),
)
ADAM_BETA2 = Option(
    "adam_beta2",
    "Auxiliary beta 2",
    "float",
    "How long the auxiliary Adam averages squared gradients: about 1 / (1 − value) steps. Larger is calmer; smaller adapts "
    "sooner when gradients change their size. Raise it toward 0.999 when embeddings of rare tokens jump.",
    domain=_FRACTION,
    soft=(0.8, 0.9999),
)
ADAM_EPS = Option(
    "adam_eps",
    "Auxiliary epsilon",
    "float",
    "Keeps the auxiliary Adam's division finite where its gradients are almost zero. Larger holds such weights back, smaller "
    "gives them their whole step. Raise it only when biases or embeddings become NaN in half precision. At 0 a tensor that had "
    "no gradient yet becomes NaN.",
    domain=_NOT_NEGATIVE,
    soft=(1e-12, 1e-4),
    log=True,
)
ADAM_WEIGHT_DECAY = Option(
    "adam_weight_decay",
    "Auxiliary weight decay",
    "float",
    "Pulls what the auxiliary Adam steps toward zero, by this times its rate. Larger keeps embeddings and outer layers "
    "small; 0 is off. Biases and norms decay along with them, which most recipes avoid, so leave it at 0 unless embeddings "
    "grow without end.",
    domain=_NOT_NEGATIVE,
    soft=(0.0, 0.1),
)
