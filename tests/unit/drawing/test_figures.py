"""Figures of runs: panels in rows, a heading with settings and results, nothing over anything else; and their files."""

import re
import struct

import numpy as np
import pytest
from histories import NASTY, append

import diffopt_widgets as dw
from diffopt_widgets.drawing.curves import Curve
from diffopt_widgets.drawing.drawables import heading
from diffopt_widgets.drawing.figures import FIGURE_CHARACTERS, PANEL_CHARACTERS, figure
from diffopt_widgets.drawing.panels import DEFAULT_PANELS, GROUP_RATE, metric_panel
from diffopt_widgets.records import History
from diffopt_widgets.runs.compared import verdict
from diffopt_widgets.settings.variations import shared_words
from diffopt_widgets.store import LoggedRun


def trained(key="PRODIGY", steps=100, seed=0, **options):
    history = History(("unet",))
    append(history, steps - 1, d=1e-3, d_hat=1e-3)
    append(history, 1, d=1e-3, d_hat=1e-3, eval_loss=0.125)
    plan = dw.RunPlan(dw.Settings(key, **options), "digits", steps, seed=seed)
    return dw.Run(plan, history=history, status="done", eval_before=1.0, eval_after=0.125)


def plain(lines):
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def texts(svg):
    return plain(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_the_heading_of_a_run_has_its_settings_and_results():
    assert plain(heading([trained(d_coef=0.5, schedule="COSINE", seed=3)])) == [
        "PRODIGY · COSINE · d_coef 0.5",
        "PRODIGY, lr 1, COSINE, d_coef 0.5, digits, 100 steps, batch size 64, seed 3, float32",
        "At the end: evaluation loss 0.125, training loss 98 (mean of the last 5 steps)",
    ]


def test_the_heading_of_several_has_what_they_share_and_each_result_or_the_best_and_the_worst():
    runs = [trained(d_coef=value) for value in (0.5, 1.0, 1.2)]
    for run, loss in zip(runs, (0.25, 0.5, 0.125), strict=True):
        run.record_evaluation(after=loss)
    assert plain(heading(runs)) == [
        "3 runs on digits",
        "PRODIGY, lr 1, CONSTANT, digits, 100 steps, batch size 64, seed 0, float32",
        "Evaluation loss at the end: 0.25 (d_coef 0.5) · 0.5 (d_coef 1) · 0.125 (d_coef 1.2)",
    ]
    runs += [trained(seed=seed, d_coef=d_coef) for seed, d_coef in ((1, 2.0), (2, 3.0))]
    title, common, results = plain(heading(runs))
    assert (title, "seed" in common) == ("5 runs on digits", False)
    assert results.startswith("Evaluation loss at the end: best 0.125 (")
    assert results.endswith("worst 0.5 (d_coef 1, seed 0)")


@pytest.mark.slow
def test_a_run_without_a_plan_has_its_name_and_its_last_losses():
    history = trained().history
    logged = LoggedRun(NASTY, history)
    assert (logged.eval_after, logged.final_loss) == (0.125, 98.0)
    assert plain(heading([logged])) == [
        NASTY,
        "At the end: evaluation loss 0.125, training loss 98 (mean of the last 5 steps)",
    ]
    assert heading([LoggedRun("empty", History(()))]) == ["empty"]
    assert "<img" not in logged.figure().layout.title.text
    assert "<img" not in dw.compare([logged, trained()]).to_json()


def boxes(drawn):
    """Place of each panel in pixels, as (left, right, bottom, top), in a figure that is 500 pixels wide."""
    layout = drawn.layout
    wide = 500 - layout.margin.l - layout.margin.r
    tall = layout.height - layout.margin.t - layout.margin.b
    for axis in drawn.select_yaxes():
        if axis.overlaying is None:
            x, y = layout[axis.anchor.replace("x", "xaxis", 1)].domain, axis.domain
            yield x[0] * wide, x[1] * wide, y[0] * tall, y[1] * tall


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("schedule", [False, True])
def test_panels_lie_in_rows_with_room_for_their_ticks_and_titles(count, schedule):
    history = History(("unet",))
    append(history, 5, d=1e-3, eval_loss=1.0, metrics={f"metric {i}": 1.0 for i in range(3)})
    panels = [panel for panel in DEFAULT_PANELS if panel is not GROUP_RATE]
    panels += [metric_panel(f"metric {i}") for i in range(3)]
    drawn = figure([Curve("a", history, schedule=schedule)], panels[:count])
    places = list(boxes(drawn))
    assert len(places) == count
    for left, right, bottom, top in places:
        assert top - bottom >= 180
        assert right - left >= 150
    for i, (left, right, bottom, top) in enumerate(places):
        for other in places[i + 1 :]:
            beside = other[0] - right >= 45 or left - other[1] >= 45
            below = bottom - other[3] >= 80 or other[2] - top >= 80
            assert beside or below
    if count % 2:
        assert places[-1][1] - places[-1][0] == pytest.approx(500 - drawn.layout.margin.l - drawn.layout.margin.r)


@pytest.mark.slow
def test_texts_of_a_figure_fit_into_500_pixels():
    runs = [trained(d_coef=1 + i / 100, seed=i) for i in range(12)]
    drawn = dw.compare(runs)
    title = re.sub("</?b>", "", drawn.layout.title.text)
    assert max(map(len, title.split("<br>"))) <= FIGURE_CHARACTERS
    for note in drawn.layout.annotations:
        assert max(map(len, note.text.split("<br>"))) <= PANEL_CHARACTERS
    lines = title.count("<br>") + 1
    assert drawn.layout.margin.t >= 16 * lines + 16  # heading, then the titles of the panels
    legend = drawn.layout.height - drawn.layout.margin.t - 44
    assert drawn.layout.margin.b >= 44 + 2 * 20
    assert legend > 0


@pytest.mark.slow
def test_a_figure_ends_where_its_curves_do_and_beside_many_only_the_nearest_tells_its_values():
    drawn = dw.compare([trained()])
    options = drawn.layout.xaxis.autorangeoptions
    assert (options.clipmin, options.clipmax) == (1, 100)
    assert drawn.layout.hovermode == "x unified"
    assert dw.compare([trained(d_coef=1.0 + i) for i in range(11)]).layout.hovermode == "closest"
    assert dw.compare([]).layout.title.text == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "logged"])
