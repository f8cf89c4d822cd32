"""Settings: one optimizer with its learning rate, schedule and options, frozen and validated."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from diffopt_widgets.catalogue import is_path, list_optimizers, spec
from diffopt_widgets.catalogue.names import explain_name, meant_by
from diffopt_widgets.catalogue.schedules import TRAINING, TRAINING_DEFAULTS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Rule, Values, no_values
from diffopt_widgets.catalogue.values import Value, ValueProblem, format_value, shorten
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings.faults import Fault, SettingsError, kind_of
from diffopt_widgets.settings.own_names import explain_option, renamed

FORMAT = 1
"""Version of the JSON that `Settings.to_json` writes."""
LONGEST_TEXT = 200_000
"""Most characters of a text with settings, so that no text costs more time or memory than it is worth."""
MOST_OPTIONS = 300
"""Most names in such a text; no optimizer has a third of that."""


@printed_readably
@dataclass(frozen=True, init=False, eq=True, repr=False)
class Settings:
    """An optimizer, its learning rate, its schedule and its options.

    Values that are not given take the back end's own defaults. All faults are reported at once.

    Args:
        optimizer: one of `list_optimizers()`, or the name of its class or in another trainer (`"AdamW8bit"`); or a class, or
            its import path (`"torch.optim:RAdam"`), in the catalogue or not; or a spec.
        lr: learning rate; None takes the back end's default.
        schedule, warmup, cycles, min_factor, lr_scaler: see `catalogue.schedules.TRAINING_OPTIONS`.
        options: the optimizer's own options by name. The names of its package are taken too: `betas=(0.9, 0.99)` sets beta1
            and beta2.

    Raises:
        SettingsError: with one `Fault` for each thing that is wrong.

    >>> s = Settings("PRODIGY", lr=1.0, schedule="COSINE", d_coef=0.5)
    >>> s.options["d_coef"], s.replace(d_coef=1.2).options["d_coef"]
    (0.5, 1.2)
    >>> Settings("PRODIGY", d_coef=-1)
    Traceback (most recent call last):
    ...
    diffopt_widgets.settings.faults.SettingsError: d_coef = -1: must be above 0.
    """

    optimizer: str
    lr: float
    schedule: str
    warmup: float
    cycles: float
    min_factor: float
    lr_scaler: str
    options: Mapping[str, Value]
    _spec: OptimizerSpec = field(compare=False)

    def __init__(
        self,
        /,  # an option may be named `self`: it is refused as unknown, like any other
        optimizer: str | type | OptimizerSpec,
        lr: float | None = None,
        schedule: str = "CONSTANT",
        warmup: float = 0.0,
        cycles: float = 1.0,
        min_factor: float = 0.0,
        lr_scaler: str = "NONE",
        **options: Value | Sequence[float],
    ) -> None:
        entry, meant = _find(optimizer)
        given = {
            "schedule": schedule,
            "warmup": warmup,
            "cycles": cycles,
            "min_factor": min_factor,
            "lr_scaler": lr_scaler,
        }
        changes: dict[str, object] = {
            **_besides(meant, entry, options),
            **{name: value for name, value in given.items() if _is_given(value, TRAINING_DEFAULTS[name])},
            **options,
        }
        if lr is not None:
            changes["lr"] = lr
        values, faults = check_values(entry, changes)
        if faults:
            raise SettingsError(faults)
        own = {use.name: values[use.name] for use in entry.uses}
        object.__setattr__(self, "optimizer", entry.key)
        object.__setattr__(self, "_spec", entry)
        object.__setattr__(self, "lr", values["lr"])
        for name in TRAINING_DEFAULTS:
            object.__setattr__(self, name, values[name])
        object.__setattr__(self, "options", MappingProxyType(own))

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:
        return (Settings._read, (self.to_json(), True))  # pickle imports a class by its name itself

    def __repr__(self) -> str:
        changed = "".join(f", {name}={_literal(value)}" for name, value in self.changed().items() if name != "lr")
        return f"Settings({self.optimizer!r}, lr={_literal(self.lr)}{changed})"

    @property
    def spec(self) -> OptimizerSpec:
        """The optimizer's spec as it was when these settings were made: a class in a notebook may be defined again."""
        return self._spec

    def values(self) -> dict[str, Value]:
        """Return every value by name: learning rate, schedule and the optimizer's options."""
        training: dict[str, Value] = {name: getattr(self, name) for name in TRAINING_DEFAULTS}
        return {"lr": self.lr, **training, **self.options}

    def changed(self) -> dict[str, Value]:
        """Return the values that differ from the back end's defaults."""
        defaults = default_values(self.spec)
        return {name: value for name, value in self.values().items() if value != defaults[name]}

    def replace(
        self, /, optimizer: str | type | OptimizerSpec | None = None, **changes: Value | Sequence[float]
    ) -> Settings:
        """Return a copy with some values changed.

        With another `optimizer`, the learning rate and the options start from its defaults; the schedule stays.
        """
        entry, meant = (self.spec, no_values()) if optimizer is None else _find(optimizer)
        values: dict[str, Any] = self.values()
        if entry.key != self.optimizer:
            values = {name: values[name] for name in TRAINING_DEFAULTS}
        changed, faults = renamed(entry, {**_besides(meant, entry, changes), **changes})
        if faults:
            raise SettingsError(tuple(faults))
        return Settings(entry.key, **{**values, **changed})

    def warnings(self, run: Values | None = None) -> tuple[Rule, ...]:
        """Return the broken rules about values that are valid but probably not meant, or for which a run is refused.

        Args:
            run: facts about the run from `training.environment`; without them, only rules that are broken in every run.
        """
        values = {**self.values(), **(run or {})}
        return tuple(rule for rule in self.spec.rules if rule.severity != "error" and rule.broken(values))

    def to_json(self) -> str:
        """Return JSON with every value written out; infinity is the string "inf"."""
        values = {name: _to_plain(value) for name, value in self.values().items()}
        training = {name: values.pop(name) for name in ("lr", *TRAINING_DEFAULTS)}
        return json.dumps({"format": FORMAT, "optimizer": self.optimizer, **training, "options": values})

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read the text that `to_json` wrote, which may come from anywhere: nothing is imported because the text names it.

        Raises:
            SettingsError: the text is not such JSON, comes from a newer version, holds values that cannot be used, or names a
                class outside the catalogue whose module is not imported.
        """
        return cls._read(text, False)

    @classmethod
    def _read(cls, text: str, trusted: bool) -> Settings:
        if isinstance(text, str) and len(text) > LONGEST_TEXT:
            raise _unreadable(f"it has {len(text):,} characters, and settings have at most {LONGEST_TEXT:,}")
        try:
            data = json.loads(text)
        except (TypeError, ValueError, RecursionError):
            raise _unreadable("it is not JSON") from None
        if not isinstance(data, dict) or not isinstance(data.get("optimizer"), str):
            raise _unreadable("it names no optimizer")
        version = data.pop("format", FORMAT)
        if version != FORMAT:
            todo = "Update diffopt_widgets, or write the settings again with this version."
            raise _unreadable(f"it has format {shorten(repr(version))}, and this version reads format {FORMAT}", todo)
        options = data.pop("options", {})
        if not isinstance(options, dict):
            raise _unreadable("its options are not an object of names and values")
        if len(data) + len(options) > MOST_OPTIONS:
            raise _unreadable(f"it has {len(data) + len(options):,} names, and settings have at most {MOST_OPTIONS}")
        optimizer = data.pop("optimizer")
        if not trusted:
            _check_trusted(optimizer)
        if "optimizer" in options:
            raise _unreadable("optimizer is among the options", "Remove it from the options.")
        texts = {use.name for use in _find(optimizer)[0].uses if use.option.kind == "text"}
        plain = {**data, **options}
        return cls(optimizer, **{n: value if n in texts else _from_plain(value) for n, value in plain.items()})


def _check_trusted(optimizer: str) -> None:
    """Refuse the import path of a module that is not imported here, which may do anything when it is."""
    from diffopt_widgets.catalogue.introspect.uncatalogued import is_trusted

    meant = meant_by(optimizer)
    if meant is not None and is_path(meant.key) and not is_trusted(meant.key):
        module = shorten(meant.key.partition(":")[0])
        problem = f"its optimizer is a class of {module}, which is not imported here"
        raise _unreadable(problem, f"If you know that module, import {module} first.")


def preset(optimizer: str, key: str) -> Settings:
    """Return the settings of a preset, such as `preset("ADAFACTOR", "adaptive")`.

    Raises:
        SettingsError: there is no such optimizer or preset.
    """
    entry, meant = _find(optimizer)
    if not isinstance(key, str):
        problem = "the key of a preset is wanted"
        raise SettingsError((Fault("key", key, problem, ", ".join(preset.key for preset in entry.presets)),))
    try:
        values: dict[str, Any] = {**entry.preset(key).values, **meant}
    except KeyError:
        keys = [preset.key for preset in entry.presets]
        fault = _missing("preset", key, f"{entry.key} has no such preset", key.lower(), keys)
        raise SettingsError((fault,)) from None
    return Settings(entry.key, **values)


def default_values(entry: OptimizerSpec) -> dict[str, Value]:
    """Return the back end's default of every value by name, with a constant schedule."""
    return {"lr": entry.lr.default, **TRAINING_DEFAULTS, **{use.name: use.default for use in entry.uses}}


