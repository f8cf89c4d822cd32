"""Types of the catalogue: the use of an option by an optimizer, rules between options, and optimizers.

Plain frozen data. Every other part of the package (panel, command line, exports, docs, tests) reads it from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.tables import Tabular, frame_of, text_table
from diffopt_widgets.catalogue.values import Interval, OutOfRange, Value, ValueProblem, format_value, safe_repr
from diffopt_widgets.plain_text import printed_readably

if TYPE_CHECKING:
    import pandas as pd

Values: TypeAlias = Mapping[str, Value]
"""All values of one Settings by name: `lr`, `schedule`, `warmup`, …, and the optimizer's own options."""


def no_values() -> Values:
    """Return an empty, read-only mapping, for the default of a field."""
    return MappingProxyType({})


class Standing(Enum):
    """Effect of an option for one optimizer, as seen in the installed back end."""

    LIVE = "live"
    INERT = "inert"  # accepted, changes nothing
    UNAVAILABLE = "unavailable"  # the back end does not take it, or raises
    UNCATALOGUED = "uncatalogued"  # not examined: only the signature and the docstring are known


_STANDINGS = {
    Standing.LIVE: "works",
    Standing.INERT: "changes nothing",
    Standing.UNAVAILABLE: "not available",
    Standing.UNCATALOGUED: "not examined",
}
"""Standing of an option in words."""

REQUIREMENTS = {
    "cuda": "an NVIDIA GPU",
    "distributed": "training in several processes",
    "compiler": "a compiler that torch can use",
    "bfloat16": "weights in bfloat16",
}
"""Requirements by their key in `Use.requires`, as they are named in a sentence."""


@dataclass(frozen=True, slots=True)
class When:
    """Condition on another option, with the text that explains it beside a greyed control."""

    option: str
    test: Literal["==", "!=", ">"]
    value: Value

    def holds(self, values: Values) -> bool:
        """Check whether the condition holds for these values."""
        actual = values.get(self.option)
        if self.test == "==":
            return actual == self.value
        if self.test == "!=":
            return actual != self.value
        return isinstance(actual, int | float) and isinstance(self.value, int | float) and actual > self.value

    def words(self) -> str:
        """Describe when the control is active: "only with weight_decay above 0"."""
        if self.value is None:
            return f"only with {self.option} {'left empty' if self.test == '==' else 'set'}"
        if isinstance(self.value, bool):
            on = self.value if self.test == "==" else not self.value
            return f"only with {self.option} {'on' if on else 'off'}"
        relation = {"==": "at", "!=": "other than", ">": "above"}[self.test]
        return f"only with {self.option} {relation} {format_value(self.value)}"


@printed_readably
@dataclass(frozen=True, slots=True)
class Use:
    """Use of an option by one optimizer.

    `argument` is the constructor's argument for it: `"eps"`, `"betas[0]"`. It is None when the option is not passed on,
    because it is unavailable or is done around the step by `optimizers.adapters`.
    """

    option: Option
    default: Value
    argument: str | None
    note: str = ""
    """Extra sentence where the meaning differs for this optimizer."""
    enabled_if: When | None = None
    standing: Standing = Standing.LIVE
    reason: str = ""
    """Reason why it is inert or unavailable, and what would change that."""
    requires: Literal["", "cuda", "distributed", "compiler", "bfloat16"] = ""
    """Requirement of every value other than the default; where it is not met, such a value is refused, or does nothing."""
    idle: bool = False
    """True when a value whose requirement is not met does nothing, and so is not refused."""
    only_in: Literal["", "bfloat16"] = ""
    """Precision of the weights outside which the option has no effect; empty when it acts in every precision."""
    advice: Advice | None = None
    domain: Interval | None = None
    """Narrower domain than the option's own, for this optimizer."""
    fixed: bool = False
    """True when `default` is this package's, because the back end has none or raises at its own; `note` explains it."""
    draws: Literal["", "torch", "package"] = ""
    """Generator of the random numbers that a step uses while the option is on: torch's global one or the package's own."""
    by_groups: bool = False
    """True when it takes effect through the parameter groups built for the back end, and not as an argument."""
    section: str = ""
    """Section of the form that it belongs to, such as "Auxiliary Adam"; empty for the form itself."""

    @property
    def name(self) -> str:
        """Name of the option."""
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
        """Describe the allowed values."""
        if self.standing is Standing.UNAVAILABLE:
            return f"{format_value(self.default)} only"
        option = self.option if self.domain is None else replace(self.option, domain=self.domain)
        return option.allowed()


