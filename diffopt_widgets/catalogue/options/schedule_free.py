"""Options of optimizers that average the weights on their way, and of the experiments that come with one of them."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.state_sizes import state_words
from diffopt_widgets.catalogue.values import Interval

_NOT_NEGATIVE = Interval(0)

R = Option(
    "r",
    "Averaging power R",
    "float",
    "How strongly the average of the weights favours late steps: step t counts as t to this power. 0 counts all steps "
    "alike; 1 and more forget the start of the run sooner, so that the average follows faster and is noisier. Raise it "
    "when the averaged weights lag behind.",
    domain=_NOT_NEGATIVE,
    soft=(0.0, 4.0),
)
WEIGHT_LR_POWER = Option(
    "weight_lr_power",
    "Weight by learning rate",
    "float",
    "How little the steps of a warm-up count in the average: each counts as the largest learning rate so far, to this "
    "power. 0 counts them like all others, 2 leaves little of them. It acts only while the rate climbs to a new height; "
    "without warm-up it does nothing.",
    domain=_NOT_NEGATIVE,
    soft=(0.0, 4.0),
)
USE_SCHEDULEFREE = Option(
    "use_schedulefree",
    "Schedule-free",
    "bool",
    "Averages the weights on their way and uses the average, so that a constant rate ends as calmly as a falling one. Off "
    "keeps a momentum tensor in its place; then the rate has to fall for the weights to settle, as under a cosine.",
)
SCHEDULEFREE_C = Option(
    "schedulefree_c",
    "Averaging strength C",
    "float",
    "How closely the average of the weights follows the latest steps. Larger follows sooner, smaller averages over longer. "
    "0 is the plain rule, and so is 1 / (1 − beta1), which is 10 at a beta1 of 0.9. The package suggests 6 to 12 for short, "
    "noisy runs and 50 to 200 for long ones.",
    domain=_NOT_NEGATIVE,
    soft=(0.0, 200.0),
)
D_LIMITER = Option(
    "d_limiter",
    "Limit the growth of D",
    "bool",
    "Lets the estimate of the rate rise by at most 19% per step. The rise takes longer and is less likely to overshoot while "
    "the averages are still young. Turn it off when the estimate rises too slowly for a short run.",
)
PRODIGY_STEPS = Option(
    "prodigy_steps",
    "Prodigy steps",
    "int",
    "Stops estimating the rate at about this step and frees the memory of the estimate; 0 never stops. Too small a number freezes "
    "the rate while it is still rising. Of use where the estimate goes on growing late in a run: try a quarter of the "
    "steps.",
    domain=_NOT_NEGATIVE,
    soft=(0, 1000),
    unit="steps",
)
USE_SPEED = Option(
    "use_speed",
    "SPEED",
    "bool",
    "Replaces Prodigy's estimate by a simpler one: the rate grows while the weights keep moving steadily away from their "
    "start, whatever the size of the gradients. It saves a little memory. An experiment of the package, which can overshoot, "
    "above all with weight decay.",
)
SPLIT_GROUPS = Option(
    "split_groups",
    "Split groups",
    "bool",
    "Gives each parameter group, such as text encoder and UNet, an estimate of its own. Off makes one estimate for all, as "
    "the first Prodigy does. With a single group there is nothing to split.",
)
SPLIT_GROUPS_MEAN = Option(
    "split_groups_mean",
    "Mean of split groups",
    "bool",
    "Steps all groups with the harmonic mean of their estimates, while each goes on making its own. The mean stays near the "
    "smallest of them: it holds back a group that runs ahead and lifts one that lags a little. Try it when groups drift far "
    "apart.",
)
FACTORED = Option(
    "factored",
    "Factored",
    "bool",
    "Keeps the squared gradients of a matrix as one number per row and one per column instead of one per weight, as "
    "Adafactor does. Off is exact, and the state takes "
    f"{state_words('PRODIGY_PLUS_SCHEDULE_FREE', factored=False)} instead of "
    f"{state_words('PRODIGY_PLUS_SCHEDULE_FREE')}. Turn it off when the loss becomes NaN or the estimate "
    "of the rate does not rise.",
)
FACTORED_FP32 = Option(
    "factored_fp32",
    "Factored in 32 bits",
    "bool",
    "Keeps the numbers per row and per column in 32 bits, whatever the gradients have. Off keeps them in the gradients' own "
    "precision, which saves a very little memory in bfloat16 and is rougher. With 32-bit gradients there is no difference.",
)
USE_STABLEADAMW = Option(
    "use_stableadamw",
    "StableAdamW",
    "bool",
    "Scales an update down where its root-mean-square is above 1, by the square root of that. It takes the place of gradient "
    "clipping, which would disturb the estimate of the rate. Turn it off when the estimate never rises, or rises too far.",
)
USE_CAUTIOUS = Option(
    "use_cautious",
    "Use cautious",
    "bool",
    "Leaves out the weights whose step would go against the fresh gradient, and enlarges the others to make up for it. Steps "
    "obey the latest batch more, at the price of some smoothing. Try it when training is slow to get going; often it changes "
    "little.",
)
USE_GRAMS = Option(
    "use_grams",
    "Grams",
    "bool",
    "Takes the direction of each weight's step from the fresh gradient and only its size from the averaged step. Steps turn "
    "at once with each batch, so small batches make them noisy. An experiment to compare with leaving it off.",
)
USE_ADOPT = Option(
    "use_adopt",
    "ADOPT",
    "bool",
    "Divides by the squared gradients of the steps before, without the present one, so that a gradient does not shrink its "
    "own step. The paper shows that training then converges at any beta2. The first step only measures and moves nothing; a "
    "sudden large gradient makes a large step.",
)
USE_ORTHOGRAD = Option(
    "use_orthograd",
    "OrthoGrad",
    "bool",
    "Takes out of each tensor's update the part that points along the weights themselves, and keeps its length: steps turn "
    "the weights rather than stretch them. Meant against overfitting on little data; a tensor whose size has to change learns "
    "that only slowly.",
)
WEIGHT_DECAY_BY_LR = Option(
    "weight_decay_by_lr",
    "Weight decay by learning rate",
    "bool",
    "Multiplies weight decay by the rate of the step, as AdamW does. Off takes the whole of it off the weights at every "
    "step, 1% for a decay of 0.01, even while the rate is small; it then has to be far smaller. Leave it on.",
)
