"""Runs that differ by their seed only are one line with a band, one colour and one row, wherever runs are shown."""

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.drawing.curves import Curve, panel_lines
from diffopt_widgets.drawing.drawables import heading
from diffopt_widgets.drawing.panels import LOSS
from diffopt_widgets.drawing.picture import picture_svg
from diffopt_widgets.drawing.raster import rasterize
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.runs.collection import Collection
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.variations import setting_names
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.tables.runs_table import RunsTable


def history_of(losses):
    made = History(("all",))
    made.extend(StepRecord(i, float(i), loss, (1.0,), (0.1,)) for i, loss in enumerate(losses, 1))
    return made


def run_of(d_coef=1.0, seed=0, losses=(1.0, 0.5), **more):
    plan = RunPlan(dw.Settings("PRODIGY", d_coef=d_coef), "swiss_roll", max(1, len(losses)), seed=seed)
    return Run(plan, history=history_of(losses), status="done", eval_after=losses[-1] if losses else None, **more)


def test_only_runs_with_several_seeds_share_a_setting():
    plans = [run_of(d_coef, seed).plan for d_coef, seed in ((0.5, 0), (0.5, 1), (2.0, 0), (2.0, 0), (3.0, 4))]
    assert setting_names([*plans, None]) == ["PRODIGY · d_coef 0.5"] * 2 + [""] * 4
    near = [run_of(value, seed).plan for value in (0.1, 0.1 + 1e-15) for seed in (0, 1)]
    assert len(set(setting_names(near))) == 2  # two values that look alike are still two settings


def test_the_line_is_the_median_and_the_band_the_range_at_each_step():
    losses = [[5.0, 4.0, 9.0], [1.0, 2.0, np.inf], [3.0, 8.0]]
    curves = [Curve(f"seed {i}", history_of(one), setting="both") for i, one in enumerate(losses)]
    curves.append(Curve("alone", history_of([1.0, 1.0, 1.0])))
    band, line, alone = panel_lines(curves, LOSS, smoothing=0, points=100)
    assert (line.name, line.y.tolist()) == ("both (3 seeds)", [3.0, 4.0, 9.0])
    assert (band.low.tolist(), band.y.tolist()) == ([1.0, 2.0, 9.0], [5.0, 8.0, 9.0])
    assert (band.color, alone.name) == (line.color, "alone")
    assert alone.color != line.color


def test_a_band_that_has_no_width_is_not_drawn():
    curves = [Curve("a", history_of([1.0, 2.0]), setting="x"), Curve("b", history_of([1.0, 2.0]), setting="x")]
    assert [line.low for line in panel_lines(curves, LOSS, smoothing=0, points=100)] == [None]


def test_figure_picture_and_pixels_have_the_band():
    runs = [run_of(seed=seed, losses=[seed + 1.0] * 40) for seed in range(3)]
    figure = dw.compare(runs)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["PRODIGY (3 seeds)"]
    (band,) = [trace for trace in figure.data if trace.fill == "toself" and trace.yaxis == "y"]
    assert (min(band.y), max(band.y), band.x[0], band.x[-1]) == (1.0, 3.0, 1, 1)
    curves = [Curve(run.name, run.history, "#ff0000", setting="x") for run in runs]
    pixels = rasterize(picture_svg(curves, (LOSS,)))[..., :3].astype(int)
    faint = (pixels[..., 0] > 240) & (pixels[..., 1] > 150) & (pixels[..., 1] < 230) & (pixels[..., 2] < 230)
    assert faint.mean() > 0.2  # a wide part of the page


def test_the_heading_tells_the_median_and_a_diverged_setting_is_not_the_best():
    runs = [run_of(d_coef, seed, [9.0, d_coef + seed]) for d_coef in (1.0, 2.0, 3.0, 4.0, 5.0) for seed in (0, 1, 5)]
    title, _, losses = heading(runs)
    assert title == "5 settings with 3 seeds each on swiss_roll"
    assert losses.replace("\N{NO-BREAK SPACE}", " ") == (
        "Evaluation loss at the end, median of the seeds: best 2 (d_coef 1, 1 to 6), worst 6 (d_coef 5, 5 to 10)"
    )
    runs[1] = run_of(1.0, 1, [9.0, np.nan])
    losses = heading(runs)[2].replace("\N{NO-BREAK SPACE}", " ")
    assert "best 3 (d_coef 2" in losses
    assert "Diverged: d_coef 1, seed 1" in losses


def test_one_colour_in_table_and_plot_also_for_a_seed_that_comes_later_and_alone_when_the_others_go():
    collection = Collection(compares=True)
    runs = [run_of(0.5, 0), run_of(2.0, 0), run_of(0.5, 1), run_of(0.5, 2)]
    for run in runs:
        collection.add(run)
    shown = list(collection.shown.now.values())
    assert [one.setting for one in shown] == ["PRODIGY · d_coef 0.5", "", *["PRODIGY · d_coef 0.5"] * 2]
    assert len({(one.color, one.dash) for one in shown}) == 2
    plot, table = LivePlot(shown=collection.shown), RunsTable(collection=collection)
    for run in runs:
        plot.draw_run(run.key, run.history)
    assert [run["setting"] for run in plot.runs] == [row["setting"] for row in table.rows]
    collection.remove(runs[0].key)
    collection.remove(runs[2].key)
    assert {one.setting for one in collection.shown.now.values()} == {""}
    collection.restore()
    assert [one.setting for one in collection.shown.now.values()].count("PRODIGY · d_coef 0.5") == 2


def test_more_settings_than_looks_are_coloured_by_the_first_option_that_varies_but_a_chosen_colour_stays():
    collection = Collection(compares=True)
    plans = [
        RunPlan(dw.Settings("PRODIGY", lr=float(lr), d_coef=float(d)), "swiss_roll", 2)
        for lr in (1, 2)
        for d in range(1, 14)
    ]
    for i, plan in enumerate(plans):
        collection.add(Run(plan), "#123456" if i == 3 else None)
    looks = [(one.color, one.dash) for one in collection.shown.now.values()]
    assert looks[3][0] == "#123456"
    assert len({look for i, look in enumerate(looks[:13]) if i != 3}) == len(set(looks[13:])) == 1
    assert looks[0] != looks[13]


def test_loose_histories_of_one_setting_share_their_look():
    plot = LivePlot()
    for seed in range(2):
        plot.add_run(f"a{seed}", f"a {seed}", history_of([1.0, seed]), setting="a")
    plot.add_run("b", "b", history_of([1.0]))
    assert [run["color"] for run in plot.runs[:2]] == [plot.runs[0]["color"]] * 2
    assert plot.runs[2]["color"] != plot.runs[0]["color"]
    assert [trace.name for trace in plot.figure().data if trace.showlegend] == ["a (2 seeds)", "b"]


def test_the_table_for_pages_without_widgets_has_a_row_for_the_setting():
    still = RunsTable([run_of(1.0, seed, [2.0, 1.0 + seed]) for seed in range(3)] + [run_of(2.0)]).still()
    (line,) = [line for line in still.text.splitlines() if "3 seeds" in line]
    assert line.split("  ")[0] == "PRODIGY · d_coef 1 (3 seeds)"
    assert "2, 1 to 3" in line
    assert "Of several seeds" in still.text


@pytest.mark.parametrize("columns", [3, 7])
def test_settings_are_compared_once_for_all_their_seeds(columns):
    runs = [run_of(0.5 * i, seed) for i in range(1, columns + 1) for seed in range(2)]
    table = RunsTable(runs)
    assert table.comparison["keys"] == [run.key for run in runs[::2]]