@printed_readably
@dataclass(frozen=True, slots=True)
class Rule:
    """Constraint between options, with advice to the user and the fix to offer.

    A condition may also read what `training.environment` reports of a run; a value that is absent there is unknown.
    """

    id: str
    options: tuple[str, ...]
    """Options whose controls are marked."""
    broken: Callable[[Values], bool]
    message: str
    fix: Values = field(default_factory=no_values)
    severity: Literal["error", "refused", "warning"] = "error"
    """Severity: the settings are wrong; they are right, but this bench refuses to run them here; or they are probably a mistake."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Advice after a run diverged, for optimizers with better means than a lower learning rate."""

    applies: Callable[[Values], bool]
    cause: str
    """Cause of the divergence, such as "The estimated rate is too high"."""
    advice: str
    """Advice to try; `{name}` stands for the new value of an option."""
    values: Callable[[Values], Values]
    """Values to set, computed from those of the run."""
    ignores_lr: bool = False
    """True when the learning rate has no effect where the remedy applies, so that it cannot have been too high."""
    any_rate: bool = False
    """True when it is needed whatever the learning rate is; one that is far too high is then lowered as well."""


@printed_readably
@dataclass(frozen=True, slots=True)
class Preset:
    """Named set of values. All other options take the back end's own default."""

    key: str
    title: str
    values: Mapping[str, Value]
    why: str = ""


@printed_readably
@dataclass(frozen=True, slots=True)
class Hidden:
    """Argument of the back end that the panel does not show, with the reason."""

    argument: str
    reason: str
    value: Value = None
    """Value passed for it; None when it is not passed at all. `"torch.float32"` stands for the dtype."""


@printed_readably
@dataclass(frozen=True, slots=True)
class Link:
    """Link to a paper or to code."""

    title: str
    url: str


