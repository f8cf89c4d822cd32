"""SamplesView: pictures of what the models of some runs make from noise, before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets as widgets

from diffopt_widgets.tasks.picture import samples_png
from diffopt_widgets.ui.html import escape, picture

if TYPE_CHECKING:
    from diffopt_widgets.runs import Run
    from diffopt_widgets.tasks import Samples


class SamplesView(widgets.HTML):  # type: ignore[misc]  # ipywidgets is not typed
    """What was made from the same noise before training, and by each run after it."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("dw-samples")

    def show(self, runs: Sequence[Run], colors: Sequence[str]) -> None:
        """Paint the samples of the runs that have ended, those of the latest run's task only."""
        ended = [(run, color) for run, color in zip(runs, colors, strict=True) if run.samples_after is not None]
        if not ended:
            self.value = ""
            return
        latest = ended[-1][0]
        figures = [_figure(latest.samples_before, "before training", "transparent")]
        figures += [
            _figure(run.samples_after, run.name, color) for run, color in ended if run.plan.task == latest.plan.task
        ]
        title = '<span class="dw-runs-title">Samples, from the same noise</span>'
        self.value = f'{title}<div class="dw-strip">{"".join(figures)}</div>'


def _figure(samples: Samples | None, caption: str, color: str) -> str:
    if samples is None:
        return ""
    image = picture(samples_png(samples), f"samples: {caption}", "dw-sample")
    swatch = f'<span class="dw-swatch" style="background:{escape(color)}"></span>'
    return f"<figure>{image}<figcaption>{swatch}{escape(caption)}</figcaption></figure>"