def test_a_run_is_written_as_a_picture_by_one_call(kind, tmp_path):
    run = trained(schedule="COSINE") if kind == "run" else LoggedRun("a log", trained().history)
    svg = run.to_svg(str(tmp_path / "r.svg"))
    png = run.to_png(tmp_path / "r.png")
    assert (svg, png) == (tmp_path / "r.svg", tmp_path / "r.png")
    data = png.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data[:4] == b"\x89PNG"
    found = svg.read_text("utf-8")
    assert (width, height) == tuple(
        2 * int(n) for n in re.match(r'<svg [^>]*?width="(\d+)" height="(\d+)"', found).groups()
    )
    assert plain(heading([run])) == texts(found)[: len(heading([run]))]
    assert {"Training loss (mean of 19)", "Evaluation loss", "Estimate d (dotted: d_hat)"} <= set(texts(found))


def test_the_panels_of_a_picture_are_equal_and_share_their_x_axis(tmp_path):
    svg = trained().to_svg(tmp_path / "r.svg").read_text("utf-8")
    panels = re.findall(r'<svg x="(\d+)" y="(\d+)"[^>]*?width="(\d+)" height="(\d+)"', svg)
    assert len(panels) == 4
    assert {(width, height) for _, _, width, height in panels} == {("460", "300")}
    assert len({x for x, *_ in panels}) == len({y for _, y, *_ in panels}) == 2
    ticks = [re.findall(r'text-anchor="middle">([\d.]+)</text>', part) for part in svg.split("<svg ")[2:]]
    assert ticks == [["20", "40", "60", "80", "100"]] * 4


def test_a_plot_is_written_as_png(tmp_path):
    from diffopt_widgets.widgets.plot.live import LivePlot

    plot = LivePlot()
    plot.add_run("a", "a", trained().history)
    data = plot.to_png(tmp_path / "p.png").read_bytes()
    assert data[:4] == b"\x89PNG"
    assert struct.unpack(">I", data[16:20]) == (2 * 920,)


def test_a_loss_that_is_not_finite_is_no_result():
    runs = [trained(seed=seed) for seed in (0, 1)]
    runs[1].record_evaluation(after=np.nan)
    assert plain(heading(runs))[-1] == "Evaluation loss at the end: 0.125 (PRODIGY, 1 of 2 seeds). Diverged: seed 1"