@printed_readably
@dataclass(frozen=True, slots=True, eq=False, repr=False)  # there is one of each: the same spec is the same object
class OptimizerSpec(Tabular):
    """Description of one optimizer: its idea, its options, and the reader of the rate that it applies.

    It prints as a table of its options.
    """

    key: str
    title: str
    family: str
    summary: str
    """Idea of the optimizer in one or two sentences."""
    formula: str
    """Update in LaTeX."""
    links: tuple[Link, ...]
    target: str
    """Import path of the class, which is imported late: `"prodigyopt:Prodigy"`."""
    package: str
    """Distribution that has it, by the name that pip uses."""
    lr: Use
    uses: tuple[Use, ...]
    presets: tuple[Preset, ...]
    rules: tuple[Rule, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    """Remedies after a run diverged; the first that applies is shown, or a lower learning rate where none does."""
    hidden: tuple[Hidden, ...] = ()
    rate: str = "base:RateReader"
    """Reader of the rate that a step applies, as a module of `rates/` and its class: `"per_tensor:Adafactor"`."""
    rate_words: str = "the learning rate as scheduled"
    """Description of the applied rate, for the axis and the docs."""
    estimates_rate: bool = False
    """True when it keeps an estimate d of the rate, which the schedule only scales."""
    raises_at_zero: bool = False
    """True when a step at a learning rate of exactly 0 raises, whatever the options are."""
    state_bits: int = 32
    state_names: tuple[str, ...] = ()
    """Names, in the back end, of the per-parameter state tensors that are stored in `state_bits`."""
    steps_each_tensor: bool = False
    """True when each tensor can be stepped on its own, since no quantity is shared between tensors."""
    has_modes: bool = False
    """True when it has `train()` and `eval()`: it steps in train mode, and eval mode gives the weights to use."""
    catalogued: bool = True
    """True when it is in the catalogue; otherwise `spec_at` has read it from its signature and docstring."""
    rates: Literal["each", "one", "first"] = "each"
    """Support for a learning rate per parameter group: `each` has it; with `one` the step raises at a second rate other than
    0; with `first` all groups use the first group's rate."""
    auxiliary: bool = False
    """True when it steps only hidden matrices, marked by `use_muon`, and leaves all other tensors to an Adam of its own."""

    def __repr__(self) -> str:
        return f"<OptimizerSpec {self.key}: {len(self.uses) + 1} options>"

    def __str__(self) -> str:
        rows = [
            [
                use.name,
                "" if use.default is None else format_value(use.default),
                "yes or no" if use.option.kind == "bool" else use.allowed(),
                "" if use.standing is Standing.LIVE else _STANDINGS[use.standing],
            ]
            for use in (self.lr, *self.uses)
        ]
        presets = f"\npresets: {', '.join(preset.key for preset in self.presets)}" if self.presets else ""
        return f"{self.key}: {self.title}, from {self.package}\n{text_table(['option', 'default', 'allowed', ''], rows)}{presets}"

    def to_frame(self) -> pd.DataFrame:
        """Return the options as a pandas DataFrame, one row for each.

        Raises:
            ImportError: pandas is not installed.
        """
        uses = (self.lr, *self.uses)
        return frame_of(
            {
                "option": [use.name for use in uses],
                "title": [use.option.title for use in uses],
                "default": [use.default for use in uses],
                "allowed": [use.allowed() for use in uses],
                "standing": [_STANDINGS[use.standing] for use in uses],
                "help": [" ".join(part for part in (use.option.help, use.note, use.reason) if part) for use in uses],
            },
            "option",
        )

    def use(self, name: str) -> Use:
        """Return the use of an option by name, `lr` included. Raises KeyError when this optimizer has no such option."""
        for use in (self.lr, *self.uses):
            if use.name == name:
                return use
        names = ", ".join(use.name for use in (self.lr, *self.uses))
        raise KeyError(f"{self.key} has no option {safe_repr(name)}; there are {names}")

    def preset(self, key: str) -> Preset:
        """Return a preset by key. Raises KeyError when there is none."""
        for preset in self.presets:
            if preset.key == key:
                return preset
        keys = ", ".join(preset.key for preset in self.presets)
        raise KeyError(f"{self.key} has no preset {safe_repr(key)}; there are {keys}")

    def asking(self, options: Values) -> tuple[Use, ...]:
        """Return the options that require something and are not at their default."""
        return tuple(use for use in self.uses if use.requires and options[use.name] != use.default)

    def adapter_options(self, options: Values) -> dict[str, Value]:
        """Return the options that are set and that the back end does not take, as arguments of `optimizers.adapters.adapt`."""
        uses = (u for u in self.uses if u.argument is None and not u.by_groups and u.standing is Standing.LIVE)
        values = {use.name: options.get(use.name, use.default) for use in uses}
        return {name: value for name, value in values.items() if value != self.use(name).default}

    def arguments(self, lr: float, options: Values) -> dict[str, object]:
        """Build the keyword arguments for the back end's constructor, with tuples such as `betas` assembled.

        Options that the back end does not take are left out; `Hidden` arguments with a value are included.
        """
        taken = [(use.argument, options.get(use.name, use.default)) for use in self.uses if use.argument is not None]
        taken += [(hidden.argument, hidden.value) for hidden in self.hidden if hidden.value is not None]
        flat: dict[str, object] = {"lr": lr} if self.lr.argument else {}
        tuples: dict[str, dict[int, object]] = {}
        for argument, value in taken:
            name, index = split_argument(argument)
            if index is None:
                flat[name] = value
            else:
                tuples.setdefault(name, {})[index] = value
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
