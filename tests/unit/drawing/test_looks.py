"""How runs are told apart: colours first, then line styles, the same in every picture; points where values are few."""

import re

import numpy as np
import pytest
from histories import append

from diffopt_widgets import Run, RunPlan, Settings
from diffopt_widgets.drawing.curves import Curve, colored, panel_lines
from diffopt_widgets.drawing.figures import figure
from diffopt_widgets.drawing.panels import DASHES, EVALUATION, LOSS, PALETTE, RATE
from diffopt_widgets.drawing.picture import picture_svg
from diffopt_widgets.drawing.raster import rasterize
from diffopt_widgets.records import History
from diffopt_widgets.runs.collection import Collection
from diffopt_widgets.widgets.plot.live import LivePlot


@pytest.fixture
def history():
    found = History(("unet",))
    append(found, 9)
    return found


def test_as_many_runs_as_there_are_pairs_of_colour_and_style_look_different(history):
    curves = colored([Curve(f"run {i}", history) for i in range(len(PALETTE) * len(DASHES))])
    assert len({(curve.color, curve.dash) for curve in curves}) == len(curves) == 48
    assert [curve.dash for curve in curves[:8]] == ["solid"] * 8
    mixed = colored([Curve("a", history, PALETTE[0]), Curve("b", history), Curve("c", history, PALETTE[0])])
    assert [(curve.color, curve.dash) for curve in mixed] == [
        (PALETTE[0], "solid"),
        (PALETTE[1], "solid"),
        (PALETTE[0], "dash"),
    ]


def test_plot_and_collection_give_the_same_looks_and_keep_them(history):
    plot, collection = LivePlot(), Collection()
    for i in range(12):
        plot.add_run(str(i), f"run {i}", history)
        collection.add(Run(RunPlan(Settings("ADAMW")), f"run {i}", key=str(i)))
    looks = [(run.color, run.dash) for run in plot.shown.now.values()]
    assert looks == [(run.color, run.dash) for run in collection.shown.now.values()]
    assert len(set(looks)) == 12
    plot.remove_run("0")
    assert [(run["color"], run["dash"]) for run in plot.runs] == looks[1:]
    assert [(curve.color, curve.dash) for curve in plot.curves()] == looks[1:]
    plot.add_run("again", "again", history)
    assert (plot.shown.now["again"].color, plot.shown.now["again"].dash) == looks[0]


def test_figure_svg_and_its_legend_have_the_styles(history):
    curves = [Curve(f"run {i}", history) for i in range(17)]
    styles = {trace.name: trace.line.dash for trace in figure(curves, (LOSS,)).data if trace.showlegend}
    assert [styles[f"run {i}"] for i in (0, 8, 16)] == ["solid", "dash", "dot"]
    svg = picture_svg(curves, (LOSS,))
    legend = re.findall(r'<path d="M\d+ \d+h24"[^>]*?(?:stroke-dasharray="([^"]*)")?/><text[^>]*>(run \d+)</text>', svg)
    assert [(dash, name) for dash, name in legend if name in {"run 0", "run 8", "run 16"}] == [
        ("", "run 0"),
        ("5 4", "run 8"),
        ("1.5 3", "run 16"),
    ]


def test_a_schedule_stays_dashed_and_single_values_solid_in_any_style(history):
    curve = Curve("a", history, dash="longdash", schedule=True)
    assert [(line.label, line.dash) for line in panel_lines([curve], RATE, smoothing=0.9, points=9)] == [
        ("a", "longdash"),
        ("a · schedule", "dash"),
    ]
    assert [line.dash for line in panel_lines([curve], LOSS, smoothing=0.9, points=9)] == ["solid", "longdash"]


@pytest.mark.parametrize(("runs", "faint"), [(12, 12), (13, 0)])
def test_means_lie_over_the_single_values_of_all_runs_which_are_left_out_when_many(history, runs, faint):
    lines = panel_lines([Curve(f"{i}", history) for i in range(runs)], LOSS, smoothing=0.9, points=9)
    assert [line.faint for line in lines] == [True] * faint + [False] * runs


def test_few_values_have_points_in_every_picture():
    history = History(("unet",))
    append(history, 4)
    append(history, 1, eval_loss=0.5)
    append(history, 4)
    append(history, 1, eval_loss=0.25)
    curve = Curve("a", history, "#1B80C4")
    [trace] = figure([curve], (EVALUATION,)).data
    assert (trace.mode, list(trace.x), list(trace.y)) == ("lines+markers", [5, 10], [0.5, 0.25])
    svg = picture_svg([curve], (EVALUATION,))
    [(places, width)] = re.findall(r'<path d="((?:M[\d.]+ [\d.]+h0)+)"[^>]*stroke-width="([\d.]+)"', svg)
    (x, y), _ = re.findall(r"M([\d.]+) ([\d.]+)", places)
    pixels = rasterize(svg)[..., :3].astype(int)
    inked = np.abs(pixels - (27, 128, 196)).max(axis=2) <= 2
    around = inked[int(2 * float(y)) - 4 : int(2 * float(y)) + 4, int(2 * float(x)) - 4 : int(2 * float(x)) + 4]
    assert width == "5"
    assert around.mean() > 0.7  # of a circle's square
