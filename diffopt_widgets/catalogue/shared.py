"""Parts that several optimizers share: uses that no back end takes, rules, and small helpers for rules."""

from __future__ import annotations

from dataclasses import replace

from diffopt_widgets.catalogue import options as o
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import WARMUP_RULE
from diffopt_widgets.catalogue.schema import Hidden, OptimizerSpec, Preset, Rule, Standing, Use, Values, When
from diffopt_widgets.catalogue.state_sizes import state_sentence
from diffopt_widgets.catalogue.values import Interval, Value

LIBRARY = Preset(
    "library",
    "Library defaults",
    {},
    "The defaults of the package itself. They are made for networks of any kind, and are likely not the best for a diffusion model.",
)


def onetrainer(values: Values, but: str = "", lr: str = "the library's default is used") -> Preset:
    """Make the preset with the values that OneTrainer's window starts with.

    Args:
        values: by option.
        but: sentence about what else is left out.
        lr: reason why OneTrainer's learning rate is left out.
    """
    own = "" if values else ": the package's own"
    parts = (
        f"The values that OneTrainer's window starts with{own}.",
        but,
        f"Its learning rate, 3e-6 for every optimizer, is left out: {lr}.",
    )
    return Preset("onetrainer", "OneTrainer", values, " ".join(part for part in parts if part))


RATES_OF_ADAMW = Advice(
    1e-4,
    "The more a model already knows, the smaller the steps that it takes well.",
    source="common practice",
    words="1e-5 for a full fine-tune, 1e-4 for a LoRA, 1e-3 or more for models as small as those of the bench",
    between=(1e-5, 1e-3),
)
"""Rates of AdamW, which are three ranges and not one; optimizers whose steps have its size take them too."""

NO_BLOCKS = "Block-wise is left out, since bitsandbytes no longer has it."

POSITIVE = Interval(0, low_open=True)
OPEN_FRACTION = Interval(0, 1, low_open=True, high_open=True)
BELOW_ONE = Interval(0, 1, high_open=True)


def number(values: Values, name: str) -> float:
    """Return a value as a number; 0 if it is not set or is not a number."""
    value = values[name]
    return float(value) if isinstance(value, int | float) else 0.0


def unavailable(option: Option, default: Value, reason: str, argument: str | None = None) -> Use:
    """Make the use of an option that the back end does not take, or refuses to change."""
    return Use(option, default, argument, standing=Standing.UNAVAILABLE, reason=reason)


def inert(option: Option, default: Value, argument: str, reason: str, domain: Interval | None = None) -> Use:
    """Make the use of an option that the back end accepts and then ignores."""
    return Use(option, default, argument, standing=Standing.INERT, reason=reason, domain=domain)


_OURS = "This package does it, not the optimizer's own"
_AS_A_COPY = (
    f"{_OURS}: each tensor in turn is stepped as a copy in 32 bits, so states that would be in bfloat16 are in 32 bits."
)
STOCHASTIC_ROUNDING = Use(
    o.STOCHASTIC_ROUNDING,
    False,
    None,
    note=_AS_A_COPY,
    requires="bfloat16",
    idle=True,
    only_in="bfloat16",
)
KAHAN_SUMMATION = Use(
    o.KAHAN_SUMMATION,
    False,
    None,
    note=_AS_A_COPY,
    requires="bfloat16",
    idle=True,
    only_in="bfloat16",
)
FUSED_BACK_PASS = Use(o.FUSED_BACK_PASS, False, None, note=f"{_OURS}.")
PERCENTILE_CLIPPING = Use(
    o.PERCENTILE_CLIPPING,
    100,
    None,
    note=f"{_OURS}, by the rule that bitsandbytes had before version 0.50: at first all 100 norms count as the first one.",
)
ADAPTER_OPTIONS = (PERCENTILE_CLIPPING, FUSED_BACK_PASS, STOCHASTIC_ROUNDING, KAHAN_SUMMATION)
"""Options that `optimizers.adapters` adds to every optimizer that steps each tensor on its own."""
DIFFERENTIABLE = unavailable(
    o.DIFFERENTIABLE,
    False,
    "torch then raises at the first step, because the weights that a run trains are leaves; it works only in code that "
    "differentiates through the training itself",
    "differentiable",
)
FOREACH = Use(o.FOREACH, None, "foreach", note="On a CPU the result is the same to the bit.")
FUSED = Use(
    o.FUSED,
    None,
    "fused",
    note="On a CPU torch's fused step is wrong when a gradient is laid out in memory otherwise than its weight, as "
    "gradients made by vmap are.",
)
CAPTURABLE = Use(o.CAPTURABLE, False, "capturable", requires="cuda", note="On a CPU torch raises, unless fused is on.")
MAXIMIZE = Use(o.MAXIMIZE, False, "maximize")

