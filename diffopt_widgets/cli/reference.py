"""The reference as Markdown, one page for each optimizer, made from the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from diffopt_widgets.catalogue import families
from diffopt_widgets.catalogue.evidence import evidence
from diffopt_widgets.catalogue.schedules import SCHEDULES, TRAINING_OPTIONS
from diffopt_widgets.catalogue.schema import REQUIREMENTS, Standing
from diffopt_widgets.catalogue.state_sizes import state_table
from diffopt_widgets.catalogue.values import format_value

if TYPE_CHECKING:
    from diffopt_widgets.catalogue.option import Option
    from diffopt_widgets.catalogue.schema import OptimizerSpec, Use
    from diffopt_widgets.catalogue.values import Value

INDEX = "README.md"
_STANDING = {
    Standing.LIVE: "",
    Standing.INERT: "**No effect here.** ",
    Standing.UNAVAILABLE: "**Not available here.** ",
    Standing.UNCATALOGUED: "",  # its help says so
}
_SEVERITY = {"error": "Refused", "refused": "Refused to run", "warning": "Warned of"}


def reference_pages() -> dict[str, str]:
    """Return the text of every page by its file name: the index, the schedules, and a page for each optimizer.

    >>> pages = reference_pages()
    >>> "PRODIGY.md" in pages, "(PRODIGY.md)" in pages["README.md"]
    (True, True)
    """
    entries = [entry for family in families().values() for entry in family]
    pages = {f"{entry.key}.md": "\n".join(_optimizer(entry)) for entry in entries}
    return {INDEX: "\n".join(_index()), "schedules.md": "\n".join(_training()), **pages}


def reference_page(entry: OptimizerSpec) -> str:
    """Return the text of the page of one optimizer, in the catalogue or not."""
    return "\n".join(_optimizer(entry))


def _index() -> Iterator[str]:
    yield "# Optimizers and their options\n"
    yield "What each does, what it needs, and whether it does anything at all. [The options of every run](schedules.md)"
    yield "(learning-rate schedule, warm-up, …) have a page of their own.\n"
    for family, entries in families().items():
        yield f"## {_text(family)}\n"
        yield from (
            f"- [{_text(entry.title)}]({entry.key}.md) `{entry.key}`: {_text(entry.summary)}" for entry in entries
        )
        yield ""
    yield "## Who has which option\n"
    owners: dict[str, list[str]] = {}
    for entries in families().values():
        for entry in entries:
            for use in entry.uses:
                if use.standing is Standing.LIVE:
                    owners.setdefault(use.name, []).append(f"[{entry.key}]({entry.key}.md#{use.name.lower()})")
    yield from (f"- `{name}`: {', '.join(keys)}" for name, keys in sorted(owners.items()))
    yield ""


def _training() -> Iterator[str]:
    yield "# The options of every run\n"
    for option in TRAINING_OPTIONS:
        yield f"## {option.name}\n"
        yield f"**{_text(option.title)}.** {_text(option.help)}\n"
        if not option.choices:
            yield f"Allowed: {_text(option.allowed())}\n"
    yield "## The schedules\n"
    for key, schedule in SCHEDULES.items():
        yield f"- **{_text(schedule.title)}** `{key}`: {_text(schedule.summary)}\n\n  $${schedule.formula}$$\n"


def _optimizer(entry: OptimizerSpec) -> Iterator[str]:
    yield f"# {_text(entry.title)}\n"
    yield f"{_text(entry.summary)}\n"
    yield f"$${entry.formula}$$\n"
    links = ", ".join(f"[{_text(link.title)}]({link.url})" for link in entry.links)
    yield f"- Key: `{entry.key}`, one of “{_text(entry.family)}”"
    yield f"- Class: `{entry.target.replace(':', '.')}` of the package `{entry.package}`"
    yield f"- Read on: {links}"
    yield f"- What a step applies: {_text(entry.rate_words)}"
    if entry.rates != "each":
        yield "- Parameter groups: one learning rate for all of them; different ones are refused"
    yield from _state(entry)
    yield "\n## Presets\n"
    for preset in entry.presets:
        values = ", ".join(f"`{name}` {_value(value)}" for name, value in preset.values.items())
        yield f"- **{_text(preset.title)}** `{preset.key}`: {_text(preset.why)}{f' Sets {values}.' if values else ''}"
    yield "\n## Options\n"
    for use in (entry.lr, *entry.uses):
        yield from _use(entry, use)
    if entry.rules:
        yield "## What does not go together\n"
        yield from (f"- {_SEVERITY[rule.severity]}: {_text(rule.message)}" for rule in entry.rules)
        yield ""
    if entry.hidden:
        yield "## Arguments of the class that are not shown\n"
        yield from (f"- `{hidden.argument}`: {_text(hidden.reason)}" for hidden in entry.hidden)
        yield ""


def _state(entry: OptimizerSpec) -> Iterator[str]:
    """Give the state per weight for the models of the table, in every row that it has for the optimizer."""
    table = state_table()
    yield "\n## State\n"
    yield "Bytes per trained weight, as `dw.memory` counts them for the UNet or transformer of each model, with weights in"
    yield "float32 / bfloat16, in full and as a LoRA on the attention layers. All options are at the defaults below, unless named.\n"
    yield f"| | {' | '.join(map(_text, table.models.values()))} |"
    yield f"|---|{'---|' * len(table.models)}"
    for name, sizes in table.sizes.items():
        key, _, changed = name.partition(" ")
        if key != entry.key:
            continue
        for training in sizes["float32"]:
            title = "full" if training == "full" else f"LoRA of rank {training}"
            pairs = zip(sizes["float32"][training], sizes["bfloat16"][training], strict=True)
            cells = " | ".join(f"{wide:.3g} / {half:.3g}" for wide, half in pairs)
            yield f"| {title}{f' with {_text(changed)}' if changed else ''} | {cells} |"


def _use(entry: OptimizerSpec, use: Use) -> Iterator[str]:
    option = use.option
    yield f"### {use.name}\n"
    words = " ".join(text for text in (option.help, use.note) if text)
    yield f"**{_text(option.title)}.** {_STANDING[use.standing]}{_text(words)}\n"
    yield from (f"- {term}: {text}" for term, text in _facts(option, use))
    if tried := evidence(entry, use.name):
        yield f"- Tried: {_text(tried)}"
    yield ""


def _facts(option: Option, use: Use) -> Iterable[tuple[str, str]]:
    if use.reason:
        yield "Why", _text(use.reason)
    yield "Default", _value(use.default) if use.default is not None else f"empty ({_text(option.null_words)})"
    yield "Allowed", _text(use.allowed())
    if use.advice is not None:
        yield "Recommended", _text(f"{use.advice.text()}. {use.advice.reason} ({use.advice.source})")
    if use.enabled_if is not None:
        yield "Works", _text(use.enabled_if.words())
    if need := use.requires or use.only_in:
        yield "Needs", _text(REQUIREMENTS[need])
    if use.argument:
        yield "Argument", f"`{use.argument}`"


def _value(value: Value) -> str:
    return _code(format_value(value))


def _code(text: str) -> str:
    """Write a text as code, between more backticks than it has in a row.

    >>> print(_code("0.9"), _code("a `b`"))
    `0.9` `` a `b` ``
    """
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"{fence}{text}{fence}"


def _text(words: str) -> str:
    r"""Escape a text, so that Markdown reads nothing in it as its own, as a formula or as HTML.

    >>> print(_text("a*b < c_d|e $f$ &lt;"))
    a\*b \< c\_d\|e \$f\$ \&lt;
    """
    return re.sub(r"([\\`*_<>\[\]|#$]|~(?=~)|&(?=#?\w+;))", r"\\\1", words)
