"""Figures of several options: medians in the cells, holes where nothing was trained, and no best where a seed diverged."""

import math

import pytest

import diffopt_widgets as dw
from diffopt_widgets.records import History, StepRecord
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan


def run_of(loss, seed=0, optimizer="PRODIGY", steps=2, **options):
    plan = RunPlan(dw.Settings(optimizer, **options), "swiss_roll", steps, seed=seed)
    history = History(("all",))
    history.extend(StepRecord(i, float(i), loss, (1.0,), (0.1,)) for i in range(1, steps + 1))
    return Run(plan, history=history, status="done", eval_after=loss)


def grid():
    """Three rates and two values of d_coef, three seeds each; one cell is missing, a seed of another diverged."""
    found = []
    for lr in (0.1, 1.0, 10.0):
        for d_coef in (0.5, 2.0):
            if (lr, d_coef) == (10.0, 2.0):
                continue
            for seed, more in enumerate((0.0, 0.5, 5.0)):
                gone = (lr, d_coef, seed) == (0.1, 0.5, 1)
                found.append(run_of(math.nan if gone else lr + d_coef + more, seed, lr=lr, d_coef=d_coef))
    return found


def test_a_cell_is_the_median_of_its_seeds_or_empty_and_a_diverged_one_is_marked():
    figure = dw.compare_options(grid(), "lr", "d_coef")
    heat, marks = figure.data
    assert [[None if z is None else round(z, 6) for z in row] for row in heat.z] == [
        [None, 2.0, 11.0],
        [2.6, 3.5, None],
    ]
    assert (list(marks.x), list(marks.text)) == ([-1.0], ["✕ diverged"])
    assert "Best: 2 (lr 1, d_coef 0.5)" in figure.layout.title.text
    assert "median of 3 seeds" in figure.layout.title.text
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.x1) == (-0.5, 0.5)


def test_a_logarithmic_option_has_a_logarithmic_axis_and_any_other_its_values_in_order():
    runs = [run_of(1.0, lr=lr, beta2=beta2) for lr in (1e-3, 1e-1, 1.0) for beta2 in (0.999, 0.9, 0.99)]
    axes = dw.compare_options(runs).layout
    assert list(axes.xaxis.tickvals) == pytest.approx([-3, -1, 0])
    assert (list(axes.yaxis.tickvals), list(axes.yaxis.ticktext)) == ([0, 1, 2], ["0.9", "0.99", "0.999"])


def test_a_map_of_more_options_has_the_lowest_loss_over_the_others():
    runs = [
        run_of(lr + d_coef + beta2, lr=lr, d_coef=d_coef, beta2=beta2)
        for lr in (1.0, 2.0)
        for d_coef in (1.0, 2.0)
        for beta2 in (0.9, 0.99)
    ]
    heat = dw.compare_options(runs, kind="map").data[0]
    assert [[round(z, 6) for z in row] for row in heat.z] == [[2.9, 3.9], [3.9, 4.9]]
    lines = dw.compare_options(runs).data[0]
    assert [one.label for one in lines.dimensions] == ["lr", "d_coef", "beta2", "evaluation loss"]
    assert len(lines.dimensions[0]["values"]) == 8
    assert lines.line.color[-1] == pytest.approx(2.9)  # the best lies over the others


def test_lines_of_diverged_settings_end_beyond_all_losses_in_grey():
    lines = dw.compare_options(grid(), kind="lines").data[0]
    loss = lines.dimensions[-1]
    assert loss.ticktext[-1] == "diverged"
    assert max(loss["values"]) == loss.tickvals[-1] > loss.tickvals[-2]
    assert list(loss["values"]).count(loss.tickvals[-1]) == 1
    assert lines.line.colorscale[-1][1] == "#B0B0B0"


def test_an_option_that_one_optimizer_lacks_has_a_place_of_its_own():
    runs = [
        run_of(1.0, d_coef=0.5),
        run_of(1.5),
        run_of(2.0, optimizer="ADAMW", lr=1e-3),
        run_of(3.0, optimizer="ADAMW"),
    ]
    lines = dw.compare_options(runs, kind="lines").data[0]
    places = next(one for one in lines.dimensions if one.label == "d_coef")
    assert "not there" in places.ticktext


@pytest.mark.parametrize(
    ("runs", "arguments", "words"),
    [
        ([], {}, "no option varies"),
        ([run_of(1.0), run_of(2.0, seed=1)], {}, "no option varies in these runs"),
        ([run_of(1.0), run_of(2.0, d_coef=0.5)], {}, r"only d_coef varies.*Vary two or more, such as dw\.sweep"),
        (grid(), {"x": "beta2"}, "does not vary in these runs. Allowed: lr, d_coef"),
        (grid(), {"x": "lr", "y": "lr"}, "stands at x already"),
        (grid(), {"kind": "pie"}, "no such figure"),
        ([run_of(1.0, steps=3, d_coef=0.5), run_of(1.0)], {}, "cannot be compared: the runs have different lengths"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_words(runs, arguments, words):
    with pytest.raises(dw.SettingsError, match=words):
        dw.compare_options(runs, **arguments)


def test_runs_of_which_none_finished_are_drawn_as_holes():
    runs = [run_of(math.nan, lr=lr, d_coef=d_coef) for lr in (1.0, 2.0) for d_coef in (1.0, 2.0)]
    figure = dw.compare_options(runs)
    assert all(z is None for row in figure.data[0].z for z in row)
    assert len(figure.data[1].x) == 4
    assert "No setting finished" in figure.layout.title.text
    assert not figure.layout.shapes