def check_values(entry: OptimizerSpec, changes: Mapping[str, object]) -> tuple[dict[str, Value], tuple[Fault, ...]]:
    """Check values against the catalogue, without raising.

    Returns:
        Every value by name (a faulty or missing one at its default), and the faults. Rules are checked only when each
        value is valid by itself.
    """
    values = default_values(entry)
    own, faults = renamed(entry, changes)
    for name, value in own.items():
        if name not in values:
            faults.append(_unknown(entry, name, value))
            continue
        use = TRAINING[name] if name in TRAINING else entry.use(name)
        try:
            values[name] = use.check(value)
        except ValueProblem as problem:
            faults.append(Fault.of(name, value, problem, use.allowed()))
    if not faults:
        faults = [
            Fault.broken(rule, values) for rule in entry.rules if rule.severity == "error" and rule.broken(values)
        ]
    return values, tuple(faults)


def as_settings(value: object, argument: str = "settings") -> Settings:
    """Return settings, or the default ones of an optimizer that is named where settings are wanted.

    Args:
        value: settings, or whatever `Settings` takes as its optimizer.
        argument: name of the function's argument, for the message.

    Raises:
        SettingsError: it is neither, or names no optimizer.

    >>> as_settings("PRODIGY")
    Settings('PRODIGY', lr=1.0)
    """
    if isinstance(value, Settings):
        return value
    if isinstance(value, str | type | OptimizerSpec):
        return Settings(value)
    inner = getattr(value, "settings", None)
    hint = "; give its .settings" if isinstance(inner, Settings) else ""
    problem = f"settings are wanted, and this is {kind_of(value)}{hint}"
    raise SettingsError((Fault(argument, None, problem, "", 'Write dw.Settings("PRODIGY", lr=1.0), or "PRODIGY".'),))


