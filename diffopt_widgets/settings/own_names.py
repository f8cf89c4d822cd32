"""Options under the names that the packages and other trainers have for them, such as `betas` for beta1 and beta2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from numbers import Real

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.schedules import TRAINING
from diffopt_widgets.catalogue.schema import OptimizerSpec, Use, split_argument
from diffopt_widgets.catalogue.values import ValueProblem, number_or_none, safe_repr
from diffopt_widgets.settings.faults import Fault

_RUN = {
    "lr": ("learning_rate",),
    "schedule": ("learning_rate_scheduler", "lr_scheduler", "lr_scheduler_type", "scheduler"),
    "warmup": (
        "learning_rate_warmup_steps",
        "lr_warmup_steps",
        "lr_warmup",
        "warmup_steps",
        "num_warmup_steps",
        "warmup_ratio",
    ),
    "cycles": ("learning_rate_cycles", "lr_num_cycles", "lr_scheduler_num_cycles", "num_cycles"),
    "min_factor": ("learning_rate_min_factor", "lr_scheduler_min_lr_ratio", "min_lr_rate", "min_lr_ratio"),
    "lr_scaler": ("learning_rate_scaler",),
}
"""Names that OneTrainer, kohya's scripts, diffusers and transformers have for the learning rate and its schedule."""

_OPTIONS = {"epsilon": "eps", "adam_epsilon": "eps", "wd": "weight_decay"}
"""Names of options that no constructor has; diffusers' scripts put `adam_` or `prodigy_` before the others."""

_NEAR = {
    "momentum": ("beta1",),
    "beta": ("beta1", "momentum"),
    "betas": ("beta1", "beta2", "beta3", "momentum"),
    "decouple": ("decoupled_decay",),
    "weight_decouple": ("decouple",),
    "decoupled_weight_decay": ("decouple",),
}
"""Options that do something like an option that an optimizer lacks."""


def option_places(entry: OptimizerSpec, name: str) -> tuple[str, ...]:
    """Return the options that a name of a package or of another trainer sets, in the order of its values.

    Args:
        entry: of the optimizer.
        name: such as the name of an argument of its constructor.

    Returns:
        One name for an argument with a single value, several for a tuple, with an empty text for a value that is not
        shown; nothing where the name means no option.

    >>> option_places(spec("PRODIGY"), "betas"), option_places(spec("ADAFACTOR"), "betas")
    (('beta1', 'beta2'), ('beta1', ''))
    >>> option_places(spec("ADABELIEF"), "weight_decouple"), option_places(spec("PRODIGY"), "learning_rate")
    (('decoupled_decay',), ('lr',))
    """
    names = [use.name for use in (entry.lr, *entry.uses)]
    word = name.strip().replace("-", "_")
    if parts := _of_argument(entry, word):
        return parts
    if any(hidden.argument == word for hidden in entry.hidden):
        return ()  # its own, which is not the bench's: schedulefree's warmup_steps also changes its average
    for own in (*names, *TRAINING):
        if own.casefold() == word.casefold():
            return (own,)
    for own, others in _RUN.items():
        if word in others:
            return (own,)
    for prefix in _prefixes(entry):
        plain = _OPTIONS.get(word, word.removeprefix(prefix)) if word.startswith(prefix) else word
        if plain != word and plain in names:
            return (plain,)
    numbered = [own for own in names if re.fullmatch(rf"{re.escape(word.removesuffix('s'))}\d", own)]
    return tuple(numbered) if word.endswith("s") and len(numbered) > 1 else ()


def _prefixes(entry: OptimizerSpec) -> tuple[str, ...]:
    """Return what diffusers' scripts put before the names of options that mean here what they mean there."""
    if "eps2" in {use.name for use in entry.uses}:
        return ()  # the eps of Adafactor and CAME is not Adam's
    estimating = ("prodigy_",) if "PRODIGY" in entry.key else ()
    return ("", "adam_", *estimating) if estimating or "ADAM" in entry.key.upper() else ("",)