def ended(taken, planned, status, *, after=None, **plan):
    """A run of so many of its planned steps."""
    history = History(("unet",))
    append(history, taken)
    settings = {"lr": plan.pop("lr", 1.0)}
    made = dw.RunPlan(dw.Settings("PRODIGY", **settings), steps=planned, **{"task": "digits", **plan})
    return dw.Run(made, history=history, status=status, eval_after=after)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (ended(49, 2000, "running"), "After 49 of 2,000 steps: training loss 48.5 (mean of the last 2 steps)"),
        (ended(49, 2000, "paused"), "After 49 of 2,000 steps: training loss 48.5 (mean of the last 2 steps)"),
        (
            ended(15, 300, "stopped", after=0.25),
            "After 15 of 300 steps: evaluation loss 0.25, training loss 15 (mean of the last step)",
        ),
        (ended(9, 300, "failed"), "Failed after 9 of 300 steps"),
        (ended(9, 300, "failed", after=np.nan), "Diverged after 9 of 300 steps"),
        (
            LoggedRun("log", ended(9, 9, "done").history, status="interrupted"),
            "After 9 steps: training loss 9 (mean of",
        ),
    ],
)
def test_only_a_run_that_ended_as_planned_has_a_result_at_the_end(run, words):
    assert plain(heading([run]))[-1].startswith(words)


def test_a_run_that_did_not_end_as_planned_is_named_and_takes_no_part_in_the_losses():
    runs = [
        ended(300, 300, "done", after=0.5, lr=1.0),
        ended(9, 300, "failed", after=np.inf, lr=2.0),
        ended(9, 300, "failed", lr=3.0),
        ended(9, 300, "stopped", after=0.1, lr=4.0),
        ended(9, 300, "running", lr=5.0),
        ended(0, 300, "waiting", lr=6.0),
    ]
    assert plain(heading(runs))[-1] == (
        "Evaluation loss at the end: 0.5 (lr 1). Diverged: lr 2. Failed: lr 3. Did not finish: lr 4. "
        "Not ended: lr 5 (9 of 300 steps) and lr 6 (0 of 300 steps)"
    )
    many = [ended(9, 300, "running", seed=seed) for seed in range(5)]
    assert plain(heading(many))[-1] == "Not ended: 5 runs"


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"task": "swiss_roll"}, "losses of different tasks say nothing about each other"),
        ({"planned": 30}, "the runs have different lengths, 30 and 300 steps"),
        ({"batch_size": 32}, "the runs see different numbers of examples in a step, 32 and 64"),
        ({"accumulation": 2}, "the runs see different numbers of examples in a step, 64 and 128"),
    ],
)
@pytest.mark.parametrize("count", [2, 6])
def test_losses_that_the_verdict_does_not_compare_are_not_ranked(others, why, count):
    runs = [
        ended(steps, steps, "done", after=0.5 + i / 100, **{"lr": 1.0 + i} | plan)
        for i in range(count // 2)
        for plan in ({"planned": 300}, {"planned": 300} | others)
        for steps in [plan.pop("planned")]
    ]
    line = plain(heading(runs))[-1]
    assert line.endswith(f"Not compared: {why}")
    assert "best" not in line
    assert ("loss at the end" in line) == (count == 2)
    assert str(verdict(runs)) == f"Not compared: {why}."


def test_runs_without_a_plan_may_be_of_another_task():
    run = ended(9, 9, "done", after=0.5)
    logs = [LoggedRun(f"log {i}", ended(9, 9, "done").history) for i in range(5)]
    assert heading([run, logs[0]])[0] == "2 runs"
    line = plain(heading(logs))[-1]
    assert line == "Training loss at the end: lowest 9 (log 0), highest 9 (log 4)"


def test_runs_say_in_the_terminal_and_in_a_figure_alike_what_they_have_in_common():
    runs = [ended(9, 9, "done", lr=lr, accumulation=2) for lr in (1.0, 2.0)]
    words = shared_words([run.plan for run in runs], [run.batch_size for run in runs])
    assert "accumulated over 2" in words
    assert plain(heading(runs))[1] == ", ".join(words)
