"""Pages and tables for a terminal, made from the catalogue and from runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diffopt_widgets.catalogue.evidence import Probed, Seen, evidence
from diffopt_widgets.catalogue.schema import OptimizerSpec, Standing, Use
from diffopt_widgets.catalogue.values import format_value
from diffopt_widgets.plain_text import readable
from diffopt_widgets.runs.compared import parted, verdict
from diffopt_widgets.settings.variations import shared_words
from diffopt_widgets.state_size.words import bytes_words

if TYPE_CHECKING:
    from rich.segment import Segment

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

_LEAST = 24
"""Characters that a column of sentences needs at least to be read with ease."""
_GAP = 2


def console(file: IO[str] | None = None) -> Console:
    """Return a console for the standard output, or another stream."""
    return _Console(file=file, emoji=False, highlight=False)


class _Console(Console):
    """Console that replaces the characters that its stream lacks before columns are laid out, so that these stay straight."""

    def render_str(self, text: str, **options: Any) -> Text:  # Any: as its base takes them
        return super().render_str(readable(text, self.encoding), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, Text) and readable(renderable.plain, self.encoding) != renderable.plain:
            parts = [(readable(part.text, self.encoding), part.style or "") for part in renderable.render(self)]
            renderable = Text.assemble(*parts, justify=renderable.justify, end=renderable.end)
        return super().render(renderable, options)


@dataclass(frozen=True)
class _Column:
    """Column of a listing: of sentences, which are wrapped, or of short texts, which are not."""

    head: str = ""
    leads: bool = False
    """True for the cells that stand in the first line of a block."""
    sentences: bool = False
    right: bool = False


class _Listing:
    """Table where the terminal is wide enough for all columns; else a short block for each row.

    Cells are rich's markup.
    """

    def __init__(self, *columns: _Column, title: str = "") -> None:
        self._columns = columns
        self._title = title
        self._rows: list[Sequence[str]] = []

    def add(self, *cells: str) -> None:
        """Add a row."""
        self._rows.append(cells)

    @property
    def filled(self) -> bool:
        """True if there are rows."""
        return bool(self._rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        if self._title:
            yield Text(self._title, style="bold")
        needed = sum(self._needed(index, console) for index in range(len(self._columns)))
        if needed + _GAP * (len(self._columns) - 1) <= options.max_width:
            yield self._table(console)
        else:
            yield from map(self._block, self._rows)

    def _needed(self, index: int, console: Console) -> int:
        column = self._columns[index]
        texts = [console.render_str(cell) for cell in (column.head, *(row[index] for row in self._rows))]
        widest = max(len(line) for text in texts for line in text.plain.split("\n"))
        return min(widest, _LEAST) if column.sentences else widest

    def _table(self, console: Console) -> Table:
        heads = any(column.head for column in self._columns)
        table = Table(box=None, pad_edge=False, show_header=heads, padding=(0, _GAP, 0, 0))
        for index, column in enumerate(self._columns):
            table.add_column(
                column.head,
                justify="right" if column.right else "left",
                no_wrap=not column.sentences,
                min_width=self._needed(index, console),
                overflow="fold",
            )
        for row in self._rows:
            table.add_row(*row)
        return table

    def _block(self, row: Sequence[str]) -> RenderableType:
        cells = list(zip(self._columns, row, strict=True))
        first = "  ".join(cell for column, cell in cells if column.leads)
        short = [
            f"{' '.join(column.head.split())} {cell}"
            for column, cell in cells
            if not (column.leads or column.sentences)
        ]
        lines = [", ".join(short), *(cell for column, cell in cells if column.sentences and not column.leads)]
        return Group(f"[bold]{first}[/]", *(Padding(line, (0, 0, 0, _GAP), expand=False) for line in lines if line))


def optimizers_page(families: Mapping[str, Sequence[OptimizerSpec]]) -> RenderableType:
    """Every optimizer with its summary, by family."""
    parts: list[RenderableType] = []
    width = max(len(entry.key) for entries in families.values() for entry in entries)
    for family, entries in families.items():
        listing = _Listing(_Column(leads=True), _Column(sentences=True))
        for entry in entries:
            listing.add(f"{entry.key:{width}}", escape(entry.summary))
        parts += [Text(family, style="bold"), listing, ""]
    return Group(*parts, "`diffopt options KEY` shows the options of one.")


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
    listing = _Listing(_Column(leads=True), _Column(leads=True), _Column(sentences=True), title=title)
    for finding in findings:
        mark = {True: "[green]yes[/]", False: "[red]no[/] ", None: "?  "}[finding.works]
        fix = f"\n→ {escape(finding.fix)}" if finding.fix else ""
        listing.add(mark, escape(finding.name), f"{escape(finding.words)}{fix}")
    return listing


def probed_table(probed: Probed, kept: str = "") -> RenderableType:
    """Table of what each option was seen to do; `kept` says which were tried earlier."""
    listing = _Listing(
        _Column("optimizer", leads=True),
        _Column("option", leads=True),
        _Column("seen"),
        _Column("evidence", sentences=True),
    )
    for key, options in probed.findings.items():
        for name, finding in options.items():
            style = _SEEN[finding.seen]
            seen = f"[{style}]{finding.seen.value}[/]" if style else finding.seen.value
            listing.add(key, name, seen, escape(finding.words))
    return Group(listing, *([f"\n{kept}"] if kept else []))


def runs_table(runs: Sequence[Run]) -> RenderableType:
    """Table of how the runs of a comparison ended, between a line of what they have in common and the verdict."""
    _, names = parted([run.name for run in runs])
    title = " · ".join(shared_words([run.plan for run in runs], [run.batch_size for run in runs]))
    # Headings in two lines leave the width to the names, so that 80 columns hold them in one.
    heads = ("status", "loss*", "evaluation\nloss", "applied lr\n(largest)", "d\n(last)", "steps/s")
    listing = _Listing(_Column("run", leads=True, sentences=True), *map(_Column, heads), title=title)
    for run, name in zip(runs, names, strict=True):
        columns = run.history.names()
        listing.add(
            escape(name),
            run.status,
            _number(run.final_loss),
            _number(run.eval_after),
            _largest_rate(run.history),
            " / ".join(map(_number, np.atleast_1d(run.history.column("d")[-1]).tolist())) if "d" in columns else "–",
            _number(run.steps_per_second),
        )
    caption = Text("* training loss, mean over the last twentieth of the steps", style="dim italic")
    return Group(listing, caption, *([Text(f"\n{verdict(runs)}")] if len(runs) > 1 else []))


def _largest_rate(history: History) -> str:
    """Return the largest rate that was applied; in words where it is not known what the optimizer applies."""
    if "applied_lr" not in history.names():
        return "not known" if len(history) else "–"
    return _number(float(np.nanmax(history.column("applied_lr"))))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def state_table(
    choice: Choice, sizes: Mapping[str, int | str], by_names: Sequence[str] = (), kept: str = ""
) -> RenderableType:
    """Table of each optimizer's bytes of state, or why they are not known, below the model that is trained.

    `by_names` are those of them that choose layers by the names of these; `kept` says which were counted earlier.
    """
    weights = choice.weights()
    names = f"That of {', '.join(by_names)} depends on the names of the layers, here diffusers'.\n" if by_names else ""
    head = Text.assemble((f"State for {choice.words()}", "bold"), f"\n{choice.details()}\n{names}")
    listing = _Listing(
        _Column("optimizer", leads=True), _Column("state", right=True), _Column("bytes per\nweight", right=True)
    )
    unknown = _Listing(_Column(leads=True), _Column(sentences=True))
    for key, size in sorted(sizes.items(), key=lambda item: (isinstance(item[1], str), item[1], item[0])):
        if isinstance(size, str):
            unknown.add(escape(key), escape(size))
        else:
            listing.add(escape(key), bytes_words(size), f"{size / weights:.2f}")
    parts = [part for part in (listing, unknown) if part.filled]
    return Group(head, *parts, *([f"\n{kept}"] if kept else []))
