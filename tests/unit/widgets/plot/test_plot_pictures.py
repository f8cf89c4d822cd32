"""What is drawn of runs outside the page: lines, plotly figures, SVG and the saved picture."""

import csv
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from histories import NASTY, append
from hypothesis import given
from hypothesis import strategies as st

from diffopt_widgets.drawing.curves import panel_lines, smooth, thin, values_of_mean
from diffopt_widgets.drawing.figures import Curve, figure, write_html
from diffopt_widgets.drawing.panels import LOSS, RATE, D, Panel, metric_panel
from diffopt_widgets.drawing.svg import Line, line_chart, side_by_side
from diffopt_widgets.records import History
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.plot.saved import picture_html


@pytest.fixture
def history():
    return History(("text_encoder", "unet"))


# Lines


def test_thinning_keeps_what_stands_out():
    values = np.random.default_rng(0).random(100_003)
    values[777], values[99_001] = 5, -5
    values[50_000:60_000] = np.nan
    kept = thin(values, 2000)
    assert len(kept) <= 2000
    assert {0, 777, 99_001, 100_002} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
    assert np.isnan(values[kept]).any()
    np.testing.assert_array_equal(thin(values[:50], 50), np.arange(50))


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf), max_size=70),
    st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.9, 0.97]),
)
def test_a_smoothed_value_is_the_mean_of_its_neighbours_on_both_sides(values, beta):
    known = [value for value in values if math.isfinite(value)]
    half = round((values_of_mean(beta) - 1) / 2)
    means = [np.mean(known[i - min(half, i) : i + min(half, i) + 1]) for i in range(len(known))]
    smoothed = smooth(np.array(values), beta)
    np.testing.assert_array_equal(np.isfinite(values), np.isfinite(smoothed))
    np.testing.assert_allclose(smoothed[np.isfinite(values)], means, rtol=1e-9, atol=1e-6)


def test_a_smoothed_line_does_not_lag_behind_a_fall():
    fall = np.exp(-np.arange(300) / 20)  # as the losses of the digits fall
    smoothed = smooth(fall, 0.9)
    assert np.abs(smoothed / fall - 1)[:-9].max() < 0.05
    np.testing.assert_allclose(smooth(np.arange(60.0), 0.9)[:-9], np.arange(51.0))


def test_a_huge_value_spoils_only_the_means_that_contain_it():
    values = np.ones(100)
    values[50] = 1e300
    assert np.flatnonzero(smooth(values, 0.9) != 1).tolist() == list(range(41, 60))


def test_groups_are_drawn_apart_only_where_they_differ(history):
    append(history, 5)
    assert len(panel_lines([Curve("a", history)], RATE, smoothing=0.9, points=100)) == 1
    history._columns["applied_lr"][3, 1] = 0.5
    labels = [line.label for line in panel_lines([Curve("a", history)], RATE, smoothing=0.9, points=100)]
    assert labels == ["a · text_encoder", "a · unet"]


def test_the_schedule_is_drawn_for_runs_that_ask(history):
    append(history, 5)
    lines = panel_lines([Curve("a", history, schedule=True)], RATE, smoothing=0.9, points=100)
    assert [(line.label, line.dash) for line in lines] == [("a", "solid"), ("a · schedule", "dash")]
    alone = panel_lines([Curve("a", history)], Panel("lr", "lr", ("lr",)), smoothing=0.9, points=100)
    assert len(alone) == 1


# Pictures


@pytest.fixture
def plot():
    return LivePlot()


@pytest.mark.slow
def test_the_figure_shows_what_the_plot_shows(plot, history):
    plot.add_run("a", NASTY, history, schedule=True)
    append(history, 5000, d=1e-3)
    plot.log = {**plot.log, "loss": True}
    made = plot.figure()
    assert [note.text for note in made.layout.annotations] == [
        "Training loss (mean of 19)",
        "Applied learning rate<br>(dashed: schedule)",
        D.title,
    ]
    assert made.layout.yaxis.type == made.layout.yaxis2.type == "log"
    assert max(len(trace.x) for trace in made.data) <= 2000
    assert [trace.name for trace in made.data if trace.showlegend] == [
        '&lt;img src=x onerror="alert(1)"&gt;&lt;/script&gt;&lt;b&gt;&amp;amp;'
    ]
    plot.set_visible("a", False)
    assert not plot.figure().data


def test_a_figure_without_curves():
    assert not figure([]).data


