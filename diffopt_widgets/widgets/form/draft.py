"""What a person has typed into the form, as plain data: no widgets here."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from diffopt_widgets.catalogue import is_path, spec
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.catalogue.schedules import TRAINING, TRAINING_DEFAULTS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Use
from diffopt_widgets.catalogue.values import Value
from diffopt_widgets.settings import Settings, default_values
from diffopt_widgets.widgets.form.parsed import ParsedDraft, Texts, text_of, use_of
from diffopt_widgets.widgets.form.starts import first_valid, valid_settings

START = "PRODIGY"
"""The optimizer that is shown when none is named."""


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
    run: RunOptions = field(default_factory=RunOptions)
    """The run that is planned, which not every option goes with."""

    @classmethod
    def begin(cls, settings: Settings | str) -> Draft:
        """A draft that shows some settings, or the defaults of an optimizer.

        Raises:
            SettingsError: there is no such optimizer.
        """
        if isinstance(settings, str):
            try:
                entry = spec(settings)
            except KeyError:
                entry = Settings(settings).spec  # raises, and says which there are
            settings = first_valid(entry) or Settings(settings)
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
        outside = []
        for key in sorted({self.optimizer, *self.own, *self.good}):
            if is_path(key):
                with contextlib.suppress(KeyError):  # a class in a notebook may have been deleted since
                    outside.append(spec(key))
        return tuple(outside)

    @cached_property
    def texts(self) -> dict[str, str]:
        """The text of every control, in the order of the catalogue."""
        typed = {**self.own.get(self.optimizer, {}), **self.shared}
        return {name: typed.get(name, text_of(value)) for name, value in default_values(self.spec).items()}

    @cached_property
    def parsed(self) -> ParsedDraft:
        """What the texts say for the run that is planned, and what is to be told of it."""
        return ParsedDraft.of(self.spec, self.texts, self._defaults_now(), self.run)

    @property
    def values(self) -> Mapping[str, Value]:
        """The value of every control; the last right one where the text is wrong."""
        return self.parsed.values

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by the control to mark, in words."""
        return self.parsed.errors

    @property
    def settings(self) -> Settings | None:
        """The settings that the controls say; None while something is wrong."""
        return None if self.parsed.faults else self.last_good

    def use(self, name: str) -> Use:
        """The option of one control, as it is taken here.

        Raises:
            KeyError: this optimizer has no such control; the message lists those that there are.
        """
        if name not in self.texts:
            raise KeyError(f"{self.optimizer} has no option {name!r}; there are {', '.join(self.texts)}")
        return use_of(self.spec, name)

    def type(self, name: str, text: str) -> Draft:
        """What follows from typing a text into one control."""
        self.use(name)
        return self.put({name: text})

    def put(self, texts: Texts) -> Draft:
        """What follows from typing into several controls at once; names must be controls of this optimizer."""
        shared = {name: text for name, text in texts.items() if name in TRAINING}
        own = {name: text for name, text in texts.items() if name not in TRAINING}
        mine = {**self.own.get(self.optimizer, {}), **own}
        return _settled(replace(self, own={**self.own, self.optimizer: mine}, shared={**self.shared, **shared}))

    def reset(self, name: str) -> Draft:
        """One control back at the back end's default."""
        self.use(name)
        return self.put({name: text_of(default_values(self.spec)[name])})

    def advise(self, name: str) -> Draft:
        """One control at its recommended value; unchanged when there is no such value."""
        advice = self.advice(name)
        return self.put({name: text_of(advice.value)}) if advice and not advice.by_mode else self

    def fix(self, name: str) -> Draft:
        """The fix that is offered for one control, done; unchanged when none is."""
        self.use(name)
        known = {other: value for other, value in self.parsed.fixes.get(name, {}).items() if other in self.texts}
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
        entry = spec(optimizer)
        draft = replace(self, optimizer=entry.key)
        if entry.key not in self.own:
            start = first_valid(entry)
            changed = start.changed() if start else {}
            texts = {name: text_of(value) for name, value in changed.items() if name not in TRAINING}
            draft = replace(draft, own={**self.own, entry.key: texts})
        return _settled(draft)

    def show(self, settings: Settings) -> Draft:
        """Some settings in the controls; a text that already says the value is left as it was typed."""
        draft = replace(self, optimizer=settings.optimizer)
        wanted = settings.values()
        same = {name for name, value in draft.values.items() if wanted[name] == value} - draft.parsed.faults.keys()
        texts = {name: text_of(value) for name, value in wanted.items() if name not in same}
        return replace(draft.put(texts), last_good=settings, good={**self.good, settings.optimizer: settings})

    def advice(self, name: str) -> Advice | None:
        """The recommendation for one control, if there is one."""
        return self.use(name).advice

    def _defaults_now(self) -> dict[str, Value]:
        """What stands in for a text that is wrong: the last right value."""
        defaults = default_values(self.spec)
        shared = {name: getattr(self.last_good, name) for name in TRAINING_DEFAULTS}
        remembered = self.good[self.optimizer].values() if self.optimizer in self.good else {}
        return {**defaults, **{name: value for name, value in remembered.items() if name in defaults}, **shared}


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
