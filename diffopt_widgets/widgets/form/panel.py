"""JSON from which the page draws the form, made from the catalogue and a draft without widgets."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from diffopt_widgets.catalogue import families, spec
from diffopt_widgets.catalogue.advice import Advice
from diffopt_widgets.catalogue.evidence import effect, evidence, untried
from diffopt_widgets.catalogue.introspect.uncatalogued import FAMILY
from diffopt_widgets.catalogue.option import Option
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING
from diffopt_widgets.catalogue.schema import REQUIREMENTS, OptimizerSpec, Standing, Use, Values
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.optimizers.backends import Trouble
from diffopt_widgets.widgets.form.draft import Draft
from diffopt_widgets.widgets.form.parsed import text_of

Json: TypeAlias = dict[str, Any]  # Any: anything that JSON can hold

FEW = 4
"""Least number of options in view."""
SHORT_FOLD = 2
"""Options that are shown rather than folded away, because so few are not worth a click."""
ORIGINS = {"library", "onetrainer"}
"""Presets named by the origin of their values; the others are advice, and the options that they name stay in view."""
IN_USE, WITHIN = "✓ in use", "✓ within the advice"
BY_SCHEDULE = {"cycles", "min_factor"}
"""Options that act under some schedules only."""


@cache
def menu(also: tuple[OptimizerSpec, ...] = (), missing: tuple[tuple[str, Trouble], ...] = ()) -> list[Json]:
    """Return every optimizer by family, for the menu. The caller must not change it.

    Args:
        also: optimizers that are not in the catalogue.
        missing: optimizers that cannot run here, by key, with the reason.
    """
    grouped = {**families(), FAMILY: also} if also else families()
    why = dict(missing)
    return [
        {"family": family, "optimizers": [_entry(entry, why.get(entry.key)) for entry in entries]}
        for family, entries in grouped.items()
    ]


def _entry(entry: OptimizerSpec, why: Trouble | None) -> Json:
    shown = {"key": entry.key, "title": entry.title}
    return {**shown, "mark": why.mark, "why": cannot_run(entry, why)} if why else shown


def cannot_run(entry: OptimizerSpec, why: Trouble) -> str:
    """Describe why an optimizer cannot run here, and what to do."""
    return f"{entry.title} cannot run here: {why}, and then choose it again."


def panel(optimizer: str) -> Json:
    """Describe the panel of one optimizer: the part that stays while one types. The caller must not change it."""
    return _panel(spec(optimizer))


@cache
def _panel(entry: OptimizerSpec) -> Json:
    controls = [_control(entry, use) for use in (entry.lr, *entry.uses, *TRAINING.values())]
    return {
        "optimizer": entry.key,
        "title": entry.title,
        "summary": entry.summary,
        "latex": entry.formula,
        "mathml": mathml(entry.formula) if entry.formula else [],
        "links": [{"title": link.title, "url": link.url} for link in entry.links],
        "presets": [{"key": preset.key, "title": preset.title, "why": preset.why} for preset in entry.presets],
        "sections": _sections(entry),
        "controls": {control["name"]: control for control in controls},
    }


def state(draft: Draft) -> Json:
    """Describe the part that changes while one types: for each control its text, and the marks that it has."""
    return {
        "presets": draft.parsed.presets,
        "controls": {name: _marks(draft, name) for name in draft.texts},
    }


def mathml(latex: str) -> list[str]:
    r"""Convert a formula to MathML, one text for each equation, so that lines can break between them.

    The list is empty when the formula cannot be converted.

    >>> mathml("d_t")
    ['<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"><mrow><msub><mi>d</mi><mi>t</mi></msub></mrow></math>']
    >>> len(mathml(r"a = b,\quad c = d"))
    2
    """
    from latex2mathml.converter import convert

    *firsts, last = latex.split(r",\quad")
    try:
        return [str(convert(equation, display="block")) for equation in (*(f"{first}," for first in firsts), last)]
    except Exception:  # noqa: BLE001  # the converter documents no errors; the page then shows the LaTeX
        return []


def _sections(entry: OptimizerSpec) -> list[Json]:
    """Return the sections: training first, then the options with advice, then the rest, folded.

    The choice of the options in view depends on the optimizer alone, so nothing moves while one types.
    """
    uses = [use for use in entry.uses if not use.section]
    usable = [use for use in uses if use.standing is not Standing.UNAVAILABLE]
    named = {name for preset in entry.presets if preset.key not in ORIGINS for name in preset.values}
    main = [use.name for use in usable if use.advice or use.name in named]
    live = [use.name for use in usable if use.standing is not Standing.INERT and use.name not in main]
    main += live[: max(0, FEW - len(main))]
    main.sort(key=[use.name for use in entry.uses].index)
    rest = [use.name for use in sorted(uses, key=_order) if use.name not in main]
    if len(rest) <= SHORT_FOLD:
        main, rest = [*main, *rest], []
    sections: list[Json] = [
        {"title": "Training", "controls": ["lr", *TRAINING], "picture": True},
        {"title": "Options", "controls": main},
        *_inner_forms(entry),
        {"title": "All other options", "controls": rest, "fold": True},
    ]
    return [section for section in sections if section["controls"]]


def _inner_forms(entry: OptimizerSpec) -> list[Json]:
    """Return the sections with titles of their own, such as an inner optimizer's, folded."""
    titles = dict.fromkeys(use.section for use in entry.uses if use.section)
    return [
        {"title": title, "controls": [use.name for use in entry.uses if use.section == title], "fold": True}
        for title in titles
    ]


def _order(use: Use) -> int:
    return list(Standing).index(use.standing)