# bitsandbytes
BNB_ARGS = Hidden("args", "an object that replaces optim_bits and min_8bit_size inside the package; both are shown")
BLOCK_WISE = unavailable(
    o.BLOCK_WISE,
    True,
    "it left bitsandbytes in version 0.50, where 8-bit states are always block-wise",
)
MIN_8BIT_SIZE = Use(o.MIN_8BIT_SIZE, 4096, "min_8bit_size")
MIN_8BIT_SIZE_IF_8BIT = replace(MIN_8BIT_SIZE, enabled_if=When("optim_bits", "==", 8))
OPTIM_BITS = Use(
    o.OPTIM_BITS,
    32,
    "optim_bits",
    note="8 makes it the same optimizer as its 8-bit form.",
)
IS_PAGED = Use(
    o.IS_PAGED,
    False,
    "is_paged",
    requires="cuda",
    idle=True,
    note="On a CPU bitsandbytes goes on without it.",
)
MAXIMIZE_RULE = Rule(
    "maximize",
    ("maximize",),
    lambda values: values["maximize"] is True,
    "Maximize makes the loss grow. Turn it off unless the objective is a score.",
    fix={"maximize": False},
    severity="warning",
)
FUSED_FOREACH_RULE = Rule(
    "fused-foreach",
    ("fused", "foreach"),
    lambda values: values["fused"] is True and values["foreach"] is True,
    "Fused and for-each are two ways to do the same step, and torch takes only one. Leave for-each empty, or turn fused off.",
    fix={"foreach": None},
)

# Optimizers that estimate their own rate
SCALER_RULE = Rule(
    "lr_scaler",
    ("lr_scaler",),
    lambda values: values["lr_scaler"] != "NONE",
    "This optimizer finds its own rate, and a scaler would only distort it. Set the learning-rate scaler to NONE.",
    fix={"lr_scaler": "NONE"},
    severity="warning",
)
OWN_WARMUP_RULE = Rule(
    "warmup",
    ("warmup",),
    lambda values: number(values, "warmup") > 0,
    "Prodigy warms up by itself while its estimate grows. Set warm-up to 0.",
    fix={"warmup": 0.0},
    severity="warning",
)
FSDP_ALONE = "In one process the first step raises, and in several on CPUs too, except in those of dw.launch."
FSDP_IN_USE = Use(
    o.FSDP_IN_USE,
    False,
    "fsdp_in_use",
    requires="distributed",
    note=f"{FSDP_ALONE} Under FSDP1 the package turns it on by itself, under FSDP2 (torch's fully_shard) it has to be turned on.",
)


def lr_near_one(low: float, high: float) -> Rule:
    """Make a rule that warns when the learning rate of an estimating optimizer is far from 1."""
    return Rule(
        "lr-near-1",
        ("lr",),
        lambda values: not low <= number(values, "lr") <= high,
        "This optimizer finds its own rate, and the learning rate only scales it. Far from 1 the estimate may never take "
        "off, or overshoot: set it to 1 and use the optimizer's own options to go slower or faster.",
        fix={"lr": 1.0},
        severity="warning",
    )


