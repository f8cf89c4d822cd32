"""SamplesView: small pictures of each run's samples from the same noise, beside real examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets

from diffopt_widgets.tasks.picture import samples_png
from diffopt_widgets.widgets.page.html import NO_MATH, escape, picture

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run
    from diffopt_widgets.runs.shown import Shown
    from diffopt_widgets.tasks import Samples

COLUMNS = 5
"""Images in one row, so that the pictures of all kinds of samples are about square."""


class SamplesView(widgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """One strip for each run: its samples from the same noise, from before training to its end, and real examples.

    >>> import diffopt_widgets as dw
    >>> from diffopt_widgets.runs.shown import Shown
    >>> view, run = SamplesView(), dw.train(dw.Settings("PRODIGY"), task="swiss_roll", steps=4, progress=False)
    >>> view.show(run, Shown(run.key, run.name, "#1B80C4"))
    >>> "before training" in view.strips[run.key].value, "step 4" in view.strips[run.key].value
    (True, True)
    """

    def __init__(self) -> None:
        self.strips: dict[str, widgets.HTML] = {}
        self._pictures: dict[str, dict[int, str]] = {}
        self._real: dict[str, str] = {}
        self._title = widgets.HTML(
            '<span class="dw-runs-title">Samples that the model makes, each time from the same noise; '
            "real examples at the end</span>"
        )
        super().__init__([])
        self.add_class("dw-samples")

    def __repr__(self) -> str:
        return f"SamplesView({len(self.strips)} run{'s' * (len(self.strips) != 1)})"

    def show(self, run: Run, shown: Shown) -> None:
        """Paint the samples that a run has so far; nothing is sent when they have not changed."""
        if run.key not in self.strips:
            if not run.samples:
                return
            self.strips[run.key], self._pictures[run.key] = widgets.HTML(), {}
            self._real[run.key] = _real_figure(run.wanted) if run.wanted else ""
            self._arrange()
        drawn = self._pictures[run.key]
        for step, samples in run.samples.items():
            if step not in drawn:
                drawn[step] = _drawn_at(samples, step)
        swatch = f'<span class="dw-swatch" style="background:{escape(shown.color)}"></span>'
        figures = "".join(drawn[step] for step in sorted(drawn))
        strip = self.strips[run.key]
        strip.value = (
            f'<div class="dw-strip-name {NO_MATH}">{swatch} {escape(shown.name)}</div>'
            f'<div class="dw-strip">{figures}{self._real[run.key]}</div>'
        )
        strip.layout.display = None if shown.visible else "none"

    def remove(self, key: str) -> None:
        """Remove a run's strip, if it has one."""
        if strip := self.strips.pop(key, None):
            del self._pictures[key], self._real[key]
            self._arrange()
            strip.close()

    def _arrange(self) -> None:
        self.children = (self._title, *self.strips.values()) if self.strips else ()


def _drawn_at(samples: Samples, step: int) -> str:
    caption = "before training" if step == 0 else f"step {step}"
    return _figure(samples, caption, f"samples, {caption}")


def _real_figure(real: Samples) -> str:
    """Figure of real examples, each with the label of the sample in the same place."""
    if real.kind == "points" or real.labels is None:
        return _figure(real, "real examples", "real examples", css="dw-real")
    rows = [real.labels[start : start + COLUMNS] for start in range(0, len(real.labels), COLUMNS)]
    places = "; ".join(" ".join(map(str, row)) for row in rows)
    return _figure(real, "real examples", f"real examples, row by row: {places}", css="dw-real")


def _figure(samples: Samples, caption: str, alt: str, css: str = "") -> str:
    image = picture(samples_png(samples, columns=COLUMNS), alt, "dw-sample")
    return f'<figure class="{css}">{image}<figcaption>{escape(caption)}</figcaption></figure>'
