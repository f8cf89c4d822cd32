"""Options of optimizers that estimate their own learning rate, and of Adafactor, which derives it."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Interval

_POSITIVE = Interval(0, low_open=True)

D0 = Option(
    "d0",
    "Initial D",
    "float",
    "The estimate of the rate that the run starts from; it should lie well below any rate that would train. Smaller is "
    "safer and takes a few more steps to grow; too large cannot be taken back, since the estimate never falls below it. "
    "Raise it to 1e-5 or 1e-4 only when the estimate stays flat.",
    domain=_POSITIVE,
    soft=(1e-8, 1e-3),
    log=True,
)
D_COEF = Option(
    "d_coef",
    "D coefficient",
    "float",
    "Scales the estimate of the learning rate. Below 1 is more careful, above 1 bolder. It is not an exact multiplier: "
    "the estimate is made during training and reacts to its own effects. It is the first option to change with Prodigy.",
    domain=_POSITIVE,
    soft=(0.1, 10.0),
    log=True,
)
GROWTH_RATE = Option(
    "growth_rate",
    "Growth rate",
    "float",
    "The most that the estimate may grow per step, as a factor. Infinity lets it leap as soon as the gradients call for it; "
    "1.02 stretches the rise over hundreds of steps, which acts like a warm-up. Lower it when the loss jumps while the "
    "estimate is rising.",
    domain=Interval(1, infinite=True),
    soft=(1.0, 2.0),
)
DECOUPLE = Option(
    "decouple",
    "Decouple weight decay",
    "bool",
    "Applies weight decay to the weights themselves, as AdamW does, instead of adding it to the gradient, where the "
    "adaptive division would weaken it for weights with large gradients. On is the better choice for most models. It "
    "matters only with weight decay above 0.",
)
USE_BIAS_CORRECTION = Option(
    "use_bias_correction",
    "Bias correction",
    "bool",
    "Corrects the running averages for having started at zero, as Adam does. With the usual betas the first steps become "
    "smaller, which makes for a gentler start and a different final estimate. Worth trying both ways.",
)
SAFEGUARD_WARMUP = Option(
    "safeguard_warmup",
    "Safeguard warm-up",
    "bool",
    "Keeps the learning rate out of the denominator of the estimate, so that small rates during a warm-up do not make the "
    "estimate too large. Turn it on when a schedule starts low or restarts. Where the rate is 1 throughout and bias "
    "correction is off it has nothing to do.",
)
SLICE_P = Option(
    "slice_p",
    "Slice parameters",
    "int",
    "Uses only every n-th weight for the estimate of the rate, which saves most of the memory that the estimate needs. 1 "
    "uses all; 11 brings the state close to Adam's. The estimate then comes out lower or higher than with all weights, by "
    "as much as a third or two thirds. Raise it when memory is short.",
    domain=Interval(1),
    soft=(1, 32),
)
FSDP_IN_USE = Option(
    "fsdp_in_use",
    "FSDP in use",
    "bool",
    "Adds up the sums behind the estimate over all processes, for a model whose weights are split among several GPUs (FSDP). "
    "Without it each process estimates from its own part, and they drift apart. Leave it off unless the model is wrapped in "
    "FSDP, as dw.launch does it.",
)
LOG_EVERY = Option(
    "log_every",
    "Log every",
    "int",
    "Writes the estimate every so many steps; 0 writes nothing. Smaller numbers write more lines. The lines are collected "
    "with the run: in run.output, and on the bench under the run bar (Output of the back end). The plots show the same at "
    "each step, so it can stay 0.",
    domain=Interval(0),
    soft=(0, 100),
    unit="steps",
)
NO_PROX = Option(
    "no_prox",
    "No proximal step",
    "bool",
    "Chooses how weight decay is applied: on shrinks the weights before the step, as AdamW does; off divides them after it, "
    "as the Adan paper does. The two differ little at small decay. It matters only with weight decay above 0.",
)
EPS2 = Option(
    "eps2",
    "Epsilon 2",
    "float",
    "The smallest size (root mean square) that a tensor is taken to have when its steps are scaled by its size. A LoRA's B "
    "matrix starts at 0, so at first this number alone sets how far it moves: raise it when a LoRA barely changes.",
    domain=Interval(0),
    soft=(1e-6, 1e-1),
    log=True,
)
EPS2_OF_CAME = Option(
    "eps2",
    "Epsilon 2",
    "float",
    "A tiny number that is added to the squared doubt about a step, the distance between an update and the momentum, so that "
    "nothing is divided by zero. Larger evens out the confidence in the steps of different weights.",
    domain=Interval(0),
    soft=(1e-6, 1e-1),
    log=True,
)
CLIP_THRESHOLD = Option(
    "clip_threshold",
    "Clip threshold",
    "float",
    "The largest root-mean-square of an update before it is scaled down as a whole. Smaller (0.5) tames spikes more and "
    "slows fast phases; larger values rarely act. It replaces gradient clipping.",
    domain=_POSITIVE,
    soft=(0.1, 10.0),
    log=True,
)
DECAY_RATE = Option(
    "decay_rate",
    "Decay rate",
    "float",
    "How the memory of squared gradients lengthens: after t steps its weight is 1 − t^rate. Nearer to −1 averages over the "
    "whole run, nearer to 0 remembers only the latest gradients. The default suits nearly all runs.",
    domain=Interval(high=0),
    soft=(-1.0, 0.0),
)
SCALE_PARAMETER = Option(
    "scale_parameter",
    "Scale by parameter",
    "bool",
    "Multiplies each tensor's step by the tensor's own size (its root mean square), so that large weights take large steps "
    "and small ones small steps. On suits training with a relative step; off makes the learning rate mean what it means "
    "for AdamW.",
)
RELATIVE_STEP = Option(
    "relative_step",
    "Relative step",
    "bool",
    "Lets the optimizer set its own rate: 0.01 for the first 10,000 steps, then falling as one over the square root of the "
    "step; with warm-up initialisation it climbs to that by 1e-6 per step. On ignores the learning rate and the schedule. "
    "Off uses both, as other optimizers do.",
)
WARMUP_INIT = Option(
    "warmup_init",
    "Warm-up initialisation",
    "bool",
    "Starts the relative step near zero and raises it by 1e-6 per step, where it would start at 0.01. Gentler on fresh "
    "weights but very slow: the rate reaches 1e-4 only after 100 steps. Use it for long runs with a relative step.",
)