def touches_zero(values: Values) -> bool:
    """Check whether a schedule takes the learning rate to exactly 0 in the middle of a run."""
    return (
        values["schedule"] == "COSINE_WITH_RESTARTS"
        and number(values, "cycles") > 0.5  # half a cycle ends at 0 and does not pass through it
        and number(values, "min_factor") == 0
    )


def _off_cuda(values: Values) -> bool:
    """Check whether the run is known to be on another device than an NVIDIA GPU."""
    return values.get("device") not in {None, "cuda"}


_FSDP_RULE = Rule(
    "fsdp_in_use",
    ("fsdp_in_use",),
    lambda values: values["fsdp_in_use"] is True and "processes" not in values,
    "FSDP in use works only where several processes train, and a run of the bench is in one: it is refused. Turn it off, or train "
    "with dw.launch, or in code of your own where the model is wrapped in FSDP.",
    fix={"fsdp_in_use": False},
    severity="refused",
)
_APART_RULE = Rule(
    "fsdp-not-in-use",
    ("fsdp_in_use",),
    lambda values: values["fsdp_in_use"] is False and values.get("processes", 1) != 1 and values.get("slice_p", 1) == 1,
    "Each process estimates the rate from its own part of the weights only, so they drift apart. Turn FSDP in use on.",
    fix={"fsdp_in_use": True},
    severity="warning",
)
_CAPTURABLE_RULE = Rule(
    "capturable-off-cuda",
    ("capturable",),
    lambda values: values["capturable"] is True and _off_cuda(values),
    "Capturable needs an NVIDIA GPU, and a run on anything else is refused. Turn it off, or train on such a GPU.",
    fix={"capturable": False},
    severity="refused",
)
_PAGED_RULE = Rule(
    "paged-off-cuda",
    ("is_paged",),
    lambda values: values["is_paged"] is True and _off_cuda(values),
    "Paged states need an NVIDIA GPU: on anything else they do nothing. Turn them off, or train on such a GPU.",
    fix={"is_paged": False},
    severity="warning",
)
_COMPILER_RULE = Rule(
    "compile-no-compiler",
    ("compile",),
    lambda values: values["compile"] is True and values.get("compiler") is False,
    "A compiled step needs a compiler that torch can use, and a run without one is refused. Turn it off; or install one, such as "
    "g++ for a run on the CPU, or the triton package for one on an NVIDIA GPU.",
    fix={"compile": False},
    severity="refused",
)
_ROUNDING_RULE = Rule(
    "rounding-32-bits",
    ("stochastic_rounding",),
    lambda values: values["stochastic_rounding"] is True and values.get("dtype") == "float32",
    "Stochastic rounding needs weights in bfloat16: with weights in float32 it does nothing. Choose bfloat16 for the weights of "
    "the run, or turn it off.",
    fix={"stochastic_rounding": False},
    severity="warning",
)
_KAHAN_RULE = Rule(
    "kahan-32-bits",
    ("kahan_summation",),
    lambda values: values["kahan_summation"] is True and values.get("dtype") == "float32",
    "Kahan summation needs weights in bfloat16: with weights in float32 it does nothing. Choose bfloat16 for the weights of "
    "the run, or turn it off.",
    fix={"kahan_summation": False},
    severity="warning",
)
_NEEDS_RULES = (_FSDP_RULE, _APART_RULE, _CAPTURABLE_RULE, _PAGED_RULE, _COMPILER_RULE, _ROUNDING_RULE, _KAHAN_RULE)
"""Rules for the options that `require` something, so that the form warns before a run is refused or the option does nothing."""
_KOURKOUTAS = (
    "With Kahan summation each tensor is stepped as a copy, and Kourkoutas-β keeps what it learns about a layer with the tensors "
    "themselves, so the two do not work together. Turn Kourkoutas-β off, or keep it and use stochastic rounding."
)
_KAHAN_RULES = (
    Rule(
        "kahan-rounding",
        ("kahan_summation", "stochastic_rounding"),
        lambda values: values["kahan_summation"] is True and values["stochastic_rounding"] is True,
        "Kahan summation and stochastic rounding are two ways to keep what rounding to bfloat16 loses, and only one can be on. "
        "Turn stochastic rounding off, or Kahan summation.",
        fix={"stochastic_rounding": False},
    ),
    Rule(
        "kahan-kourkoutas_beta",
        ("kahan_summation", "kourkoutas_beta"),
        lambda values: values["kahan_summation"] is True and values["kourkoutas_beta"] is True,
        _KOURKOUTAS,
        fix={"kourkoutas_beta": False},
    ),
    Rule(
        "kahan-adam_kourkoutas_beta",
        ("kahan_summation", "adam_kourkoutas_beta"),
        lambda values: values["kahan_summation"] is True and values["adam_kourkoutas_beta"] is True,
        _KOURKOUTAS,
        fix={"adam_kourkoutas_beta": False},
    ),
)
"""Conflicts with Kahan summation, for optimizers that have both options."""
_ADAFACTOR_SCHEDULE = Rule(
    "adafactor-schedule",
    ("schedule",),
    lambda values: values["schedule"] == "ADAFACTOR",
    "The schedule ADAFACTOR belongs to the optimizer ADAFACTOR with a relative step; here the learning rate stays constant. "
    "Choose another schedule, such as CONSTANT.",
    fix={"schedule": "CONSTANT"},
    severity="warning",
)


