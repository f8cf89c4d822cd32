"""Options about how a step is computed and stored: kernels, 8-bit states, memory, clipping of whole updates."""

from __future__ import annotations

from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Interval

FOREACH = Option(
    "foreach",
    "For-each",
    "bool",
    "Steps many tensors with one call instead of one after the other. Faster on a GPU, at the price of a temporary copy as "
    "large as the weights; the result is the same. Where it may be left empty, torch decides by device.",
    nullable=True,
    null_words="torch decides",
)
FUSED = Option(
    "fused",
    "Fused",
    "bool",
    "Does the whole update in a single kernel, the fastest way on a GPU and lighter on memory than for-each. Results differ "
    "only by rounding. Leave it empty and torch decides; it cannot be combined with for-each.",
    nullable=True,
    null_words="torch decides",
)
CAPTURABLE = Option(
    "capturable",
    "Capturable",
    "bool",
    "Keeps step counters on the GPU so that the step can be recorded in a CUDA graph. It slows an ordinary run down a "
    "little and changes nothing in what is learned. Turn it on only when your own code captures CUDA graphs.",
)
DIFFERENTIABLE = Option(
    "differentiable",
    "Differentiable",
    "bool",
    "Lets gradients flow through the optimizer step itself, for meta-learning and for tuning rates by gradient. It keeps the "
    "graph of each step in memory and works only on weights that are not leaves. Ordinary training never needs it.",
)
USE_TRITON = Option(
    "use_triton",
    "Use Triton",
    "bool",
    "Computes the update in one kernel written in Triton, for speed on NVIDIA GPUs. What is learned stays the same up to "
    "rounding. It needs the triton package and a GPU; leave it off elsewhere.",
)
OPTIM_BITS = Option(
    "optim_bits",
    "Optimizer bits",
    "int",
    "How many bits each state value takes: 32 for full precision, 8 for less memory at some loss of precision. "
    "Choose 8 when the state does not fit on the GPU. Small tensors keep 32 bits either way.",
    choices=("8", "32"),
    unit="bits",
)
MIN_8BIT_SIZE = Option(
    "min_8bit_size",
    "Smallest 8-bit tensor",
    "int",
    "Tensors with fewer elements than this keep 32-bit states, because biases and norms need precision more than they cost "
    "memory. Smaller saves memory, above all in LoRAs of low rank, whose tensors are that small; larger keeps more tensors exact. The default is a good middle.",
    domain=Interval(0),
    soft=(0, 65536),
    unit="elements",
)
PERCENTILE_CLIPPING = Option(
    "percentile_clipping",
    "Percentile clipping",
    "int",
    "Scales a gradient down to this percentile of the last 100 gradient norms of its tensor, so that the limit follows the "
    "run. 100 switches it off; 95 cuts only outliers, 50 about half of all steps. Of use where single batches give spikes.",
    domain=Interval(1, 100),
    soft=(1, 100),
    unit="%",
)
BLOCK_WISE = Option(
    "block_wise",
    "Block-wise",
    "bool",
    "Quantises 8-bit states in small blocks, each with its own scale, so that one outlier spoils only its own block. On is "
    "more precise and as fast; off used one scale for the whole tensor. There is no reason to turn it off.",
)
IS_PAGED = Option(
    "is_paged",
    "Paged",
    "bool",
    "Lets the driver move optimizer states to the computer's main memory when the GPU runs full, instead of failing. Runs "
    "that fit are not slowed down; runs that do not fit become slow rather than impossible. Turn it on when a few "
    "gigabytes are missing.",
)
MAX_UNORM = Option(
    "max_unorm",
    "Largest update norm",
    "float",
    "Limits each tensor's update to this fraction of the tensor's own norm; larger updates are scaled down. Smaller is more "
    "careful; 0 removes the limit. A tensor that is exactly zero has norm 0, so under a limit it never moves: with LoRA, "
    "set it to 0.",
    domain=Interval(0),
    soft=(0.0, 2.0),
)
BIAS_CORRECTION = Option(
    "bias_correction",
    "Bias correction",
    "bool",
    "Corrects the running averages for having started at zero, so that the first steps have the size of later ones. Off makes "
    "them larger or smaller, by both betas: 3.2 times at 0.9 and 0.999, a quarter at 0.95 and 0.95. On is what Adam is "
    "defined with.",
)
ADAM_W_MODE = Option(
    "adam_w_mode",
    "AdamW mode",
    "bool",
    "Applies weight decay to the weights directly, as AdamW does, instead of mixing it into the gradient. On keeps the decay "
    "equally strong for all weights. It matters only with weight decay above 0.",
)
STOCHASTIC_ROUNDING = Option(
    "stochastic_rounding",
    "Stochastic rounding",
    "bool",
    "When weights are kept in bfloat16, rounds each new weight up or down at random in proportion, so that updates too "
    "small for the format still count on average. Without it many small updates are lost. It has no use for 32-bit "
    "weights.",
)
KAHAN_SUMMATION = Option(
    "kahan_summation",
    "Kahan summation",
    "bool",
    "When weights are kept in bfloat16, keeps what rounding takes from each weight in a second bfloat16 value (2 bytes per "
    "weight) and adds it to the next update. So updates far below the spacing of bfloat16 add up until they count, and "
    "nothing is random, unlike with stochastic rounding. It has no use for 32-bit weights.",
)
FUSED_BACK_PASS = Option(
    "fused_back_pass",
    "Fused back pass",
    "bool",
    "Steps each tensor as soon as backward has its gradient and frees that gradient at once, so that all gradients never "
    "exist together: that saves nearly as much memory as the trained weights take. The step itself stays the same. It rules "
    "out accumulation, clipping all gradients by their common norm, and a GradScaler (mixed precision in float16).",
)
