"""Options of Adam's variants and of their relatives: decay, rectification, bounds, slow averages, blocks of 8 bits."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Interval

_FRACTION = Interval(0, 1, high_open=True)
_POSITIVE = Interval(0, low_open=True)

DECOUPLED_DECAY = Option(
    "decoupled_decay",
    "Decoupled decay",
    "bool",
    "On, weight decay shrinks the weights themselves, as in AdamW; off, it is added to the gradient and goes through the "
    "averages with it, so that an adaptive step weakens it where gradients are large. On is easier to tune. It matters "
    "only with weight decay above 0.",
)
FIXED_DECAY = Option(
    "fixed_decay",
    "Fixed decay",
    "bool",
    "Takes weight decay off the weights at each step without multiplying it by the learning rate, so that neither a low "
    "rate nor a falling schedule weakens it. The same number then decays far more: at 0.01 half of a weight is gone after "
    "69 steps. Take 1e-4 or less with it. It needs decoupled decay.",
)
CAUTIOUS = Option(
    "cautious",
    "Cautious",
    "bool",
    "Leaves out those parts of a step that point against the newest gradient and enlarges the others to make up for it. It "
    "often trains a little faster, since momentum no longer pushes the wrong way, and each step follows the single batch "
    "more. Worth a try where everything else is set.",
)
RECTIFY = Option(
    "rectify",
    "Rectify",
    "bool",
    "Scales the first steps down while the squared average rests on too few gradients to be trusted, as RAdam does, which "
    "is a warm-up of its own: with beta2 at 0.999 they reach half their size after some 550 steps. Turn it on instead of a "
    "warm-up, not beside it.",
)
N_SMA_THRESHOLD = Option(
    "n_sma_threshold",
    "Threshold of the average",
    "int",
    "How many gradients the squared average must rest on before steps are divided by it; it grows by about one per step. "
    "Until then the optimizer is plain SGD with momentum or stands still. Larger waits longer. 5 is the usual choice, and "
    "nothing is gained by much more.",
    domain=Interval(5),
    soft=(5, 50),
    unit="gradients",
)
DEGENERATED_TO_SGD = Option(
    "degenerated_to_sgd",
    "SGD until then",
    "bool",
    "What happens in the first steps under rectify, before the squared average is trusted: on takes SGD's step with the "
    "same learning rate, off leaves the weights where they are and only gathers averages. Off is the safer choice where "
    "gradients are large.",
)
AMS_BOUND = Option(
    "ams_bound",
    "AMS bound",
    "bool",
    "Divides by the largest average seen so far in place of the current one (AMSGrad), so that a quiet stretch does not make "
    "steps larger again; they still grow while the bias correction fades. It can calm a run that diverges late, and costs one "
    "more state tensor. Leave it off otherwise.",
)
ADANORM = Option(
    "adanorm",
    "AdaNorm",
    "bool",
    "Lifts a gradient that is shorter than usual to the running average of its tensor's gradient norms before it joins the "
    "momentum; longer ones stay as they are. Batches of small gradients then count as much as the others. Of use where "
    "gradients shrink quickly.",
)
R_OF_ADANORM = Option(
    "r",
    "R",
    "float",
    "How long AdaNorm's average of gradient norms remembers: about 1 / (1 − r) steps. Larger (0.99) holds on to the large "
    "gradients of the beginning, smaller (0.9) follows the current ones. Leave it at 0.95.",
    domain=_FRACTION,
    soft=(0.5, 0.999),
)
ADAM_DEBIAS = Option(
    "adam_debias",
    "Debias only below",
    "bool",
    "On corrects only the denominator for having started at zero and leaves the momentum as it is, so that the first steps "
    "are small: a tenth of the rate at first with beta1 at 0.9, nine tenths after 22 steps. Off corrects both, as Adam "
    "does. Turn it on for a gentler start.",
)
K = Option(
    "k",
    "K",
    "int",
    "How often gradient and momentum are projected onto each other before their difference is measured. Each projection "
    "leaves less of a difference to divide by, so that steps grow: with noisy gradients they are several times larger at 2 "
    "than at 0, which measures as AdaBelief does. When raising it, lower the rate.",
    domain=Interval(0),
    soft=(0, 10),
)
XI = Option(
    "xi",
    "Xi",
    "float",
    "A tiny number that keeps the projections from dividing by zero where a whole tensor's gradient vanishes. Larger "
    "values, near the squared length of the gradients, shorten the projections and change the steps. There is no reason "
    "to touch it.",
    domain=_POSITIVE,
    soft=(1e-30, 1.0),
    log=True,
)
INITIAL_ACCUMULATOR = Option(
    "initial_accumulator",
    "Initial accumulator",
    "float",
    "The value that the running averages start from. Larger makes the first steps more careful, as the divisor starts "
    "higher; near 0 the first gradients alone decide. Raise it only when the very first steps are too wild.",
    domain=Interval(0),
    soft=(1e-10, 1.0),
    log=True,
)
T_ALPHA = Option(
    "t_alpha",
    "Alpha warm-up",
    "int",
    "The number of steps over which alpha rises from 0 to its value, so that the slow average does not push before it knows "
    "where to. Longer is gentler. Set it to the length of the run, as the paper does; without it a large alpha can "
    "diverge early.",
    domain=Interval(1),
    soft=(1, 10_000),
    nullable=True,
    null_words="alpha counts in full at once",
    unit="steps",
)
T_BETA3 = Option(
    "t_beta3",
    "Beta 3 warm-up",
    "int",
    "The number of steps over which beta3 rises from beta1 to its value, so that the slow average starts out fast and "
    "lengthens its memory as the run goes on. Set it to the length of the run, as the paper does. It needs beta1 above 0 "
    "and no larger than beta3.",
    domain=Interval(1),
    soft=(1, 10_000),
    nullable=True,
    null_words="beta3 stands from the first step",
    unit="steps",
)
QUANT_BLOCK_SIZE = Option(
    "quant_block_size",
    "Quantisation block",
    "int",
    "How many neighbouring values share one scale in an 8-bit state. Smaller blocks are more exact, as one large value "
    "spoils fewer others, and cost 4 bytes each for their scale: 0.2% of the state at 2048, 6% at 64. Make it smaller when "
    "training is rougher than in 32 bits.",
    choices=("64", "128", "256", "512", "1024", "2048", "4096"),
    unit="values",
)