def with_adapters(entry: OptimizerSpec) -> OptimizerSpec:
    """Add the options of `ADAPTER_OPTIONS` to an optimizer that steps each tensor on its own; mark them unavailable for others.

    An entry keeps its own version of such an option, where its back end takes it or the adapter does not work for it.
    """
    if entry.steps_each_tensor:
        names = {use.name for use in entry.uses}
        return replace(entry, uses=(*entry.uses, *(use for use in ADAPTER_OPTIONS if use.name not in names)))
    uses = (unavailable(use.option, use.default, _TOGETHER) if use in ADAPTER_OPTIONS else use for use in entry.uses)
    return replace(entry, uses=tuple(uses))


_TOGETHER = (
    "this optimizer computes a quantity over all tensors together, so it cannot step one of them alone; choose one "
    "that steps each tensor on its own, such as ADAMW"
)


def with_state_sizes(entry: OptimizerSpec) -> OptimizerSpec:
    """Add the size of the state to the summary, and to the preset of the library those defaults that are not the library's.

    >>> with_state_sizes(OptimizerSpec("SGD", "", "", "A step.", "", (), "", "", Use(o.LR, 1.0, "lr"), (), ())).summary
    'A step. State per weight at the defaults: none.'
    """
    own = [use.name for use in (entry.lr, *entry.uses) if use.fixed]
    own += [hidden.argument for hidden in entry.hidden if hidden.value is not None]
    named = " and ".join(part for part in (", ".join(own[:-1]), *own[-1:]) if part)
    first, point, rest = LIBRARY.why.partition(".")
    why = f"{first}, except for {named}, where the help says why{point}{rest}"
    library = replace(LIBRARY, why=why) if own else LIBRARY
    presets = tuple(library if preset is LIBRARY else preset for preset in entry.presets)
    summary = f"{entry.summary} {state_sentence(entry.key)}".rstrip()
    return replace(entry, summary=summary, presets=presets)


def with_common_rules(entry: OptimizerSpec) -> OptimizerSpec:
    """Add the rules that hold for every optimizer."""
    rules = () if entry.key == "ADAFACTOR" else (_ADAFACTOR_SCHEDULE,)
    requiring = {use.name for use in entry.uses if use.requires}
    needs = (rule for rule in _NEEDS_RULES if rule.options[0] in requiring)
    live = {use.name for use in entry.uses if use.standing is Standing.LIVE}
    kahan = (rule for rule in _KAHAN_RULES if live.issuperset(rule.options))
    warm = () if any(rule.options == ("warmup",) for rule in entry.rules) else (WARMUP_RULE,)  # those want none at all
    return replace(entry, rules=(*entry.rules, *rules, *warm, *needs, *kahan))
