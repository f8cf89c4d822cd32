"""Settings as a few lines of plain torch code that build the same optimizer and schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue.schedules import SCHEDULES, lr_scale, schedule_factor, warmup_steps
from diffopt_widgets.interop.muon_code import GROUPS, muon_groups_code

if TYPE_CHECKING:
    from diffopt_widgets.settings import Settings

_FACTORS = {
    "LINEAR": "1 - p",
    "COSINE": "0.5 * (1 + math.cos(math.pi * p))",
    "COSINE_WITH_RESTARTS": "0.5 * (1 + math.cos(2 * math.pi * {cycles} * p))",
    "COSINE_WITH_HARD_RESTARTS": "0.5 * (1 + math.cos(math.pi * ({cycles} * p % 1)))",
    "REX": "(1 - p) / (1 - 0.9 * p)",
}

_LIMIT = "torch._dynamo.config.recompile_limit"
_NEEDS = {
    "fused_back_pass": "Each backward() steps the weights and frees their gradients: call optimizer.step() after each one.",
    "stochastic_rounding": "Only weights in bfloat16 are rounded; without any it does nothing.",
    "kahan_summation": "Only weights in bfloat16 are rounded; without any it does nothing.",
}
"""Comments about what the code around an adapted optimizer must do."""


def to_python(
    settings: Settings, *, steps: int = 300, batch_size: int = 1, accumulation: int = 1, dtype: str = "float32"
) -> str:
    """Write plain torch code that needs `params` and defines `optimizer` and `scheduler`.

    It uses the back end's own class and torch's LambdaLR. From this package it uses only `adapt`, for options that the
    back end lacks, and optimizer classes that no other package has. Arguments with the back end's default are left out.

    Args:
        settings: the settings to write.
        steps: length of the run, and so of the schedule.
        batch_size: examples per batch, for the learning-rate scaler.
        accumulation: batches per step, for the learning-rate scaler.
        dtype: precision of the weights; a comment says how to convert the model.

    >>> from diffopt_widgets import Settings
    >>> print(to_python(Settings("PRODIGY", d_coef=0.5)))
    from prodigyopt import Prodigy
    <BLANKLINE>
    optimizer = Prodigy(
        params,
        lr=1.0,
        d_coef=0.5,
    )
    scheduler = None  # constant: the learning rate stays as it is
    """
    module, _, name = settings.spec.target.partition(":")
    comment = "  # no other package has it" if module.startswith("diffopt_widgets.") else ""
    imports = (
        [] if module == "__main__" else [f"from {module} import {name}{comment}"]
    )  # a class of the notebook itself needs no import
    scale = lr_scale(settings.lr_scaler, batch_size, accumulation)
    arguments = _arguments(settings, scale)
    grouping, regex = muon_groups_code(settings, scale) if settings.spec.auxiliary else ([], [])
    first = GROUPS if grouping else "params"
    precision = [f"# params are those of a model in {dtype}: model.to(torch.{dtype})"] if dtype != "float32" else []
    body = [
        *precision,
        *grouping,
        f"optimizer = {name}(",
        f"    {first},",
        *(f"    {k}={value}," for k, value in arguments),
        ")",
    ]
    if settings.spec.has_modes:
        body += [
            "optimizer.train()  # to step; optimizer.eval() before evaluating, sampling or saving, train() to go on"
        ]
    if options := settings.spec.adapter_options(settings.options):
        imports += ["from diffopt_widgets.optimizers.adapters import adapt  # what the optimizer's own package lacks"]
        body += [f"adapt(optimizer, {', '.join(f'{name}={_literal(value)}' for name, value in options.items())})"]
        body += [f"# {text}" for name, text in _NEEDS.items() if name in options]
    schedule, needs = _schedule(settings, steps)
    needs = [*needs, *regex]
    if any(use.requires == "compiler" for use in settings.spec.asking(settings.options)):
        body = [f"{_LIMIT} = 4096  # one for each shape of tensor; torch's own 8 soon raise", "", *body]
        needs = [*needs, "import torch._dynamo"]
    if any("torch." in value for _, value in arguments):
        needs = ["import torch", *needs]
    return "\n".join([*sorted(needs, key=lambda line: line.startswith("from")), *imports, "", *body, *schedule])


def _arguments(settings: Settings, scale: float) -> list[tuple[str, str]]:
    entry = settings.spec
    lr = settings.lr * scale
    arguments = entry.arguments(lr, settings.options)
    defaults = entry.arguments(entry.lr.default if isinstance(entry.lr.default, float) else lr, {})
    always = {"lr", *(hidden.argument.split("[")[0] for hidden in entry.hidden if hidden.value is not None)}
    always |= {use.argument.split("[")[0] for use in entry.uses if use.argument and use.fixed}
    literal = _literal if entry.catalogued else _own_literal
    return [(key, literal(value)) for key, value in arguments.items() if key in always or defaults.get(key) != value]


def _schedule(settings: Settings, steps: int) -> tuple[list[str], list[str]]:
    rising = warmup_steps(settings.warmup, steps)
    factor = _FACTORS.get(settings.schedule)
    if factor is None and not rising:
        why = "constant: the learning rate stays as it is" if settings.schedule == "CONSTANT" else "the optimizer's own"
        return [f"scheduler = None  # {why}"], []
    lines = ["", "", "def factor(step):"]
    if rising >= steps:
        told = f"# After {steps} steps the warm-up of {rising} is not over: the full learning rate is never reached."
        lines = ["", "", told, "def factor(step):", f"    step = min(step, {steps})"]
    if rising:
        lines += [f"    if step < {rising}:  # warm-up", f"        return step / {rising}"]
    if factor is None:
        lines += ["    return 1.0"]
        needs = []
    else:
        falling = max(1, steps - rising)
        start = f"(step - {rising})" if rising else "step"
        lines += [f"    p = min(1.0, {start} / {falling})"]
        text = factor.format(cycles=_literal(settings.cycles))
        if settings.schedule == "COSINE_WITH_HARD_RESTARTS" and settings.cycles.is_integer():
            text += " if p < 1 else 0.0"
        low = settings.min_factor if SCHEDULES[settings.schedule].uses_min_factor else 0.0
        if low:
            lines += [f"    f = {text}", f"    return {_literal(low)} + {_literal(1.0 - low)} * f"]
        else:
            lines += [f"    return max(0.0, {text})" if " if " not in text else f"    return {text}"]
        needs = ["import math"] if "math." in text else []
    call = ["", "", "scheduler = LambdaLR(optimizer, factor)  # scheduler.step() after each optimizer.step()"]
    if settings.spec.raises_at_zero and _end(settings, steps) == 0.0:
        call += [f"# Take no more than {steps} steps: the rate is 0 from there on, and at 0 this optimizer raises."]
    return lines + call, [*needs, "from torch.optim.lr_scheduler import LambdaLR"]


def _end(settings: Settings, steps: int) -> float:
    s = settings
    return schedule_factor(s.schedule, steps, steps, warmup=s.warmup, cycles=s.cycles, min_factor=s.min_factor)


def _own_literal(value: object) -> str:
    """Write a value as `_literal` does, for a class outside the catalogue: its texts are only texts."""
    return repr(value) if isinstance(value, str) else _literal(value)


def _literal(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_literal(part) for part in value) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, float) and math.isinf(value):
        return 'float("inf")'
    if isinstance(value, str) and value.startswith("torch."):
        return value
    return repr(value)
