"""Schedule-free optimizers, which average the weights instead of lowering the rate."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue import shared
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schema import Hidden, Link, OptimizerSpec, Preset, Rule, Use
from diffopt_widgets.catalogue.values import Interval

_FAMILY = "Schedule-free"
_PAPER = Link("Defazio et al. 2024", "https://arxiv.org/abs/2405.15682")
_CODE = Link("code", "https://github.com/facebookresearch/schedule_free")
_AVERAGE = r"x \leftarrow (1 - c)\, x + c\, z"
_README = "schedulefree's README"

_NO_SCHEDULE = Rule(
    "falling-schedule",
    ("schedule",),
    lambda values: values["schedule"] not in {"CONSTANT", "ADAFACTOR"},
    "Schedule-free optimizers need no falling schedule: the average of the weights settles by itself. Set the schedule to "
    "CONSTANT.",
    fix={"schedule": "CONSTANT"},
    severity="warning",
)
_WARMUP_STEPS = Hidden(
    "warmup_steps",
    "the bench's warm-up raises the learning rate for every optimizer alike, and the average weighs its steps the same way; "
    "the package's own takes 0.1 for steps, not for a part of the run, and makes the first step ten times too large",
)
_FOREACH = Use(
    replace(o.FOREACH, nullable=False, null_words=""),
    True,
    "foreach",
    note="On a CPU the result is the same to the bit.",
)
_MIXES = "the package's eval mode mixes the weights with the point z, which is then in 32 bits, and raises on weights in bfloat16"
_STOCHASTIC_ROUNDING = shared.unavailable(o.STOCHASTIC_ROUNDING, False, _MIXES)
_KAHAN_SUMMATION = shared.unavailable(o.KAHAN_SUMMATION, False, _MIXES)
_R = Use(o.R, 0.0, "r")
_WEIGHT_LR_POWER = Use(o.WEIGHT_LR_POWER, 2.0, "weight_lr_power")
_BETA_ADVICE = Advice(
    0.9,
    "0.9 works on most problems; very long runs may need 0.95 or 0.98, and training reacts to it more than to ordinary "
    "momentum.",
    source=_README,
    between=(0.9, 0.98),
)
_RATE_WORDS = "learning rate of the point z that takes the steps; the weights stay between it and its average"

SILENT_SGD_PHASE = Option(
    "silent_sgd_phase",
    "Silent first steps",
    "bool",
    "What happens in the first steps, before the squared average is trusted: on gathers averages and leaves the weights where "
    "they are, off takes plain SGD's steps at the full rate, whose size depends on that of the gradients. On is the safer "
    "choice, and costs the first steps: four with a beta2 of 0.8 or more, up to ten below.",
)

ADAMW = OptimizerSpec(
    key="SCHEDULE_FREE_ADAMW",
    title="Schedule-free AdamW",
    family=_FAMILY,
    summary="AdamW that averages its weights on their way instead of lowering the rate, so a run may end at any step. It steps "
    "in train mode; what to evaluate, sample and save is the average, in eval mode. The bench switches between them.",
    formula=r"z \leftarrow z - \gamma \left( \frac{g}{\sqrt{\hat v} + \epsilon} + \lambda\theta \right)"
    rf",\quad {_AVERAGE},\quad \theta \leftarrow (1-\beta_1)\, z + \beta_1\, x",
    links=(_PAPER, _CODE),
    target="schedulefree:AdamWScheduleFree",
    package="schedulefree",
    lr=Use(
        o.LR,
        0.0025,
        "lr",
        advice=Advice(
            0.0025,
            "1 to 10 times the rate that AdamW takes under a falling schedule: the average makes up for the noise of larger "
            "steps.",
            source=_README,
            words="1 to 10 times AdamW's rate",
            between=(1e-5, 1e-2),
        ),
    ),
    uses=(
        Use(
            o.BETA1_OF_SCHEDULE_FREE,
            0.9,
            "betas[0]",
            note="At 0 the package divides by zero in eval mode.",
            domain=shared.OPEN_FRACTION,
            advice=_BETA_ADVICE,
        ),
        Use(o.BETA2, 0.999, "betas[1]"),
        Use(o.EPS, 1e-8, "eps"),
        Use(o.WEIGHT_DECAY, 0.0, "weight_decay", note="Multiplied by the learning rate, as in AdamW."),
        _R,
        _WEIGHT_LR_POWER,
        _FOREACH,
        _STOCHASTIC_ROUNDING,
        _KAHAN_SUMMATION,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"weight_decay": 0.01, "foreach": False}),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 0.0025, "schedule": "CONSTANT", "warmup": 0.05, "weight_decay": 0.01},
            "The package's own rate and the warm-up that its README recommends, with AdamW's usual weight decay; no falling "
            "schedule. For a LoRA of a large model take 1 to 10 times the rate that AdamW takes there.",
        ),
    ),
    rules=(_NO_SCHEDULE,),
    hidden=(_WARMUP_STEPS,),
    rate="schedule_free:ScheduleFree",
    rate_words=_RATE_WORDS,
    state_names=("z", "exp_avg_sq"),
    steps_each_tensor=True,
    has_modes=True,
)

SGD = OptimizerSpec(
    key="SCHEDULE_FREE_SGD",
    title="Schedule-free SGD",
    family=_FAMILY,
    summary="Plain gradient steps with an average of the weights in place of momentum and of a falling rate; one state tensor. "
    "It steps in train mode, and in eval mode the weights hold the average; the bench switches between them.",
    formula=rf"z \leftarrow z - \gamma\, (g + \lambda\theta),\quad {_AVERAGE},\quad \theta \leftarrow (1-\mu)\, z + \mu\, x",
    links=(_PAPER, _CODE),
    target="schedulefree:SGDScheduleFree",
    package="schedulefree",
    lr=Use(
        o.LR,
        1.0,
        "lr",
        note="On the bench's digits the package's own 1 runs away, and 0.3 needs a warm-up.",
        advice=Advice(
            0.3,
            "10 to 50 times the rate that SGD takes with momentum: here momentum does not amplify the gradients.",
            source=_README,
            words="10 to 50 times SGD's rate",
            between=(0.3, 1.5),
        ),
    ),
    uses=(
        Use(
            o.MOMENTUM_OF_SCHEDULE_FREE,
            0.9,
            "momentum",
            note="At 0 the package raises.",
            domain=shared.OPEN_FRACTION,
            advice=_BETA_ADVICE,
        ),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="Added to the gradient, as is classical; for plain SGD that is the same as shrinking the weights.",
        ),
        _R,
        _WEIGHT_LR_POWER,
        _FOREACH,
        _STOCHASTIC_ROUNDING,
        _KAHAN_SUMMATION,
    ),
    presets=(
        shared.LIBRARY,
        shared.onetrainer({"weight_decay": 0.01, "foreach": False}, "Momentum 0 is left out, since it raises."),
        Preset(
            "recommended",
            "Recommended",
            {"lr": 0.3, "momentum": 0.9, "schedule": "CONSTANT", "warmup": 20.0},
            "Ten times the rate of SGD's own preset; 20 steps of warm-up, without which the rate runs away on the bench's digits; and no "
            "falling schedule.",
        ),
    ),
    rules=(_NO_SCHEDULE,),
    hidden=(_WARMUP_STEPS,),
    rate="schedule_free:ScheduleFree",
    rate_words=_RATE_WORDS,
    state_names=("z",),
    steps_each_tensor=True,
    has_modes=True,
)

RADAM = OptimizerSpec(
    key="SCHEDULE_FREE_RADAM",
    title="Schedule-free RAdam",
    family=_FAMILY,
    summary="Schedule-free AdamW that needs no warm-up either: RAdam's rectification holds the first steps back by itself, and "
    "the first four only gather averages and move nothing. It steps in train mode, and in eval mode the weights hold the "
    "average; the bench switches between them.",
    formula=r"z \leftarrow z - \gamma\, r_t \left( \frac{g}{\sqrt{\hat v} + \epsilon} + \lambda\theta \right)"
    rf",\quad {_AVERAGE},\quad \theta \leftarrow (1-\beta_1)\, z + \beta_1\, x",
    links=(_PAPER, Link("Liu et al. 2019 (RAdam)", "https://arxiv.org/abs/1908.03265"), _CODE),
    target="schedulefree:RAdamScheduleFree",
    package="schedulefree",
    lr=Use(
        o.LR,
        0.0025,
        "lr",
        advice=Advice(
            0.0025,
            "As for schedule-free AdamW, 1 to 10 times the rate that AdamW takes under a falling schedule.",
            source=_README,
            words="1 to 10 times AdamW's rate",
            between=(1e-5, 1e-2),
        ),
    ),
    uses=(
        Use(
            o.BETA1_OF_SCHEDULE_FREE,
            0.9,
            "betas[0]",
            note="At 0 the package divides by zero in eval mode.",
            domain=shared.OPEN_FRACTION,
            advice=_BETA_ADVICE,
        ),
        Use(
            o.BETA2,
            0.999,
            "betas[1]",
            note="It also sets the warm-up: half the rate is reached after some 550 steps at 0.999, after 61 at 0.99. At 0.6 and "
            "below the squared average is never trusted, and no weight would move.",
            domain=Interval(0.6, 1, low_open=True, high_open=True),
        ),
        Use(o.EPS, 1e-8, "eps"),
        Use(
            o.WEIGHT_DECAY,
            0.0,
            "weight_decay",
            note="Multiplied by the learning rate, as in AdamW, and by the rectification.",
        ),
        _R,
        replace(
            _WEIGHT_LR_POWER,
            note="Here the rate climbs by itself for as long as the rectification lasts, so it acts without a warm-up too.",
        ),
        _FOREACH,
        Use(SILENT_SGD_PHASE, True, "silent_sgd_phase"),
        _STOCHASTIC_ROUNDING,
        _KAHAN_SUMMATION,
    ),
    presets=(
        shared.LIBRARY,
        Preset(
            "recommended",
            "Recommended",
            {"lr": 0.0025, "schedule": "CONSTANT", "beta2": 0.99, "weight_decay": 0.01},
            "The package's own rate, no schedule and no warm-up, and a beta2 whose rectification fits runs of a few hundred "
            "steps; leave beta2 at 0.999 for long ones. For a LoRA of a large model take 1 to 10 times the rate that AdamW takes "
            "there.",
        ),
    ),
    rules=(
        _NO_SCHEDULE,
        Rule(
            "warmup",
            ("warmup",),
            lambda values: shared.number(values, "warmup") > 0,
            "This optimizer warms up by itself, since the rectification holds its first steps back. Set warm-up to 0.",
            fix={"warmup": 0.0},
            severity="warning",
        ),
    ),
    rate="schedule_free:ScheduleFreeRAdam",
    rate_words="learning rate · rectification, of the point z that takes the steps; 0 in the first steps, which move nothing",
    state_names=("z", "exp_avg_sq"),
    steps_each_tensor=True,
    has_modes=True,
)

ENTRIES = (ADAMW, SGD, RADAM)
