"""What the catalogue is made of: how an optimizer uses an option, rules between options, and optimizers.

Plain frozen data. Every other part of the package (panel, command line, exports, docs, tests) reads it from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Literal, TypeAlias

from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.values import Interval, OutOfRange, Value, ValueProblem, format_value

Values: TypeAlias = Mapping[str, Value]
"""Every value of one Settings by name: `lr`, `schedule`, `warmup`, …, and the optimizer's own options."""


def no_values() -> Values:
    """An empty mapping that nobody can change, for the default of a field."""
    return MappingProxyType({})


class Standing(Enum):
    """Whether an option does anything for one optimizer, as seen in the installed back end."""

    LIVE = "live"
    INERT = "inert"  # accepted, changes nothing
    UNAVAILABLE = "unavailable"  # the back end does not take it, or raises
    UNCATALOGUED = "uncatalogued"  # nobody has looked: all that is known stands in a signature and a docstring


REQUIREMENTS = {
    "cuda": "an NVIDIA GPU",
    "distributed": "training in several processes",
    "compiler": "a compiler that torch can use",
    "bfloat16": "weights in bfloat16",
}
"""What `Use.requires` names, in words."""


@dataclass(frozen=True, slots=True)
class When:
    """A condition on another option, with the words that explain it beside a greyed control."""

    option: str
    test: Literal["==", "!=", ">"]
    value: Value

    def holds(self, values: Values) -> bool:
        """Whether the condition holds for these values."""
        actual = values.get(self.option)
        if self.test == "==":
            return actual == self.value
        if self.test == "!=":
            return actual != self.value
        return isinstance(actual, int | float) and isinstance(self.value, int | float) and actual > self.value

    def words(self) -> str:
        """Why the control is greyed: "only with weight_decay above 0"."""
        if self.value is None:
            return f"only with {self.option} {'left empty' if self.test == '==' else 'set'}"
        if isinstance(self.value, bool):
            on = self.value if self.test == "==" else not self.value
            return f"only with {self.option} {'on' if on else 'off'}"
        relation = {"==": "at", "!=": "other than", ">": "above"}[self.test]
        return f"only with {self.option} {relation} {format_value(self.value)}"


@dataclass(frozen=True, slots=True)
class Use:
    """How one optimizer takes an option.

    `argument` is where the back end's constructor takes it: `"eps"`, `"betas[0]"`; None when it is not passed on: it is
    unavailable, or done around the step by `training.adapters`.
    """

    option: Option
    default: Value
    argument: str | None
    note: str = ""
    """An extra sentence where the meaning differs for this optimizer."""
    enabled_if: When | None = None
    standing: Standing = Standing.LIVE
    reason: str = ""
    """Why it is inert or unavailable, and what would change that."""
    requires: Literal["", "cuda", "distributed", "compiler", "bfloat16"] = ""
    """What must be there before a value other than the default has an effect; without it, such a value is refused."""
    only_in: Literal["", "bfloat16"] = ""
    """The precision of the weights that alone feel it."""
    advice: Advice | None = None
    domain: Interval | None = None
    """A narrower domain than the option's own, for this optimizer."""
    fixed: bool = False
    """Whether `default` is ours, because the back end has none or raises at its own; `note` says so."""
    draws: Literal["", "torch", "package"] = ""
    """Whose global random numbers a step draws from while it is on: torch's, or those of a generator of its package."""
    by_groups: bool = False
    """Whether it takes effect through the parameter groups that are made for the back end, not as an argument of it."""
    section: str = ""
    """The small form inside the form that it belongs to, such as "Auxiliary Adam"; empty for the form itself."""

    @property
    def name(self) -> str:
        """The option's name."""
        return self.option.name

    def check(self, value: object) -> Value:
        """Return `value` as the option's own type.

        Raises:
            ValueProblem: this optimizer cannot take it.
        """
        checked = self.option.check(value)
        if self.domain is not None and isinstance(checked, int | float) and checked not in self.domain:
            raise OutOfRange(f"{format_value(checked)} is outside the allowed range")
        if self.standing is Standing.UNAVAILABLE and checked != self.default:
            raise ValueProblem(f"not available: {self.reason}")
        return checked

    def allowed(self) -> str:
        """What may be written, in words."""
        if self.standing is Standing.UNAVAILABLE:
            return f"{format_value(self.default)} only"
        return self.domain.words() if self.domain is not None else self.option.allowed()


@dataclass(frozen=True, slots=True)
class Rule:
    """A constraint between options: the sentence that tells the user what to do, and the fix to offer.

    A condition may ask for what `training.environment` knows of a run too; of what is absent there nothing is known.
    """

    id: str
    options: tuple[str, ...]
    """The controls to mark."""
    broken: Callable[[Values], bool]
    message: str
    fix: Values = field(default_factory=no_values)
    severity: Literal["error", "refused", "warning"] = "error"
    """Whether such settings are wrong, are right but a run of the bench with them here is refused, or are hardly meant."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Advice after a run diverged, where an optimizer has better means than a lower learning rate."""

    applies: Callable[[Values], bool]
    cause: str
    """What went wrong, such as "The estimated rate is too high"."""
    advice: str
    """What to try; `{name}` stands for the new value of an option."""
    values: Callable[[Values], Values]
    """The values to set, from those of the run."""
    ignores_lr: bool = False
    """Whether the learning rate does nothing where it applies, so that none can have been too high."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values. What it does not name is the back end's own default."""

    key: str
    title: str
    values: Mapping[str, Value]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Hidden:
    """An argument of the back end that the panel does not show, with the reason."""

    argument: str
    reason: str
    value: Value = None
    """What is passed for it; not passed at all when None. `"torch.float32"` stands for the dtype."""