def tuple_places(entry: OptimizerSpec, name: str) -> tuple[str, ...]:
    """Return the options that a tuple under this name sets: those of a tuple argument, or a name and its numbered ones.

    >>> tuple_places(spec("ADAFACTOR"), "eps"), tuple_places(spec("ADAMW"), "betas")
    (('eps', 'eps2'), ('beta1', 'beta2'))
    """
    names = [use.name for use in entry.uses]
    parts = option_places(entry, name)
    if len(parts) > 1 or name not in names:
        return parts
    return tuple(own for own in (name, *(f"{name}{number}" for number in range(2, 9))) if own in names)


def spread(entry: OptimizerSpec, name: str, value: object) -> dict[str, object]:
    """Return the values of options that are given under another name, or as one tuple.

    Raises:
        ValueProblem: it is not one value for each option.

    >>> spread(spec("PRODIGY"), "betas", (0.9, 0.99))
    {'beta1': 0.9, 'beta2': 0.99}
    """
    parts = option_places(entry, name)
    if len(parts) == 1 and not _is_several(value):
        return {parts[0]: _checked_warmup(name, value) if parts[0] == "warmup" else value}
    places = tuple_places(entry, name)
    shown = " and ".join(place for place in places if place)
    if not _is_several(value):
        raise ValueProblem(f"it stands for {shown}; give those, or one value for each")
    if isinstance(value, AbstractSet):
        raise ValueProblem(f"a set has no order; write {shown} as a tuple")
    values = list(value) if isinstance(value, Iterable) else []
    hidden = _hidden_value(entry, name)
    if places[-1:] == ("",) and len(values) == len(places) and values[-1] == hidden:
        values.pop()
    wanted = [place for place in places if place]
    if len(values) != len(wanted):
        raise ValueProblem(f"{entry.key} takes {shown} here, which is {len(wanted)} and not {len(values)} values")
    return dict(zip(wanted, values, strict=True))


def read_several(text: str) -> list[str] | None:
    """Return the parts of a text such as `(0.9, 0.99)` or `0.9,0.99`; None where it holds a single value.

    >>> read_several("(0.9, 0.99)"), read_several("0.9 0.99"), read_several("0.9")
    (['0.9', '0.99'], ['0.9', '0.99'], None)
    """
    inner = text.strip()
    if inner[:1] in "([" and inner[-1:] in ")]":
        inner = inner[1:-1]
    parts = [part.strip() for part in re.split(r"\s*,\s*|\s+", inner.strip()) if part.strip()]
    return parts if len(parts) > 1 else None


def in_brackets(text: str) -> bool:
    """Return whether a text is written as one tuple or list."""
    word = text.strip()
    return word[:1] in {"(", "["} and word[-1:] in {")", "]"}


def renamed(entry: OptimizerSpec, changes: Mapping[str, object]) -> tuple[dict[str, object], list[Fault]]:
    """Return values by the names of the options, and the faults of those that could not be read.

    A name that means nothing here stays, so that the caller tells it.
    """
    known = {"lr", *TRAINING, *(use.name for use in entry.uses)}
    values: dict[str, object] = {}
    faults: list[Fault] = []
    givers: dict[str, str] = {}
    for name, value in changes.items():
        places = tuple_places(entry, name)
        if not places or (name in known and (len(places) == 1 or not _is_several(value))):
            taken = {name: value}
        else:
            try:
                taken = spread(entry, name, _typed(entry, name, value))
            except ValueProblem as problem:
                faults.append(Fault(name, value, str(problem), ""))
                continue
        for option, part in taken.items():
            if option in givers:
                other = givers[option] if givers[option] != option else name
                faults.append(Fault(name, value, f"{option} is also given as {other}", "", "Give it once."))
                continue
            givers[option] = name
            values[option] = part
    return values, faults


def is_option_somewhere(entry: OptimizerSpec, name: str) -> bool:
    """Return whether a name is an option of this optimizer, or of any in the catalogue, by its own or its package's name.

    >>> is_option_somewhere(spec("ADAMW"), "d_coef"), is_option_somewhere(spec("ADAMW"), "comment")
    (True, False)
    """
    return bool(option_places(entry, name)) or name in _NEAR or name in _arguments() or name in _all_options()


