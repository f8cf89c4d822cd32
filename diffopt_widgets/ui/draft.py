"""What a person has typed into the form, as plain data: no widgets here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from diffopt_widgets.catalogue import is_path, spec
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING_DEFAULTS, TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Rule, Standing, Use, Values
from diffopt_widgets.catalogue.values import Value, ValueProblem, format_value
from diffopt_widgets.plan import accumulation_fault
from diffopt_widgets.settings import Fault, Settings, check_values, default_values, ended
from diffopt_widgets.training.surroundings import surroundings
from diffopt_widgets.ui.starts import first_valid, valid_settings

Texts = Mapping[str, str]
TRAINING = {option.name: option for option in TRAINING_OPTIONS}
START = "PRODIGY"
"""The optimizer that is shown when none is named."""


def text_of(value: Value) -> str:
    """How a control shows a value: as typed by the shortest way, empty for None.

    >>> text_of(1e-5), text_of(None), text_of(True)
    ('1e-5', '', 'true')
    """
    return "" if value is None else format_value(value)


@dataclass(frozen=True, eq=False)
class Draft:
    """The texts in the controls, and what follows from them.

    The learning rate and the optimizer's options are remembered for each optimizer. Schedule, warm-up, cycles, minimum
    factor and scaler are shared: they belong to the run, and stay when one compares optimizers.

    Nothing here raises for a text, whatever it is: a wrong one becomes an entry of `errors`, and `last_good` keeps the
    last value that was right.

    >>> draft = Draft.begin("PRODIGY").type("d_coef", "0.5").type("beta1", "1,0")
    >>> draft.errors
    {'beta1': "'1,0' is not a number (write a point, not a comma); write 0.9 or 1e-4. Allowed: from 0 to below 1."}
    >>> draft.last_good
    Settings('PRODIGY', lr=1.0, d_coef=0.5)
    """

    last_good: Settings
    """What the controls say, with the last right value wherever a text is wrong; always valid."""
    optimizer: str
    own: Mapping[str, Texts]
    """By optimizer: what was typed for its learning rate and options. What is absent is at its default."""
    shared: Texts
    """What was typed for the training options."""
    good: Mapping[str, Settings]
    """By optimizer: its last valid settings."""
    accumulation: int = 1
    """Batches per step of the run that is planned, which not every option goes with."""
    device: str = "auto"
    """Where the run that is planned would be, which not every option works on."""
    dtype: str = "float32"
    """Precision of that run's weights; some options are for one alone."""

    @classmethod
    def begin(cls, settings: Settings | str) -> Draft:
        """A draft that shows some settings, or the defaults of an optimizer.

        Raises:
            SettingsError: there is no such optimizer.
        """
        if isinstance(settings, str):
            try:
                found = spec(settings)
            except KeyError:
                found = Settings(settings).spec  # raises, and says which there are
            settings = first_valid(found) or Settings(settings)
        return cls(settings, settings.optimizer, {}, {}, {}).show(settings)

    @classmethod
    def recall(cls, optimizer: str, own: Mapping[str, Texts], shared: Texts) -> Draft:
        """A draft in which these texts are typed, whatever they say.

        Raises:
            KeyError: there is no such optimizer.
        """
        return replace(cls.begin(START), own=own, shared=shared).choose(optimizer)

    @property
    def spec(self) -> OptimizerSpec:
        """The spec of the optimizer that is shown."""
        return spec(self.optimizer)

    @property
    def uncatalogued(self) -> tuple[OptimizerSpec, ...]:
        """The optimizers outside the catalogue that were shown here or have something typed, by name."""
        found = []
        for key in sorted({self.optimizer, *self.own, *self.good}):
            if is_path(key):
                with contextlib.suppress(KeyError):  # a class in a notebook may have been deleted since
                    found.append(spec(key))
        return tuple(found)

    @cached_property
    def texts(self) -> dict[str, str]:
        """The text of every control, in the order of the catalogue."""
        typed = {**self.own.get(self.optimizer, {}), **self.shared}
        return {name: typed.get(name, text_of(value)) for name, value in default_values(self.spec).items()}

    @property
    def values(self) -> dict[str, Value]:
        """The value of every control; the last right one where the text is wrong."""
        return self._read[0]

    @property
    def faults(self) -> dict[str, Fault]:
        """What is wrong, by the control to mark; one fault for each."""
        return self._read[1]

    @cached_property
    def errors(self) -> dict[str, str]:
        """What is wrong, by the control to mark, in words."""
        return {name: _message(fault) for name, fault in self.faults.items()}

    @cached_property
    def warnings(self) -> dict[str, str]:
        """What a run is refused for, or what is probably not meant, by control; none while something is wrong."""
        return {name: rule.message for name, rule in self._warned.items()}

    @cached_property
    def refused(self) -> frozenset[str]:
        """The controls whose values are right and for which a run here is refused."""
        return frozenset(name for name, rule in self._warned.items() if rule.severity == "refused")

    @cached_property
    def mends(self) -> dict[str, Values]:
        """The values that would put an error or a warning right, by control, where there is a single way."""
        offered = [(name, fault.mend) for name, fault in self.faults.items()]
        offered += [(name, rule.mend) for name, rule in self._warned.items()]
        return {name: mend for name, mend in offered if mend}

    @cached_property
    def related(self) -> frozenset[str]:
        """The controls that take part in a clash, beside the one that carries its message."""
        return frozenset(name for rule in self._broken("error") for name in rule.options[1:]) - self.faults.keys()

    @cached_property
    def changed(self) -> frozenset[str]:
        """The controls that are not at the back end's default."""
        defaults = default_values(self.spec)
        faulty = {name for name in self.faults if self.texts[name] != text_of(defaults[name])}
        return frozenset(faulty | {name for name, value in self.values.items() if value != defaults[name]})

    @cached_property
    def greyed(self) -> dict[str, str]:
        """The controls that have no say now, with the reason."""
        schedule = SCHEDULES.get(str(self.values["schedule"]))
        found = {}
        if schedule and not schedule.uses_cycles:
            found["cycles"] = f"the {schedule.title} schedule has no cycles"
        if schedule and not schedule.uses_min_factor:
            found["min_factor"] = f"the {schedule.title} schedule does not fall"
        for use in (self.spec.lr, *self.spec.uses):
            if use.standing is Standing.UNAVAILABLE:
                found[use.name] = f"not available: {use.reason}"
            elif use.enabled_if and not use.enabled_if.holds(self.values):
                found[use.name] = use.enabled_if.words()
        return {name: why for name, why in found.items() if name not in self.faults}

    @property
    def settings(self) -> Settings | None:
        """The settings that the controls say; None while something is wrong."""
        return None if self.faults else self.last_good

    @property
    def presets(self) -> list[str]:
        """The keys of the presets that the controls show; more than one where presets are alike."""
        defaults = default_values(self.spec)
        alike = [preset.key for preset in self.spec.presets if {**defaults, **preset.values} == self.values]
        return [] if self.faults else alike

    def taker(self, name: str) -> Option | Use:
        """What takes the value of one control.

        Raises:
            KeyError: this optimizer has no such control; the message lists those that there are.
        """
        if name not in self.texts:
            raise KeyError(f"{self.optimizer} has no option {name!r}; there are {', '.join(self.texts)}")
        return TRAINING[name] if name in TRAINING else self.spec.use(name)

    def type(self, name: str, text: str) -> Draft:
        """What follows from typing a text into one control."""
        self.taker(name)
        return self.put({name: text})

    def put(self, texts: Texts) -> Draft:
        """What follows from typing into several controls at once; names must be controls of this optimizer."""
        shared = {name: text for name, text in texts.items() if name in TRAINING}
        own = {name: text for name, text in texts.items() if name not in TRAINING}
        mine = {**self.own.get(self.optimizer, {}), **own}
        return _settled(replace(self, own={**self.own, self.optimizer: mine}, shared={**self.shared, **shared}))

    def reset(self, name: str) -> Draft:
        """One control back at the back end's default."""
        self.taker(name)
        return self.put({name: text_of(default_values(self.spec)[name])})

    def advise(self, name: str) -> Draft:
        """One control at its recommended value; unchanged when there is no such value."""
        advice = self.advice(name)
        return self.put({name: text_of(advice.value)}) if advice and not advice.by_mode else self

    def mend(self, name: str) -> Draft:
        """The mend that is offered for one control, done; unchanged when none is."""
        self.taker(name)
        known = {other: value for other, value in self.mends.get(name, {}).items() if other in self.texts}
        return self.put({other: text_of(value) for other, value in known.items()})

    def load(self, preset: str) -> Draft:
        """A preset of this optimizer; what it does not name goes to its default, the schedule too.

        Raises:
            KeyError: there is no such preset.
        """
        values = {**default_values(self.spec), **self.spec.preset(preset).values}
        return self.put({name: text_of(value) for name, value in values.items()})

    def choose(self, optimizer: str) -> Draft:
        """Another optimizer, with what was last typed for it.

        Raises:
            KeyError: there is no such optimizer.
        """
        found = spec(optimizer)
        draft = replace(self, optimizer=found.key)
        if found.key not in self.own:
            start = first_valid(found)
            changed = start.changed() if start else {}
            texts = {name: text_of(value) for name, value in changed.items() if name not in TRAINING}
            draft = replace(draft, own={**self.own, found.key: texts})
        return _settled(draft)

    def show(self, settings: Settings) -> Draft:
        """Some settings in the controls; a text that already says the value is left as it was typed."""
        draft = replace(self, optimizer=settings.optimizer)
        same = {name for name, value in draft.values.items() if settings.values()[name] == value} - draft.faults.keys()
        texts = {name: text_of(value) for name, value in settings.values().items() if name not in same}
        return replace(draft.put(texts), last_good=settings, good={**self.good, settings.optimizer: settings})

    def advice(self, name: str) -> Advice | None:
        """The recommendation for one control, if there is one."""
        taker = self.taker(name)
        return taker.advice if isinstance(taker, Use) else None

    @cached_property
    def _read(self) -> tuple[dict[str, Value], dict[str, Fault]]:
        values, faults = self._defaults_now(), {}
        for name, text in self.texts.items():
            taker = self.taker(name)
            option = taker.option if isinstance(taker, Use) else taker
            try:
                values[name] = taker.check(option.parse(text))
            except ValueProblem as problem:
                faults[name] = Fault.of(name, text, problem, taker.allowed())
        for fault in check_values(self.spec, values)[1]:
            faults.setdefault(fault.option, fault)
        if clash := accumulation_fault(values, self.accumulation):
            faults.setdefault(clash.option, clash)
        return values, faults

    def _defaults_now(self) -> dict[str, Value]:
        """What stands in for a text that is wrong: the last right value."""
        defaults = default_values(self.spec)
        shared = {name: getattr(self.last_good, name) for name in TRAINING_DEFAULTS}
        remembered = self.good[self.optimizer].values() if self.optimizer in self.good else {}
        return {**defaults, **{name: value for name, value in remembered.items() if name in defaults}, **shared}

    @cached_property
    def _warned(self) -> dict[str, Rule]:
        """The rule to tell at each control while nothing is wrong: the first, but one that refuses a run before others."""
        if self.faults:
            return {}
        broken = [*self._broken("refused"), *self._broken("warning")]
        return {rule.options[0]: rule for rule in reversed(broken)}

    def _broken(self, severity: str) -> list[Rule]:
        values = {**self.values, **self._run}
        return [rule for rule in self.spec.rules if rule.severity == severity and rule.broken(values)]

    @cached_property
    def _run(self) -> Values:
        """What is known of the run that is planned; looked up only where an option asks, since torch may be imported for it."""
        return surroundings(self.device, self.dtype) if self.spec.asking(self.values) else {}


def _message(fault: Fault) -> str:
    problem = ended(
        fault.problem.replace("must be", "Must be", 1) if fault.problem.startswith("must be") else fault.problem
    )
    allowed = f" Allowed: {fault.allowed}." if fault.allowed else ""
    todo = f" {fault.todo}" if fault.todo else ""
    return f"{problem}{allowed}{todo}"


def _settled(draft: Draft) -> Draft:
    """The same draft with `last_good` brought up to date."""
    good = _best(draft)
    return replace(draft, last_good=good, good={**draft.good, draft.optimizer: good}) if good else draft


def _best(draft: Draft) -> Settings | None:
    """What the controls say if that is valid, or else the nearest that was: remembered, or a start of this optimizer."""
    if settings := valid_settings(draft.optimizer, draft.values):
        return settings
    near = draft.good.get(draft.optimizer) or first_valid(draft.spec)
    if near is None:
        return None
    training = {name: draft.values[name] for name in TRAINING_DEFAULTS}
    return valid_settings(draft.optimizer, {**near.values(), **training}) or near