@dataclass(frozen=True, slots=True)
class Link:
    """A paper or code that a reader can follow."""

    title: str
    url: str


@dataclass(frozen=True, slots=True, eq=False)  # there is one of each: the same spec is the same object
class OptimizerSpec:
    """One optimizer: what it is, which options it takes, and how to read the rate that it applies."""

    key: str
    title: str
    family: str
    summary: str
    """Its idea in one or two sentences."""
    formula: str
    """The update in LaTeX."""
    links: tuple[Link, ...]
    target: str
    """The class, imported late: `"prodigyopt:Prodigy"`."""
    package: str
    """The distribution that has it, as pip knows it."""
    lr: Use
    uses: tuple[Use, ...]
    presets: tuple[Preset, ...]
    rules: tuple[Rule, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    """Tried after a run diverged, the first that applies; where none does, a lower learning rate."""
    hidden: tuple[Hidden, ...] = ()
    rate: str = "base:RateReader"
    """The reader that knows the rate that a step applies, as a module of `rates/` and its class: `"per_tensor:Adafactor"`."""
    rate_words: str = "the learning rate as scheduled"
    """What the applied rate is, in words, for the axis and the docs."""
    estimates_rate: bool = False
    """Whether it keeps an estimate d of the rate, which the schedule only scales."""
    raises_at_zero: bool = False
    """Whether a step at a learning rate of exactly 0 raises, whatever the options."""
    state_bits: int = 32
    state_names: tuple[str, ...] = ()
    """The per-parameter state tensors that are kept in `state_bits`, by the back end's names."""
    steps_each_tensor: bool = False
    """Whether each tensor can be stepped on its own (no quantity is shared between tensors)."""
    has_modes: bool = False
    """Whether it has `train()` and `eval()`: it steps in the one, and the other gives the weights to use."""
    catalogued: bool = True
    """Whether somebody has looked into it; otherwise `spec_of` has read it from its signature and docstring."""
    rates: Literal["each", "one", "first"] = "each"
    """Whether each parameter group may have a learning rate of its own: with `one` a second rate other than 0 raises in the
    step, with `first` the first group's is taken for all."""
    auxiliary: bool = False
    """Whether it steps hidden matrices only and leaves all other tensors to an Adam of its own, told by `use_muon`."""

    def use(self, name: str) -> Use:
        """The use of one option by name (`lr` included). Raises KeyError when this optimizer has no such option."""
        for use in (self.lr, *self.uses):
            if use.name == name:
                return use
        raise KeyError(name)

    def preset(self, key: str) -> Preset:
        """One preset by key. Raises KeyError when there is none."""
        for preset in self.presets:
            if preset.key == key:
                return preset
        raise KeyError(key)

    def asking(self, options: Values) -> tuple[Use, ...]:
        """The options that need something and are not at their default."""
        return tuple(use for use in self.uses if use.requires and options[use.name] != use.default)

    def adapted(self, options: Values) -> dict[str, Value]:
        """The options that the back end does not take and that are set: the arguments of `training.adapters.adapt`."""
        ours = (u for u in self.uses if u.argument is None and not u.by_groups and u.standing is Standing.LIVE)
        values = {use.name: options.get(use.name, use.default) for use in ours}
        return {name: value for name, value in values.items() if value != self.use(name).default}

    def arguments(self, lr: float, options: Values) -> dict[str, object]:
        """The keyword arguments for the back end's constructor, tuples such as `betas` put together.

        Only what the back end takes is passed; `Hidden` arguments with a value are included.
        """
        flat: dict[str, object] = {"lr": lr} if self.lr.argument else {}
        tuples: dict[str, dict[int, object]] = {}
        for use in self.uses:
            if use.argument is None:
                continue
            name, index = split_argument(use.argument)
            value = options.get(use.name, use.default)
            if index is None:
                flat[name] = value
            else:
                tuples.setdefault(name, {})[index] = value
        for hidden in self.hidden:
            if hidden.value is None:
                continue
            name, index = split_argument(hidden.argument)
            if index is None:
                flat[name] = hidden.value
            else:
                tuples.setdefault(name, {})[index] = hidden.value
        for name, parts in tuples.items():
            flat[name] = tuple(parts[index] for index in sorted(parts))
        return flat


_ARGUMENT = re.compile(r"(\w+)(?:\[(\d+)\])?")


def split_argument(argument: str) -> tuple[str, int | None]:
    """Split a keyword path: `"betas[1]"` gives `("betas", 1)`, `"eps"` gives `("eps", None)`."""
    match = _ARGUMENT.fullmatch(argument)
    if match is None:
        raise ValueError(f"{argument!r} is not an argument path such as 'eps' or 'betas[0]'")
    name, index = match.groups()
    return name, None if index is None else int(index)


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """One learning-rate schedule.

    `factor(progress, cycles)` gives the factor on the learning rate, before the minimum factor is applied; `progress`
    runs from 0 (end of warm-up) to 1 (end of the run).
    """

    key: str
    title: str
    summary: str
    formula: str
    factor: Callable[[float, float], float]
    uses_cycles: bool = False
    uses_min_factor: bool = True