class Scripts(HTMLParser):
    """Collects the elements of a page and what they load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_html_file_is_whole_and_small(tmp_path, history):
    append(history, 100)
    path = write_html(figure([Curve(NASTY, history)]), tmp_path / "f.html", title=NASTY)
    page = Scripts()
    page.feed(path.read_text())
    assert [tag for tag, _ in page.found if tag in {"img", "link"}] == []
    assert [attrs for tag, attrs in page.found if tag == "script"] == [{}, {}]
    assert path.stat().st_size < 1_500_000


def elements(svg, name):
    return ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{name}")  # noqa: S314 our own text


def test_a_chart_is_sound_svg_whatever_it_holds():
    odd = [
        Line(NASTY, [], []),
        Line("one", [1], [2]),
        Line("nothing finite", [1, 2], [np.nan, np.inf]),
        Line("flat", [1, 2, 3], [5, 5, 5]),
        Line("zero", [1, 2, 3], [0, 0, 0]),
        Line("huge", [1, 2, 3], [1e300, -1e300, 0]),
        Line("tiny", [1, 2, 3], [1e-300, 2e-300, 5e-324]),
    ]
    for scale in ("linear", "log"):
        for lines in ([], *([line] for line in odd), odd):
            chart = line_chart(lines, title=NASTY, x_label="step", y_label="y", scale=scale)
            texts = ["".join(element.itertext()) for element in elements(chart, "text")]
            assert texts[texts.index(NASTY)] == NASTY
            assert "nan" not in chart.lower().replace("nothing finite", "")


def test_a_gap_breaks_the_line_and_places_are_right():
    chart = line_chart([Line("a", [0, 1, 2, 3, 4], [0, 1, np.nan, 1, 0])], width=474, height=270)
    path = next(element.get("d") for element in elements(chart, "path") if element.get("stroke-linejoin"))
    assert path.count("M") == 2
    points = [tuple(map(float, point)) for point in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    assert points[0][0] == 58
    assert points[-1][0] == 474 - 16
    assert points[0][1] == points[3][1] > points[1][1]


def test_the_saved_picture_stays_text(plot, history):
    plot.add_run("a", NASTY, history)
    append(history, 50, d=1.0)
    html = picture_html(plot, caption=NASTY)
    page = Scripts()
    page.feed(html)
    assert [tag for tag, _ in page.found] == ["div", "img", "p", "small"]
    svg = plot.svg()
    assert len(list(elements(svg, "svg"))) == 4
    assert NASTY in ["".join(element.itertext()) for element in elements(svg, "text")]
    assert list(elements(side_by_side([]), "path")) == []


@pytest.mark.slow
def test_curves_and_svg_load_neither_plotly_nor_a_widget():
    code = "import sys, diffopt_widgets.drawing.curves, diffopt_widgets.drawing.svg; print({'plotly', 'ipywidgets', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_lines_lie_along_by_step_by_time_or_by_samples(history):
    append(history, 5)
    curve = Curve("a", history, samples_per_step=8)
    last = {
        x: [line.x[-1] for line in panel_lines([curve], LOSS, smoothing=0.9, points=100, x=x)]
        for x in ("step", "time", "samples")
    }
    assert last == {"step": [5, 5], "time": [0.5, 0.5], "samples": [40, 40]}
    assert panel_lines([Curve("a", history)], LOSS, smoothing=0.9, points=100, x="samples") == []
    assert figure([curve], x="time").layout.xaxis.title.text == "training time (s)"


def test_a_sparse_column_is_one_line_across_the_steps_between(history):
    append(history, 3)
    append(history, 1, metrics={"val": 0.5})
    append(history, 3)
    append(history, 1, metrics={"val": 0.25})
    [line] = panel_lines([Curve("a", history)], metric_panel("val"), smoothing=0.9, points=100)
    assert (line.x.tolist(), line.y.tolist()) == ([4, 8], [0.5, 0.25])


def test_the_pointer_shows_the_settings_that_a_name_does_not_tell(history):
    append(history, 3)
    details = {"d_coef": "0.5", "schedule": "COSINE", "beta2": "0.99"}
    drawn = figure([Curve("PRODIGY · COSINE, d_coef 0.5", history, details=details)])
    templates = {trace.hovertemplate for trace in drawn.data if trace.showlegend}
    assert templates == {"%{y:.7~g}<extra>PRODIGY · COSINE, d_coef 0.5 (beta2 0.99)</extra>"}


def test_a_table_holds_every_step_of_the_runs_that_are_shown_in_full(plot, history, tmp_path):
    append(history, 2)
    append(history, 1, metrics={"val/acc": 1 / 3})
    other = History(("unet",))
    append(other, 1)
    plot.add_run("a", 'a, "b"', history)
    plot.add_run("b", "b", other)
    plot.add_run("hidden", "hidden", history, visible=False)
    with plot.to_csv(tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["step"]) for row in rows] == [
        ('a, "b"', "1"),
        ('a, "b"', "2"),
        ('a, "b"', "3"),
        ("b", "1"),
    ]
    assert [row["val/acc"] for row in rows] == ["", "", str(1 / 3), ""]
    assert [row["loss"] for row in rows] == ["1.0", "2.0", "3.0", "1.0"]
    assert [row["applied_lr[text_encoder]"] for row in rows] == ["0.001"] * 3 + [""]


def test_pictures_and_pages_are_written_over_what_lies_along(plot, history, tmp_path):
    append(history, 50)
    plot.add_run("a", "a", history)
    plot.x = "time"
    texts = ["".join(element.itertext()) for element in elements(plot.to_svg(tmp_path / "p.svg").read_text(), "text")]
    assert "training time (s)" in texts
    assert "training time (s)" in plot.to_html(tmp_path / "p.html").read_text()


def test_a_run_whose_name_begins_like_anothers_keeps_its_own_legend_group(history):
    append(history, 3)
    drawn = figure([Curve("d_coef 1", history), Curve("d_coef 1.2", history)])
    groups = {trace.legendgroup for trace in drawn.data}
    assert len(groups) == 2


@pytest.mark.slow
def test_the_schedules_own_value_has_an_axis_at_the_right_of_the_figure(history):
    append(history, 3, d=1e-4)
    for schedule in (True, False):
        drawn = figure([Curve("a", history, schedule=schedule)])
        right = [axis for axis in drawn.layout if axis.startswith("yaxis") and drawn.layout[axis].side == "right"]
        assert bool(right) == schedule
