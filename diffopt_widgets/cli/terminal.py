"""Pages and tables for a terminal, made from the catalogue and from runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diffopt_widgets.catalogue.evidence import Probed, Seen, evidence
from diffopt_widgets.catalogue.schema import OptimizerSpec, Standing, Use
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.runs.compared import parted, verdict
from diffopt_widgets.settings.variations import shared_words
from diffopt_widgets.state_size.words import bytes_words

if TYPE_CHECKING:
    from diffopt_widgets.probe.doctor import Finding
    from diffopt_widgets.records import History
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.state_size.models import Choice

_STANDING = {
    Standing.LIVE: "",
    Standing.INERT: " [inert]",
    Standing.UNAVAILABLE: " [not available]",
    Standing.UNCATALOGUED: " [not catalogued]",
}
_SEEN = {Seen.LIVE: "green", Seen.ELSEWHERE: "green", Seen.INERT: "yellow", Seen.UNAVAILABLE: "", Seen.UNTRIED: "dim"}


def optimizers_page(families: Mapping[str, Sequence[OptimizerSpec]]) -> RenderableType:
    """Every optimizer with its summary, by family."""
    table = Table("optimizer", "what it does", box=None, pad_edge=False)
    for family, entries in families.items():
        table.add_row(Text(f"\n{family}", style="bold"), "")
        for entry in entries:
            table.add_row(entry.key, Text(entry.summary))
    return Group(table, "\n`diffopt options KEY` shows the options of one.")


def optimizer_page(entry: OptimizerSpec) -> RenderableType:
    """One optimizer with the help of every option."""
    head = Text.assemble(
        (f"{entry.key}", "bold"), f"  {entry.title} · {entry.family} · {entry.package}\n", entry.summary
    )
    presets = "presets: " + ", ".join(f"{preset.key} ({preset.title})" for preset in entry.presets)
    links = "\n".join(f"{link.title}: {link.url}" for link in entry.links)
    return Group(head, presets, Text(links, style="dim"), "", *(_use(entry, use) for use in (entry.lr, *entry.uses)))


def _use(entry: OptimizerSpec, use: Use) -> RenderableType:
    head = Text.assemble(
        (use.name, "bold"),
        f"  {use.option.title}",
        (f"  default {format_value(use.default)}; {use.allowed()}", "dim"),
        (_STANDING[use.standing], "yellow"),
    )
    lines = [Text(use.option.help)]
    lines += [Text(text) for text in (use.note, use.reason) if text]
    if use.enabled_if is not None:
        lines.append(Text(f"Works {use.enabled_if.words()}."))
    if tried := evidence(entry, use.name):
        lines.append(Text(f"Tried: {tried}.", style="dim"))
    if use.advice is not None:
        lines.append(
            Text(f"Recommended: {use.advice.text()}. {use.advice.reason} ({use.advice.source})", style="green")
        )
    return Group(head, Padding(Group(*lines), (0, 0, 1, 4)))


def findings_table(title: str, findings: Iterable[Finding]) -> RenderableType:
    """Table of what works and what does not, each with its fix."""
    table = Table("", "", "", "", title=Text(title, style="bold"), title_justify="left", box=None, show_header=False)
    for finding in findings:
        mark = {True: "[green]yes[/]", False: "[red]no[/]", None: "?"}[finding.works]
        table.add_row(mark, escape(finding.name), escape(finding.words), escape(finding.fix and f"→ {finding.fix}"))
    return table


def probed_table(probed: Probed) -> RenderableType:
    """Table of what each option was seen to do."""
    table = Table("optimizer", "option", "seen", "evidence", box=None, pad_edge=False)
    for key, options in probed.findings.items():
        for name, finding in options.items():
            table.add_row(key, name, Text(finding.seen.value, style=_SEEN[finding.seen]), escape(finding.words))
    return table


def runs_table(runs: Sequence[Run]) -> RenderableType:
    """Table of how the runs of a comparison ended, between a line of what they have in common and the verdict."""
    _, names = parted([run.name for run in runs])
    title = shared_words([run.plan for run in runs], [run.batch_size for run in runs])
    # Headings in two lines leave the width to the names, so that 80 columns hold them in one.
    heads = ("run", "status", "loss*", "evaluation\nloss", "applied lr\n(largest)", "d\n(last)", "steps/s")
    caption = "* training loss, mean over the last twentieth of the steps"
    table = Table(
        *heads,
        title=escape(title),
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=None,
        pad_edge=False,
    )
    for run, name in zip(runs, names, strict=True):
        columns = run.history.names()
        table.add_row(
            escape(name),
            run.status,
            _number(run.final_loss),
            _number(run.eval_after),
            _largest_rate(run.history),
            " / ".join(map(_number, np.atleast_1d(run.history.column("d")[-1]).tolist())) if "d" in columns else "–",
            _number(run.steps_per_second),
        )
    return Group(table, *([Text(f"\n{verdict(runs)}")] if len(runs) > 1 else []))


def _largest_rate(history: History) -> str:
    """Return the largest rate that was applied; in words where it is not known what the optimizer applies."""
    if "applied_lr" not in history.names():
        return "not known" if len(history) else "–"
    return _number(float(np.nanmax(history.column("applied_lr"))))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def state_table(choice: Choice, sizes: Mapping[str, int | str], by_names: Sequence[str] = ()) -> RenderableType:
    """Table of each optimizer's bytes of state, or why they are not known, below the model that is trained.

    `by_names` are those of them that choose layers by the names of these.
    """
    weights = choice.weights()
    names = f"That of {', '.join(by_names)} depends on the names of the layers, here diffusers'.\n" if by_names else ""
    head = Text.assemble((f"State for {choice.words()}", "bold"), f"\n{choice.details()}\n{names}")
    table = Table("optimizer", box=None, pad_edge=False)
    table.add_column("state", justify="right")
    table.add_column("bytes per weight", justify="right")
    for key, size in sorted(sizes.items(), key=lambda item: (isinstance(item[1], str), item[1], item[0])):
        if isinstance(size, str):
            table.add_row(key, "–", Text(size))
        else:
            table.add_row(key, bytes_words(size), f"{size / weights:.2f}")
    return Group(head, table)
