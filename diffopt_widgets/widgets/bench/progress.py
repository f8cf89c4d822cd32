"""Progress: the progress bar of a run, and the words that a screen reader speaks."""

from __future__ import annotations

import pathlib

import traitlets

from diffopt_widgets.widgets.page.page_widget import PageWidget


class Progress(PageWidget):
    """Progress bar that screen readers know as one, with invisible lines that they speak when those change.

    >>> bar = Progress()
    >>> bar.show(0.5, "step 150 of 300, 12 s left")
    >>> bar.said = "PRODIGY: evaluation loss 0.19"
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("page/dom.js", "progress.js")
    STYLES = ("page/theme.css", "progress.css")
    value = traitlets.Float(0.0, min=0.0, max=1.0, help="Done share of the run.").tag(sync=True)
    words = traitlets.Unicode("nothing is running", help="The same in words.").tag(sync=True)
    outcome = traitlets.Unicode(help="`done`, `failed`, or empty.").tag(sync=True)
    said = traitlets.Unicode(help="Spoken when the reader has a pause: the end of a run.").tag(sync=True)
    alert = traitlets.Unicode(help="Spoken at once: what went wrong.").tag(sync=True)
    hidden = traitlets.Bool(help="True while something else stands in place of the bar.").tag(sync=True)

    def __repr__(self) -> str:
        return f"Progress({self.value:.0%})"

    def reset(self) -> None:
        """Paint that nothing is running, and speak of nothing."""
        self.show(0.0, Progress.words.default_value)
        self.said = self.alert = ""

    def show(self, value: float, words: str, outcome: str = "") -> None:
        """Paint the done share of a run, or its outcome."""
        with self.hold_sync():
            self.value, self.words, self.outcome = value, words, outcome
