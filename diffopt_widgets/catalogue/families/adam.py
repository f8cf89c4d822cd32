"""Adam and AdamW, in 32 and 8 bits."""

from __future__ import annotations

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.remedies import BETA2, restored_beta2
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Use

_FAMILY = "Adam"
_ADAM_PAPER = Link("Kingma & Ba 2014", "https://arxiv.org/abs/1412.6980")
_ADAMW_PAPER = Link("Loshchilov & Hutter 2017", "https://arxiv.org/abs/1711.05101")
_8BIT_PAPER = Link("Dettmers et al. 2021", "https://arxiv.org/abs/2110.02861")
_TORCH = "https://github.com/pytorch/pytorch/blob/main/torch/optim"
_BNB = "https://github.com/bitsandbytes-foundation/bitsandbytes/blob/main/bitsandbytes/optim"

_ADAM_FORMULA = r"\theta \leftarrow \theta - \gamma\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}"
_ADAMW_FORMULA = r"\theta \leftarrow (1 - \gamma\lambda)\,\theta - \gamma\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}"
_LR_ADVICE = shared.RATES_OF_ADAMW

_TORCH_USES = (
    Use(o.AMSGRAD, False, "amsgrad"),
    shared.FOREACH,
    shared.FUSED,
    shared.MAXIMIZE,
    shared.CAPTURABLE,
    shared.DIFFERENTIABLE,
    shared.STOCHASTIC_ROUNDING,
    shared.FUSED_BACK_PASS,
)
_TORCH_RULES = (shared.FUSED_FOREACH_RULE, shared.MAXIMIZE_RULE)
_TORCH_REMEDIES = (restored_beta2(where=lambda values: values["amsgrad"] is False),)
_BNB_REASON = "bitsandbytes keeps the argument for compatibility and raises for any other value"
_BNB_USES = (
    shared.unavailable(o.AMSGRAD, False, _BNB_REASON, "amsgrad"),
    shared.unavailable(o.OPTIM_BITS, 32, f"{_BNB_REASON}; the states have 8 bits in any case", "optim_bits"),
    shared.MIN_8BIT_SIZE,
    shared.PERCENTILE_CLIPPING,
    shared.BLOCK_WISE,
    shared.IS_PAGED,
)
_ONETRAINER_TORCH = shared.onetrainer({"foreach": False, "fused": True})
_ONETRAINER_8BIT = shared.onetrainer({}, shared.NO_BLOCKS)

ADAMW = OptimizerSpec(
    key="ADAMW",
    title="AdamW",
    family=_FAMILY,
    summary="Adam with weight decay applied to the weights themselves. The standard choice for diffusion models: a weight moves by "
    "at most about the learning rate per step, whatever the size of its gradient, and by less the noisier the gradient is.",
    formula=_ADAMW_FORMULA,
    links=(_ADAMW_PAPER, Link("code", f"{_TORCH}/adamw.py")),
    target="torch.optim:AdamW",
    package="torch",
    lr=Use(o.LR, 1e-3, "lr", advice=_LR_ADVICE),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(o.WEIGHT_DECAY, 0.01, "weight_decay", note="Multiplied by the learning rate at each step."),
        *_TORCH_USES,
    ),
    presets=(
        shared.LIBRARY,
        _ONETRAINER_TORCH,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99},
            "A short warm-up protects the first steps, the cosine settles the details at the end, and beta2 of 0.99 suits runs "
            "of hundreds or a few thousand steps. On the bench's digits 4e-3 does better than this rate: a loss of 0.16 against 0.19. "
            "Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    rules=_TORCH_RULES,
    remedies=_TORCH_REMEDIES,
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ADAM = OptimizerSpec(
    key="ADAM",
    title="Adam",
    family=_FAMILY,
    summary="Divides the averaged gradient by the usual size of gradients: a weight moves by at most about the learning rate per "
    "step, and by a quarter of it where gradients are mostly noise.",
    formula=_ADAM_FORMULA,
    links=(_ADAM_PAPER, Link("code", f"{_TORCH}/adam.py")),
    target="torch.optim:Adam",
    package="torch",
    lr=Use(o.LR, 1e-3, "lr", advice=_LR_ADVICE),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="Here it is added to the gradient, so weights with large gradients hardly feel it; AdamW does it better.",
        ),
        *_TORCH_USES,
    ),
    presets=(
        shared.LIBRARY,
        _ONETRAINER_TORCH,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99},
            "As for AdamW, without weight decay: a short warm-up, a cosine, and a beta2 that suits short runs. Use 1e-4 for a "
            "LoRA of a large model.",
        ),
    ),
    rules=_TORCH_RULES,
    hidden=(Hidden("decoupled_weight_decay", "it turns Adam into AdamW, which has an entry of its own"),),
    remedies=_TORCH_REMEDIES,
    state_names=("exp_avg", "exp_avg_sq"),
    steps_each_tensor=True,
)

ADAMW_8BIT = OptimizerSpec(
    key="ADAMW_8BIT",
    title="AdamW (8-bit)",
    family=_FAMILY,
    summary="AdamW that keeps its two averages in 8 bits, with slightly rougher steps.",
    formula=_ADAMW_FORMULA,
    links=(_8BIT_PAPER, _ADAMW_PAPER, Link("code", f"{_BNB}/adamw.py")),
    target="bitsandbytes.optim:AdamW8bit",
    package="bitsandbytes",
    lr=Use(o.LR, 1e-3, "lr", advice=_LR_ADVICE),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(o.WEIGHT_DECAY, 0.01, "weight_decay", note="Multiplied by the learning rate at each step."),
        *_BNB_USES,
    ),
    presets=(
        shared.LIBRARY,
        _ONETRAINER_8BIT,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99},
            "The same as for AdamW: 8-bit states need no other rate. Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    hidden=(shared.BNB_ARGS,),
    remedies=(BETA2,),
    state_bits=8,
    state_names=("state1", "state2"),
    steps_each_tensor=True,
)

ADAM_8BIT = OptimizerSpec(
    key="ADAM_8BIT",
    title="Adam (8-bit)",
    family=_FAMILY,
    summary="Adam that keeps its two averages in 8 bits, with slightly rougher steps.",
    formula=_ADAM_FORMULA,
    links=(_8BIT_PAPER, _ADAM_PAPER, Link("code", f"{_BNB}/adam.py")),
    target="bitsandbytes.optim:Adam8bit",
    package="bitsandbytes",
    lr=Use(o.LR, 1e-3, "lr", advice=_LR_ADVICE),
    uses=(
        Use(o.BETA1, 0.9, "betas[0]"),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="bitsandbytes applies it to the weights themselves, as AdamW does, although the name is Adam.",
        ),
        *_BNB_USES,
    ),
    presets=(
        shared.LIBRARY,
        _ONETRAINER_8BIT,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 1e-3, "schedule": "COSINE", "warmup": 0.05, "beta2": 0.99},
            "The same as for Adam: 8-bit states need no other rate. Use 1e-4 for a LoRA of a large model.",
        ),
    ),
    hidden=(shared.BNB_ARGS,),
    remedies=(BETA2,),
    state_bits=8,
    state_names=("state1", "state2"),
    steps_each_tensor=True,
)

ENTRIES = (ADAMW, ADAMW_8BIT, ADAM, ADAM_8BIT)