def _control(entry: OptimizerSpec, use: Use) -> Json:
    option = use.option
    control: Json = {
        "name": use.name,
        "title": option.title,
        "kind": _kind(option),
        "help": " ".join(text for text in (option.help, use.note) if text),
        "facts": [{"term": term, "text": text} for term, text in _facts(entry, use)],
        "default": text_of(use.default),
        "shown_default": shown_value(option, use.default),
        "placeholder": option.null_words,
        "unit": option.unit,
        "integer": option.kind == "int",
        "slider": _slider(use),
        "choices": _choices(option),
        "advice": _advice(option, use.advice),
        "standing": use.standing.value,
        "reason": use.reason,
        "mark": _mark(entry, use),
        "depends": use.enabled_if is not None or use.name in BY_SCHEDULE,
    }
    return {key: value for key, value in control.items() if value not in ("", None, [], False)} | {
        "default": control["default"]
    }


def _mark(entry: OptimizerSpec, use: Use, dtype: str = "float32") -> str:
    """Return the mark beside the name; empty for an option that acts as expected, and for one that is greyed.

    An option that acts only on weights of one precision is marked so; the mark shows whether `dtype`, the precision of the
    run, is that one.
    """
    if use.standing is Standing.INERT:
        return "inert"
    if untried(entry.key, use.name):
        return "not tried"
    if use.only_in:
        return f"✓ {dtype}" if use.only_in == dtype else f"{use.only_in} only"
    return ""


def _kind(option: Option) -> str:
    if option.kind in {"int", "float"} and not option.choices:
        return "number"
    if option.kind == "text":
        return "text"
    return "choice" if option.choices or option.nullable else "bool"


def shown_value(option: Option, value: object) -> str:
    """Format a value as the form shows it."""
    if value is None:
        return option.null_words or "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = format_value(value) if isinstance(value, int | float | str) else str(value)
    return next((choice["label"] for choice in _choices(option) if choice["value"] == text), text)


def _choices(option: Option) -> list[Json]:
    listed: list[Json]
    if option.kind == "bool":
        pair: list[Json] = [{"value": "true", "label": "on"}, {"value": "false", "label": "off"}]
        listed = pair if option.nullable else []
    elif option.name == "schedule":
        listed = [
            {"value": key, "label": schedule.title, "help": schedule.summary} for key, schedule in SCHEDULES.items()
        ]
    else:
        listed = [{"value": choice, "label": choice} for choice in option.choices]
    if option.nullable and listed:
        listed.insert(0, {"value": "", "label": option.null_words or "empty"})
    return listed


def _slider(use: Use) -> Json | None:
    option = use.option
    soft = option.soft
    if soft is None or option.kind not in {"int", "float"} or use.standing is Standing.UNAVAILABLE:
        return None
    low, high = (float(end) for end in soft)
    return {"low": low, "high": high, "log": option.log and low > 0, "integer": option.kind == "int"}


def _advice(option: Option, advice: Advice | None) -> Json | None:
    if advice is None:
        return None
    return {
        "use": _offer(option, advice),
        "followed": WITHIN if advice.between else IN_USE,
        "words": advice.text(),
        "reason": advice.reason,
        "source": advice.source,
    }


def _offer(option: Option, advice: Advice) -> str:
    """Return the text of the button that sets the recommended value; empty where no single value is known."""
    if advice.by_mode:
        return ""
    shown = shown_value(option, advice.value)
    return f"Turn {shown}" if isinstance(advice.value, bool) else f"Use {shown}"


def _followed(draft: Draft, name: str) -> str:
    """Return the text that says that the value follows the advice; empty where it does not."""
    advice, value = draft.advice(name), draft.values[name]
    if advice is None or advice.by_mode or name in draft.parsed.faults or not advice.allows(value):
        return ""
    return IN_USE if value == advice.value else WITHIN


def _recommendation(advice: Advice | None) -> str:
    return f"{advice.text()} – {advice.reason.rstrip('.')} ({advice.source})" if advice else ""


def _facts(entry: OptimizerSpec, use: Use) -> list[tuple[str, str]]:
    facts = [
        ("Allowed", use.allowed() if _kind(use.option) in {"number", "text"} else ""),
        ("Default", shown_value(use.option, use.default)),
        ("Recommended", _recommendation(use.advice)),
        ("Depends on", use.enabled_if.words() if use.enabled_if else ""),
        ("Needs", REQUIREMENTS.get(use.requires, "")),
        ("Here", "" if use.name in TRAINING else effect(entry, use)),
        ("Tried", evidence(entry, use.name)),
        ("Argument", f"{use.argument} of {entry.target.replace(':', '.')}" if use.argument else ""),
    ]
    return [(term, text) for term, text in facts if text]


def _marks(draft: Draft, name: str) -> Json:
    use = draft.use(name)
    marks: Json = {
        "text": draft.texts[name],
        "mark": _mark(draft.spec, use, draft.run.dtype) if use.only_in else "",
        "error": draft.errors.get(name),
        "warning": draft.parsed.warnings.get(name),
        "fix": fix_text(draft, draft.parsed.fixes[name]) if name in draft.parsed.fixes else None,
        "greyed": draft.parsed.greyed.get(name),
        "changed": name in draft.parsed.changed,
        "related": name in draft.parsed.related,
        "advised": _followed(draft, name),
        "fixed": use.advice is not None and draft.parsed.fixes.get(name) == {name: use.advice.value},
    }
    return {key: value for key, value in marks.items() if value or key == "text"}


def fix_text(draft: Draft, fix: Values) -> str:
    """Describe a fix: "Set Learning rate to 1"."""
    parts = []
    for name, value in fix.items():
        if name in draft.texts:
            option = draft.use(name).option
            parts.append(f"{option.title} to {shown_value(option, value)}")
    return f"Set {', '.join(parts)}" if parts else ""
