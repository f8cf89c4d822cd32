"""Adafactor, which keeps squared gradients by rows and columns only."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.remedies import RELATIVE_STEP
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Rule, Use, When
from diffopt_widgets.catalogue.state_sizes import state_words

_RELATIVE = When("relative_step", "==", True)

ADAFACTOR = OptimizerSpec(
    key="ADAFACTOR",
    title="Adafactor",
    family="Low memory",
    summary="Keeps one number per row and column of a matrix instead of one per weight. The option relative_step chooses its mode: "
    "on, as at first, it sets its own rate; off, it is an AdamW of very low memory that takes your rate and schedule.",
    formula=r"\gamma = \min\!\left(10^{-2},\ \frac{1}{\sqrt{t}}\right),\quad "
    r"\hat v = \frac{r\, c^{\top}}{\bar r},\quad u = \frac{g}{\sqrt{\hat v}},\quad "
    r"\theta \leftarrow \theta - \gamma\, \max(\epsilon_2,\ \mathrm{RMS}(\theta))\, \frac{u}{\max(1,\ \mathrm{RMS}(u) / \kappa)}",
    links=(
        Link("Shazeer & Stern 2018", "https://arxiv.org/abs/1804.04235"),
        Link(
            "code",
            "https://github.com/kozistr/pytorch_optimizer/blob/main/pytorch_optimizer/optimizer/adafactor.py",
        ),
    ),
    target="pytorch_optimizer:AdaFactor",
    package="pytorch_optimizer",
    lr=Use(
        o.LR,
        1e-3,
        "lr",
        note="With relative step on it is ignored.",
        enabled_if=When("relative_step", "==", False),
        advice=Advice(
            1e-4,
            "In constant mode use a learning rate like AdamW's, or the default for your training task.",
            words="as for AdamW",
            between=(1e-5, 1e-3),
        ),
    ),
    uses=(
        Use(
            o.RELATIVE_STEP,
            True,
            "relative_step",
            advice=Advice(
                False,
                "On for the adaptive mode, together with the schedule ADAFACTOR; it must be off for use as a low-memory AdamW.",
                words="on in adaptive mode, off in constant mode",
                by_mode=True,
            ),
        ),
        Use(
            o.SCALE_PARAMETER,
            True,
            "scale_parameter",
            advice=Advice(
                False,
                "On for the adaptive mode, though with a relative step the rate is too high for a full fine-tune; it must be "
                "off for use as a low-memory AdamW.",
                words="on in adaptive mode, off in constant mode",
                by_mode=True,
            ),
        ),
        Use(o.WARMUP_INIT, False, "warmup_init", enabled_if=_RELATIVE),
        Use(
            replace(o.BETA1, nullable=True, null_words="no momentum"),
            None,
            "betas[0]",
            note="Empty means no momentum, as in transformers and OneTrainer; the package starts with 0.9. With a value the state "
            f"takes {state_words('ADAFACTOR', beta1=0.9)}, instead of {state_words('ADAFACTOR')}.",
            advice=Advice(None, "Leave it empty: a value adds a running average and much memory.", words="empty"),
            fixed=True,
        ),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="Applied to the weights themselves, multiplied by the rate of the step.",
            advice=Advice(0.01, "In constant mode a little of it is of use.", between=(0, 0.01)),
        ),
        Use(o.CLIP_THRESHOLD, 1.0, "clip_threshold"),
        Use(o.DECAY_RATE, -0.8, "decay_rate"),
        Use(
            replace(o.EPS_OF_SQUARES, soft=(1e-30, 1e-6)),
            1e-30,
            "eps1",
        ),
        Use(o.EPS2, 1e-3, "eps2", enabled_if=When("scale_parameter", "==", True)),
        shared.STOCHASTIC_ROUNDING,
        shared.FUSED_BACK_PASS,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer(
            {"scale_parameter": False, "relative_step": False},
            "Stochastic rounding is left out: it is for weights in bfloat16.",
        ),
        Preset(
            "recommended",
            "Recommended",
            {"scale_parameter": False, "relative_step": False, "lr": 1e-3, "schedule": "COSINE", "warmup": 0.05},
            "The low-memory AdamW with a schedule: the easier of its two modes to steer. Use 1e-4 for a LoRA of a large model.",
        ),
        Preset(
            "adaptive",
            "Adaptive (relative step)",
            {"scale_parameter": True, "relative_step": True, "schedule": "ADAFACTOR"},
            "The adaptive mode of the OneTrainer wiki: the learning rate is ignored and Adafactor sets its own. Too fast for a "
            "full fine-tune.",
        ),
        Preset(
            "constant",
            "Low-memory AdamW",
            {"scale_parameter": False, "relative_step": False, "schedule": "CONSTANT", "lr": 1e-3},
            "The constant mode of the OneTrainer wiki: AdamW's learning rate and any ordinary schedule, with less memory than "
            "AdamW and no 8-bit rounding.",
        ),
    ),
    rules=(
        Rule(
            "relative-step-schedule",
            ("schedule", "relative_step"),
            lambda values: values["relative_step"] is True and values["schedule"] != "ADAFACTOR",
            "With relative step on, Adafactor ignores the learning rate and this schedule. Choose the schedule ADAFACTOR, or "
            "turn relative step off.",
            fix={"schedule": "ADAFACTOR"},
            severity="warning",
        ),
        Rule(
            "relative-step-warmup",
            ("warmup", "relative_step"),
            lambda values: values["relative_step"] is True and shared.number(values, "warmup") > 0,
            "With relative step on, Adafactor ignores warm-up. Set it to 0 and, for a gentle start, turn warm-up "
            "initialisation on.",
            fix={"warmup": 0.0},
            severity="warning",
        ),
        Rule(
            "schedule-relative-step",
            ("schedule", "relative_step"),
            lambda values: values["schedule"] == "ADAFACTOR" and values["relative_step"] is False,
            "The schedule ADAFACTOR leaves the rate to relative step, which is off: the learning rate stays constant. Turn relative "
            "step on, or choose another schedule, such as CONSTANT.",
            fix={"relative_step": True},
            severity="warning",
        ),
        Rule(
            "warmup-init",
            ("warmup_init", "relative_step"),
            lambda values: values["warmup_init"] is True and values["relative_step"] is False,
            "Warm-up initialisation is a part of relative step, which is off, and does nothing without it. Turn it off and use "
            "warm-up instead.",
            fix={"warmup_init": False},
            severity="warning",
        ),
    ),
    hidden=(
        Hidden(
            "betas[1]",
            "it caps the weight of the past squared gradients, which neither the paper nor transformers does; the package's "
            "0.999 would act from step 5,623 on, this value never does",
            0.9999999999,
        ),
        Hidden(
            "momentum_dtype",
            "the package keeps momentum in bfloat16, which drifts; transformers keeps it in the precision of the weights",
            "torch.float32",
        ),
        Hidden("weight_decouple", "always on, as in transformers"),
        Hidden("fixed_decay", "always off, as in transformers: weight decay is multiplied by the rate of the step"),
        Hidden("ams_bound", "neither the paper nor transformers has it, and it costs a state of full size"),
        Hidden("foreach", "the package steps all tensors in one call where it can; the result is the same"),
        Hidden("maximize", "a loss is never maximised"),
        Hidden("kwargs", "further entries of the parameter groups, of which the package reads none that is documented"),
    ),
    remedies=(RELATIVE_STEP,),
    rate="per_tensor:Adafactor",
    rate_words="(relative step or learning rate) · size of each tensor when scaled by it, as a mean over the weights; "
    "with beta1 its beta1-average",
    state_names=("exp_avg_sq_row", "exp_avg_sq_col"),
    steps_each_tensor=True,
)

ENTRIES = (ADAFACTOR,)
