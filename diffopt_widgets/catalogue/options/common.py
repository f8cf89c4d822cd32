"""Options that most optimizers share: rate, averages, decay, momentum, small constants."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Interval

_FRACTION = Interval(0, 1, high_open=True)
_POSITIVE = Interval(0, low_open=True)
_NOT_NEGATIVE = Interval(0)

LR = Option(
    "lr",
    "Learning rate",
    "float",
    "The size of each step. If it is too large, the loss jumps or becomes NaN; if too small, nothing is learned in time. "
    "Tune it before any other option, by factors of 2 or 3.",
    domain=_POSITIVE,
    soft=(1e-7, 10.0),
    log=True,
)
LR_OF_ESTIMATE = Option(
    "lr",
    "Learning rate",
    "float",
    "A factor on the rate that this optimizer estimates by itself, and not a rate of its own: leave it at about 1. A schedule "
    "lowers it over the run. To go slower or faster, use the options of the estimate.",
    domain=_POSITIVE,
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
BETA1_OF_SCHEDULE_FREE = Option(
    "beta1",
    "Beta 1",
    "float",
    "Where gradients are computed: at a mix of this share of the averaged weights and, for the rest, of the point that takes "
    "the steps. Larger (0.95) keeps closer to the average and is calmer; smaller follows the newest point. It averages no "
    "gradients.",
    domain=_FRACTION,
    soft=(0.0, 0.999),
)
BETA2 = Option(
    "beta2",
    "Beta 2",
    "float",
    "How long the average of the squared gradients remembers: about 1 / (1 − beta2) steps. Its root is what each weight's step "
    "is divided by. Larger (0.999) gives calm, slowly changing steps; smaller (0.95 to 0.99) adapts sooner to new gradient "
    "sizes. Lower it for short runs or when the loss spikes.",
    domain=_FRACTION,
    soft=(0.8, 0.9999),
)
BETA2_OF_MOMENTUM = Option(
    "beta2",
    "Beta 2",
    "float",
    "How long the momentum remembers: about 1 / (1 − beta2) steps. There is no average of squared gradients here. Larger "
    "(0.99 and up) keeps to old directions and evens out noisy batches; smaller (0.9 to 0.98) turns sooner.",
    domain=_FRACTION,
    soft=(0.8, 0.9999),
)
BETA2_OF_SURPRISE = Option(
    "beta2",
    "Beta 2",
    "float",
    "How long the average of squared surprises remembers: about 1 / (1 − beta2) steps. A surprise is how far a gradient lies "
    "from the momentum, and steps are divided by its usual size. Larger (0.999) keeps steps calm; smaller (0.99) adapts "
    "sooner and suits short runs.",
    domain=_FRACTION,
    soft=(0.8, 0.9999),
)
BETA2_OF_DIFFERENCES = Option(
    "beta2",
    "Beta 2",
    "float",
    "How long the average of the changes from one gradient to the next remembers, and also how much these changes count in a "
    "step. Larger (0.95 to 0.99) looks further ahead; 0 leaves them out.",
    domain=_FRACTION,
    soft=(0.8, 0.9999),
)
BETA3 = Option(
    "beta3",
    "Beta 3",
    "float",
    "How long a third running average remembers; what it averages depends on the optimizer. Larger is steadier and slower "
    "to react, smaller is quicker and noisier. In a run shorter than 1 / (1 − beta3) steps it never fills.",
    domain=_FRACTION,
    soft=(0.8, 0.9999),
    nullable=True,
    null_words="√beta2",
)
EPS = Option(
    "eps",
    "Epsilon",
    "float",
    "A small number in the denominator that keeps a step finite where gradients are nearly zero. Larger (1e-6 and up) "
    "damps weights whose gradients are tiny; smaller leaves them their full step. Raise it when half-precision runs "
    "become NaN. At 0 a weight whose gradients were all zero so far becomes NaN, as in a fresh LoRA.",
    domain=_NOT_NEGATIVE,
    soft=(1e-12, 1e-4),
    log=True,
)
EPS_OF_SQUARES = Option(
    "eps",
    "Epsilon",
    "float",
    "A tiny number that is added to each squared gradient before squares are averaged, so that a row or column without "
    "gradients is not divided by zero. Compare it with squares: 1e-30 is the square of a gradient of 1e-15. Larger than the "
    "squares of real gradients, it makes steps small. At 0 weights without gradients become NaN.",
    domain=_NOT_NEGATIVE,
    soft=(1e-12, 1e-4),
    log=True,
)
EPS_OF_SURPRISE = Option(
    "eps",
    "Epsilon",
    "float",
    "A small number that is added twice: to the average of squared surprises at every step, where it adds up, and to the "
    "divisor. So no step is divided by less than √(eps / (1 − beta2)). Larger holds back weights with small gradients.",
    domain=_NOT_NEGATIVE,
    soft=(1e-12, 1e-4),
    log=True,
)
WEIGHT_DECAY = Option(
    "weight_decay",
    "Weight decay",
    "float",
    "Pulls all weights a little toward zero at each step, against overfitting and weights that grow without need. Larger "
    "values regularise more and can wash out what was learned; 0 switches it off. Try 0.01 first; small data sets may "
    "need more.",
    domain=_NOT_NEGATIVE,
    soft=(0.0, 0.1),
)
AMSGRAD = Option(
    "amsgrad",
    "AMSGrad",
    "bool",
    "Divides by the largest average of squared gradients so far instead of the current one, so that a quiet stretch does not "
    "make steps larger again. Steps still grow while the bias correction fades, in the first 1 / (1 − beta2) steps. It costs "
    "one more state tensor; leave it off for nearly all runs.",
)
MOMENTUM = Option(
    "momentum",
    "Momentum",
    "float",
    "How much of the previous step is carried into the next, like a ball rolling on. Larger (0.9 to 0.99) speeds up along "
    "steady slopes and overshoots in bends; 0 uses each gradient alone. In plain SGD 0.9 amplifies a steady gradient about ten "
    "times, so lower the rate when raising it.",
    domain=_FRACTION,
    soft=(0.0, 0.99),
)
MOMENTUM_OF_AVERAGE = Option(
    "momentum",
    "Momentum",
    "float",
    "How slowly the weights follow the point that takes the steps: each step moves them 1 − momentum of the way to it. Larger "
    "(0.9) smooths their path, and never makes a step larger; 0 puts them on the point itself.",
    domain=_FRACTION,
    soft=(0.0, 0.99),
)
MOMENTUM_OF_SCHEDULE_FREE = Option(
    "momentum",
    "Momentum",
    "float",
    "Where gradients are computed: at a mix of this share of the averaged weights and, for the rest, of the point that takes "
    "the steps. Larger (0.95) keeps closer to the average. It amplifies nothing, unlike the momentum of plain SGD.",
    domain=_FRACTION,
    soft=(0.0, 0.99),
)
DAMPENING = Option(
    "dampening",
    "Dampening",
    "float",
    "Takes this share off each new gradient before it joins the momentum; only the first counts in full. Setting it to the momentum's own value turns the "
    "sum into an average, so that momentum no longer enlarges the step. Leave it at 0 unless a recipe asks for it.",
    domain=Interval(0, 1),
    soft=(0.0, 1.0),
)
NESTEROV = Option(
    "nesterov",
    "Nesterov",
    "bool",
    "Looks ahead: applies the momentum once more to the fresh gradient before stepping. It corrects overshooting a little "
    "sooner and often trains slightly faster. Needs momentum, and no dampening.",
)
ALPHA = Option(
    "alpha",
    "Alpha",
    "float",
    "How long the running average of squared gradients remembers, as beta2 does for Adam. Larger (0.99 and up) gives calmer "
    "steps; smaller (0.9) adapts faster to changing gradients. Lower it when the gradients change their size during the "
    "run.",
    domain=_FRACTION,
    soft=(0.8, 0.9999),
)
CENTERED = Option(
    "centered",
    "Centered",
    "bool",
    "Subtracts the squared mean of the gradient, so that steps are divided by its spread rather than by its size. Steady "
    "slopes then get larger steps. It costs another state tensor and can become unstable where the spread is near zero.",
)
LR_DECAY = Option(
    "lr_decay",
    "Learning-rate decay",
    "float",
    "Divides the learning rate by 1 + this value × step, on top of any schedule. Larger slows the run down sooner; 0 leaves "
    "the rate to the schedule. A schedule does the same job with more control.",
    domain=_NOT_NEGATIVE,
    soft=(0.0, 0.1),
)
INITIAL_ACCUMULATOR_VALUE = Option(
    "initial_accumulator_value",
    "Initial accumulator value",
    "float",
    "Where the sum of squared gradients starts. Larger values make the first steps smaller and gentler; 0 lets the first "
    "step be as large as the learning rate for every weight. Raise it only when the very start of a run is too wild.",
    domain=_NOT_NEGATIVE,
    soft=(0.0, 1.0),
)
MAXIMIZE = Option(
    "maximize",
    "Maximize",
    "bool",
    "Steps up the gradient instead of down, so that the objective grows. Meant for rewards and scores; with a loss it "
    "undoes the training. Leave it off.",
)
