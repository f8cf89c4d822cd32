"""Draft: the texts typed into the form, as plain data without widgets."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from diffopt_widgets.catalogue import is_path, spec
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.names import meant_by
from diffopt_widgets.catalogue.run_options import RunOptions
from diffopt_widgets.catalogue.schedules import TRAINING, TRAINING_DEFAULTS
from diffopt_widgets.catalogue.schema import OptimizerSpec, Use
from diffopt_widgets.catalogue.values import Value, ValueProblem, safe_repr
from diffopt_widgets.settings import Settings, as_settings, default_values
from diffopt_widgets.widgets.form.parsed import ParsedDraft, Texts, text_of, use_of
from diffopt_widgets.widgets.form.starts import first_valid, valid_settings

START = "PRODIGY"
"""Key of the optimizer that is shown when none is named."""


@dataclass(frozen=True, eq=False)
class Draft:
    """The texts in the controls, with their values and errors.

    The learning rate and the optimizer's options are remembered for each optimizer. Schedule, warm-up, cycles, minimum
    factor and scaler are shared: they belong to the run, and stay when the optimizer changes.

    No text makes a method raise: a wrong one becomes an entry of `errors`, and `last_good` keeps the last valid value.

    >>> draft = Draft.begin("PRODIGY").type("d_coef", "0.5").type("beta1", "1,0")
    >>> draft.errors
    {'beta1': "'1,0' is not a number (write a point, not a comma); write 0.9 or 1e-4. Allowed: from 0 to below 1."}
    >>> draft.last_good
    Settings('PRODIGY', lr=1.0, d_coef=0.5)
    """

    last_good: Settings
    """Settings of the controls, with the last valid value wherever a text is wrong; always valid."""
    optimizer: str
    own: Mapping[str, Texts]
    """By optimizer: the texts typed for its learning rate and options. Absent ones are at their defaults."""
    shared: Texts
    """Texts typed for the training options."""
    good: Mapping[str, Settings]
    """By optimizer: its last valid settings."""
    run: RunOptions = field(default_factory=RunOptions)
    """The planned run; some options cannot be used in every run."""

    @classmethod
    def begin(cls, settings: Settings | str) -> Draft:
        """Make a draft that shows some settings, or the defaults of an optimizer.

        Raises:
            SettingsError: there is no such optimizer.
        """
        if isinstance(settings, str):
            meant = meant_by(settings)
            if meant is None or meant.values:
                settings = Settings(settings)  # raises an error that lists the optimizers
            else:
                try:
                    entry = spec(meant.key)
                except KeyError:
                    entry = Settings(settings).spec
                settings = first_valid(entry) or Settings(settings)
        settings = as_settings(settings)
        return cls(settings, settings.optimizer, {}, {}, {}).show(settings)

    @classmethod
    def recall(cls, optimizer: str, own: Mapping[str, Texts], shared: Texts) -> Draft:
        """Make a draft in which these texts are typed; they need not be valid.

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
        """Values, errors and warnings of the texts, for the planned run."""
        return ParsedDraft.of(self.spec, self.texts, self._fallbacks(), self.run)

    @property
    def values(self) -> Mapping[str, Value]:
        """Value of every control; the last valid one where the text is wrong."""
        return self.parsed.values

    @property
    def errors(self) -> dict[str, str]:
        """Error messages, by the control to mark."""
        return self.parsed.errors

    @property
    def settings(self) -> Settings | None:
        """Settings of the controls; None while something is wrong."""
        return None if self.parsed.faults else self.last_good

    def use(self, name: str) -> Use:
        """Return the use of an option by this optimizer.

        Raises:
            KeyError: this optimizer has no such control; the message lists its controls.
        """
        if not isinstance(name, str) or name not in self.texts:
            raise KeyError(f"{self.optimizer} has no option {safe_repr(name)}; there are {', '.join(self.texts)}")
        return use_of(self.spec, name)

    def type(self, name: str, text: str) -> Draft:
        """Return the draft with a text typed into one control."""
        self.use(name)
        return self.put({name: text})

    def put(self, texts: Texts) -> Draft:
        """Return the draft with texts typed into several controls; names must be controls of this optimizer."""
        texts = {name: _as_written(use_of(self.spec, name), text) for name, text in texts.items()}
        shared = {name: text for name, text in texts.items() if name in TRAINING}
        own = {name: text for name, text in texts.items() if name not in TRAINING}
        mine = {**self.own.get(self.optimizer, {}), **own}
        return _with_last_good(replace(self, own={**self.own, self.optimizer: mine}, shared={**self.shared, **shared}))

    def reset(self, name: str) -> Draft:
        """Return the draft with one control at the back end's default."""
        self.use(name)
        return self.put({name: text_of(default_values(self.spec)[name])})

    def advise(self, name: str) -> Draft:
        """Return the draft with one control at its recommended value; the same draft when there is none."""
        advice = self.advice(name)
        return self.put({name: text_of(advice.value)}) if advice and not advice.by_mode else self

    def fix(self, name: str) -> Draft:
        """Return the draft with the fix of one control applied; the same draft when there is none."""
        self.use(name)
        fix = {other: value for other, value in self.parsed.fixes.get(name, {}).items() if other in self.texts}
        return self.put({other: text_of(value) for other, value in fix.items()})

    def load(self, preset: str) -> Draft:
        """Return the draft with a preset loaded; options that it does not name, and the schedule, go to their defaults.

        Raises:
            KeyError: there is no such preset.
        """
        values = {**default_values(self.spec), **self.spec.preset(preset).values}
        return self.put({name: text_of(value) for name, value in values.items()})

    def choose(self, optimizer: str) -> Draft:
        """Return the draft with another optimizer, and the texts last typed for it.

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
        return _with_last_good(draft)

    def show(self, settings: Settings) -> Draft:
        """Return the draft with some settings in the controls; a text of the same value stays as it was typed."""
        draft = replace(self, optimizer=settings.optimizer)
        values = settings.values()
        same = {name for name, value in draft.values.items() if values[name] == value} - draft.parsed.faults.keys()
        texts = {name: text_of(value) for name, value in values.items() if name not in same}
        return replace(draft.put(texts), last_good=settings, good={**self.good, settings.optimizer: settings})

    def advice(self, name: str) -> Advice | None:
        """Return the advice on one control, if there is any."""
        return self.use(name).advice

    def _fallbacks(self) -> dict[str, Value]:
        """Return the value of each control to use where its text is wrong: the last valid one."""
        defaults = default_values(self.spec)
        shared = {name: getattr(self.last_good, name) for name in TRAINING_DEFAULTS}
        remembered = self.good[self.optimizer].values() if self.optimizer in self.good else {}
        return {**defaults, **{name: value for name, value in remembered.items() if name in defaults}, **shared}


def _as_written(use: Use, text: str) -> str:
    """Return a choice as its control has it, whatever another program calls it; any other text as it is."""
    if use.option.kind == "choice" and text.strip() not in use.option.choices:
        with contextlib.suppress(ValueProblem):
            return text_of(use.check(use.option.parse(text)))
    return text


def _with_last_good(draft: Draft) -> Draft:
    """Return the draft with `last_good` brought up to date."""
    good = _nearest_valid(draft)
    return replace(draft, last_good=good, good={**draft.good, draft.optimizer: good}) if good else draft


def _nearest_valid(draft: Draft) -> Settings | None:
    """Return the settings of the controls if they are valid, or else the last valid ones, or a start of this optimizer."""
    if settings := valid_settings(draft.optimizer, draft.values):
        return settings
    earlier = draft.good.get(draft.optimizer) or first_valid(draft.spec)
    if earlier is None:
        return None
    training = {name: draft.values[name] for name in TRAINING_DEFAULTS}
    return valid_settings(draft.optimizer, {**earlier.values(), **training}) or earlier
