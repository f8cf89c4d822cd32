"""Pictures of values that are not as one thinks: unknown times, numbers near the largest, one value throughout, no panel."""

import json
import re
import warnings

import numpy as np
import pytest
from histories import append

from diffopt_widgets import Run, RunPlan, Settings
from diffopt_widgets.drawing.curves import Curve
from diffopt_widgets.drawing.figures import figure
from diffopt_widgets.drawing.panels import LOSS, RATE, metric_panel
from diffopt_widgets.drawing.picture import picture_svg
from diffopt_widgets.drawing.svg import LEFT, Line, line_chart
from diffopt_widgets.records import History
from diffopt_widgets.widgets.plot.live import LivePlot


@pytest.mark.parametrize("unknown", [[0], [29], [0, 1, 15, 29]])
def test_a_curve_whose_first_or_last_times_are_not_known_stays_in_its_panel(unknown):
    history = History(("unet",))
    seconds = np.arange(30.0) / 10
    seconds[unknown] = np.nan
    history.extend_columns(range(1, 31), {"seconds": seconds, "loss": np.ones(30)})
    svg = picture_svg([Curve("a", history)], [LOSS], x="time")
    places = [
        float(x)
        for path in re.findall(r'd="([^"]+)" fill="none" stroke="#', svg)
        for x in re.findall(r"[ML]([\d.]+) ", path)
    ]
    assert (min(places), max(places)) == (LEFT, 460 - 16)
    options = figure([Curve("a", history)], [LOSS], x="time").layout.xaxis.autorangeoptions
    assert (options.clipmin, options.clipmax) == (np.nanmin(seconds), np.nanmax(seconds))


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_numbers_near_the_largest_are_left_out_without_a_warning(scale):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = line_chart([Line("a", [1, 2, 3, 4], [1.0, 1e308, -1e308, 2.0])], scale=scale)
    assert re.search(r'd="M[\d. ]+M[\d. ]+" fill="none" stroke="currentColor"', svg)


@pytest.mark.parametrize(("panel", "mode"), [(RATE, "tozero"), (LOSS, None)])
def test_a_rate_that_stays_the_same_is_not_drawn_where_zero_is(panel, mode):
    """Plotly alone gives a constant the axis from -1 to 1, which has 1e-4 at its "0"."""
    history = History(("unet",))
    append(history, 5)
    drawn = figure([Curve("a", history)], [panel], smoothing=0)
    axis = next(drawn.select_yaxes())
    assert (len(set(drawn.data[0].y)) == 1, axis.rangemode) == (mode is not None, mode)


def test_the_schedule_beside_a_constant_rate_does_not_count():
    history = History(("unet",))
    history.extend_columns(range(1, 4), {"applied_lr": [[1e-4]] * 3, "lr": [[1.0], [0.5], [0.0]]})
    drawn = figure([Curve("a", history, schedule=True)], [RATE])
    assert next(drawn.select_yaxes()).rangemode == "tozero"


def test_a_plot_without_panels_is_an_empty_figure():
    plot = LivePlot(panels=[])
    assert len(plot.figure().data) == 0
    assert plot.svg().startswith("<svg")


def test_a_name_has_only_characters_that_can_be_sent_and_drawn():
    name, shown = "a\x01b\ud800", "a\ufffdb\ufffd"
    run = Run(RunPlan(Settings("LION")), name)
    assert run.name == shown
    run.rename(name + "c")
    assert run.name == shown + "c"
    history = History(("unet",))
    append(history, 2)
    plot = LivePlot([LOSS, metric_panel("x")])
    plot.add_run("a", name, history, details={name: name}, group=name)
    plot.rename_run("a", name + "c")
    json.dumps(plot.runs, ensure_ascii=False).encode()
    assert plot.runs[0]["name"] == shown + "c"
