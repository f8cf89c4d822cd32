"""SamplesView: small pictures of what each run's model makes from the same noise, beside real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from diffopt_widgets.tasks.picture import samples_png
from diffopt_widgets.widgets.page.html import escape, picture

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.tasks import Samples

COLUMNS = 5
"""Images side by side, so that the pictures of all kinds of samples are about square."""


class SamplesView(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """One strip for each run: what was made from the same noise, from before training to its end, and real examples.

    >>> import diffopt_widgets as dw
    >>> view, run = SamplesView(), dw.train(dw.Settings("PRODIGY"), task="swiss_roll", steps=4, progress=False)
    >>> view.show(run, "#1B80C4")
    >>> "before training" in view.strips[run.key].value, "step 4" in view.strips[run.key].value
    (True, True)
    """

    def __init__(self) -> None:
        self.strips: dict[str, widgets.HTML] = {}
        self._pictures: dict[str, dict[int, str]] = {}
        self._wanted: dict[str, str] = {}
        self._title = widgets.HTML(
            '<span class="dw-runs-title">Samples: what the model draws, each time from the same noise; '
            "at the end, real ones</span>"
        )
        super().__init__([])
        self.add_class("dw-samples")

    def show(self, run: Run, color: str, *, visible: bool = True) -> None:
        """Paint the samples of a run as far as they are there; nothing is sent when they have not changed."""
        if run.key not in self.strips:
            if not run.samples:
                return
            self.strips[run.key], self._pictures[run.key] = widgets.HTML(), {}
            self._wanted[run.key] = _real(run.wanted) if run.wanted else ""
            self._arrange()
        drawn = self._pictures[run.key]
        for step, samples in run.samples.items():
            if step not in drawn:
                drawn[step] = _drawn_at(samples, step)
        swatch = f'<span class="dw-swatch" style="background:{escape(color)}"></span>'
        figures = "".join(drawn[step] for step in sorted(drawn))
        strip = self.strips[run.key]
        strip.value = (
            f'<div class="dw-strip-name">{swatch} {escape(run.name)}</div>'
            f'<div class="dw-strip">{figures}{self._wanted[run.key]}</div>'
        )
        strip.layout.display = None if visible else "none"

    def remove(self, key: str) -> None:
        """Take a run's strip away, if it has one."""
        if strip := self.strips.pop(key, None):
            del self._pictures[key], self._wanted[key]
            self._arrange()
            strip.close()

    def _arrange(self) -> None:
        self.children = (self._title, *self.strips.values()) if self.strips else ()


def _drawn_at(samples: Samples, step: int) -> str:
    words = "before training" if step == 0 else f"step {step}"
    return _figure(samples, words, f"samples, {words}")


def _real(wanted: Samples) -> str:
    """Real examples in the same places, so that each sample can be held against what was asked for."""
    if wanted.kind == "points" or wanted.labels is None:
        return _figure(wanted, "real ones", "real examples", css="dw-real")
    rows = [wanted.labels[start : start + COLUMNS] for start in range(0, len(wanted.labels), COLUMNS)]
    places = "; ".join(" ".join(map(str, row)) for row in rows)
    return _figure(wanted, "real ones", f"real examples, row by row: {places}", css="dw-real")


def _figure(samples: Samples, words: str, alt: str, css: str = "") -> str:
    image = picture(samples_png(samples, columns=COLUMNS), alt, "dw-sample")
    return f'<figure class="{css}">{image}<figcaption>{escape(words)}</figcaption></figure>'