def _find(optimizer: object) -> tuple[OptimizerSpec, Values]:
    """Return the spec of an optimizer and the options that its name sets."""
    if isinstance(optimizer, OptimizerSpec):
        return _current(optimizer), no_values()
    if isinstance(optimizer, type):
        return _spec_of_class(optimizer), no_values()
    if not isinstance(optimizer, str):
        problem = f"the name of an optimizer is wanted, and this is {kind_of(optimizer)}"
        raise SettingsError((Fault("optimizer", None, problem, "", f"Write one of {', '.join(list_optimizers())}."),))
    meant = meant_by(optimizer)
    if meant is None:
        hint = explain_name(optimizer)
        allowed = "" if hint else ", ".join(list_optimizers())
        raise SettingsError((Fault("optimizer", optimizer, "there is no such optimizer", allowed, hint),))
    try:
        return spec(meant.key), meant.values
    except KeyError as error:
        raise SettingsError((Fault("optimizer", optimizer, str(error.args[0]), ""),)) from None


def _is_given(value: object, default: Value) -> bool:
    """Return whether an argument is not at its default; another type than the default's is never equal to it."""
    return type(value) is not type(default) or value != default


def _spec_of_class(cls: type) -> OptimizerSpec:
    from diffopt_widgets.catalogue.introspect.uncatalogued import spec_of

    try:
        return spec_of(cls)
    except TypeError as error:
        raise SettingsError((Fault("optimizer", None, str(error), ""),)) from None


def _besides(meant: Values, entry: OptimizerSpec, given: Mapping[str, object]) -> Values:
    """Return the options that the optimizer's name sets and that are not given otherwise."""
    return {name: value for name, value in meant.items() if name not in renamed(entry, given)[0]}


def _current(entry: OptimizerSpec) -> OptimizerSpec:
    """Return the spec if its key leads to it: everything else looks it up by the key."""
    if _find(entry.key)[0] is not entry:
        problem = "this spec is not the one of its key, because it was changed or its class was defined again"
        raise SettingsError((Fault("optimizer", entry.key, problem, "", "Call spec() or spec_of() again."),))
    return entry


def _unknown(entry: OptimizerSpec, name: str, value: object) -> Fault:
    if hint := explain_option(entry, name):
        return Fault(shorten(name), value, f"{entry.key} has no such option", "", hint)
    names = ["lr", *TRAINING_DEFAULTS, *(use.name for use in entry.uses)]
    return _missing(shorten(name), value, f"{entry.key} has no such option", name, names, "Remove it.")


def _missing(option: str, value: object, problem: str, word: str, names: Sequence[str], todo: str = "") -> Fault:
    """Make the fault of a name that does not exist; it names the one that was probably meant, or else all that exist."""
    guess = _did_you_mean(word, names)
    return Fault(option, value, problem, "", guess) if guess else Fault(option, value, problem, ", ".join(names), todo)


def _did_you_mean(word: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, names, n=1)
    return f"Did you mean {close[0]}?" if close else ""


def _unreadable(problem: str, todo: str = "Pass the text that to_json() returned.") -> SettingsError:
    return SettingsError((Fault("settings", None, f"the text cannot be read: {problem}", "", todo),))


def _literal(value: Value) -> str:
    if isinstance(value, float) and abs(value) >= 1e6:
        text = format_value(value)
        return 'float("inf")' if math.isinf(value) else text if "e" in text else repr(value)
    return repr(value)


def _to_plain(value: Value) -> Value:
    return format_value(value) if isinstance(value, float) and math.isinf(value) else value


def _from_plain(value: Any) -> Any:  # Any: the JSON may hold anything; Settings checks it
    return float("inf") if value == "inf" else value