def explain_option(entry: OptimizerSpec, name: str) -> str:
    """Explain what to do with a name that is no option of an optimizer; empty where nothing is known about it.

    >>> explain_option(spec("TIGER"), "betas"), explain_option(spec("ADAM"), "momentum")
    ('Did you mean beta1?', 'Did you mean beta1?')
    """
    for hidden in entry.hidden:
        if split_argument(hidden.argument)[0] == name:
            return f"{entry.package} has it, and it is not shown here: {hidden.reason}."
    names = {"lr", *(use.name for use in entry.uses)}
    near = [own for own in (*sorted(_arguments().get(name, ())), *_NEAR.get(name, ())) if own in names]
    near = list(dict.fromkeys(near))
    return f"Did you mean {' or '.join(near)}?" if near else ""


def taken_words(entry: OptimizerSpec, name: str) -> str:
    """Describe as what a name was taken: "betas is taken as beta1 and beta2"."""
    return f"{name} is taken as {' and '.join(part for part in tuple_places(entry, name) if part)}"


def _of_argument(entry: OptimizerSpec, name: str) -> tuple[str, ...]:
    """Return the options that an argument of the constructor is made of, in the order of a tuple."""
    uses: dict[int, str] = {}
    for use in (entry.lr, *entry.uses):
        if use.argument and split_argument(use.argument)[0] == name:
            uses[split_argument(use.argument)[1] or 0] = use.name
    for hidden in entry.hidden:
        base, index = split_argument(hidden.argument)
        if base == name and index is not None and uses:
            uses[index] = ""
    return tuple(uses[index] for index in sorted(uses))


def _hidden_value(entry: OptimizerSpec, name: str) -> object:
    """Return the value that is passed for the last part of a tuple argument, where it is not shown."""
    return next((h.value for h in entry.hidden if split_argument(h.argument)[0] == name), None)


@cache
def _arguments() -> Mapping[str, frozenset[str]]:
    """Return, for each argument of any constructor in the catalogue, the options that it sets there."""
    names: dict[str, set[str]] = {}
    for key in list_optimizers():
        for use in spec(key).uses:
            if use.argument:
                names.setdefault(split_argument(use.argument)[0], set()).add(use.name)
    return {name: frozenset(options) for name, options in names.items()}


@cache
def _all_options() -> frozenset[str]:
    """Return the names of all options in the catalogue."""
    return frozenset(use.name for key in list_optimizers() for use in spec(key).uses)


def _typed(entry: OptimizerSpec, name: str, value: object) -> object:
    """Return a value with its texts read, where it is written as in a command line: `"(0.9, 0.99)"`."""
    if not isinstance(value, str) or len(tuple_places(entry, name)) < 2:
        return value
    parts = read_several(value)
    if parts is None:
        return value
    uses = [_use(entry, place) for place in tuple_places(entry, name)]
    read = [use.option.parse(part) if use else _number(part) for use, part in zip(uses, parts, strict=False)]
    return [*read, *parts[len(uses) :]]


def _number(text: str) -> float:
    number = number_or_none(text)
    if number is None:
        raise ValueProblem(f"{safe_repr(text)} is not a number")
    return number


def _use(entry: OptimizerSpec, name: str) -> Use | None:
    return entry.use(name) if name else None


def _is_several(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _checked_warmup(name: str, value: object) -> object:
    """Return a warm-up that is a number of steps elsewhere, and a fraction of the run up to 1 here.

    Raises:
        ValueProblem: it means something else here.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return value
    number = float(value)
    if name.endswith("steps") and number == 1 and not name.startswith("learning_rate"):
        raise ValueProblem("one step cannot be said here, since a warmup up to 1 is a fraction of the run; use 0 or 2")
    if name.endswith("ratio") and number > 1:
        raise ValueProblem(f"{safe_repr(value)} is more than the whole run; warmup above 1 is a number of steps")
    return value
