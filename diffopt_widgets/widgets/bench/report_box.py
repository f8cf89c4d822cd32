"""ReportBox: a button that reports how the shown runs ended, as a table and as Markdown to copy."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from diffopt_widgets.execution.report import report
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings import SettingsError
from diffopt_widgets.widgets.page.page_widget import PageWidget

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run

NONE_FINISHED = "A report needs a run that has finished, among those that are shown."


@printed_readably
class ReportBox(PageWidget):
    """Button "Report", and below it what `dw.report` says of the shown runs while it is open.

    >>> import diffopt_widgets as dw
    >>> box = ReportBox()
    >>> box.why
    'A report needs a run that has finished, among those that are shown.'
    >>> box.follow([dw.train("ADAMW", "swiss_roll", 3, progress=False)])
    >>> box.shown = True
    >>> box.why, box.cells[0][:2], box.markdown.startswith("| setting | evaluation loss |")
    ('', ['setting', 'evaluation loss'], True)
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("page/dom.js", "report_box.js")
    STYLES = ("page/theme.css", "report_box.css")
    shown = traitlets.Bool(help="True while the report is shown; the page's button sets it too.").tag(sync=True)
    why = traitlets.Unicode(NONE_FINISHED, read_only=True, help="Why there is no report; empty when there is.").tag(
        sync=True
    )
    markdown = traitlets.Unicode(read_only=True, help="The report, to be pasted elsewhere.").tag(sync=True)
    cells: traitlets.List[Any] = traitlets.List(read_only=True, help="Its table, row by row, as plain text.").tag(
        sync=True
    )
    lines: traitlets.List[Any] = traitlets.List(read_only=True, help="What the table means, as plain text.").tag(
        sync=True
    )

    def __init__(self) -> None:
        self._runs: tuple[Run, ...] = ()
        self._told: object = None
        """Runs, names and ends of which the present text tells."""
        super().__init__()
        self.observe(lambda _: self._write(), ["shown"])

    def __repr__(self) -> str:
        return f"ReportBox({'open' if self.shown else 'closed'}, {len(self._runs)} runs)"

    def follow(self, runs: Sequence[Run]) -> None:
        """Report these runs from now on; an open report is written anew when one of them ends or changes its name."""
        self._runs = tuple(runs)
        self.set_trait("why", "" if any(run.status == "done" for run in runs) else NONE_FINISHED)
        if self.why:
            self.shown = False
        self._write()

    def _write(self) -> None:
        told = [(run.key, run.name, run.status) for run in self._runs]
        if not self.shown or self.why or told == self._told:
            return
        try:
            made = report(self._runs)
            markdown, cells, lines = made.markdown(), made.cells(), made.plain_sentences()
        except SettingsError as refusal:
            markdown, cells, lines = "", [], [str(refusal)]
        self._told = told
        with self.hold_sync():
            self.set_trait("markdown", markdown)
            self.set_trait("cells", cells)
            self.set_trait("lines", lines)
