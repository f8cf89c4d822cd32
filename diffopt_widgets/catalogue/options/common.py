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
    "Tune it first, by factors of 2 or 3. Optimizers that estimate their own rate need about 1 here.",
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
BETA2 = Option(
    "beta2",
    "Beta 2",
    "float",
    "How long the second running average of the gradients remembers: about 1 / (1 − beta2) steps. Larger (0.999) gives "
    "calm, slowly changing steps; smaller (0.95 to 0.99) adapts sooner to new gradient sizes. Lower it for short runs or "
    "when the loss spikes.",
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
    "become NaN.",
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
    "Divides by the largest squared-gradient average seen so far instead of the current one, so the step of a weight can "
    "shrink but not grow back. It can calm a run that keeps diverging late, at the price of one more state tensor. Off is "
    "right for nearly all runs.",
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
DAMPENING = Option(
    "dampening",
    "Dampening",
    "float",
    "Takes this share off each new gradient before it joins the momentum. Setting it to the momentum's own value turns the "
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
