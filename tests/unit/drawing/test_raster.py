"""Pictures as pixels: the same lines, places and words as in the SVG."""

import re

import numpy as np
import pytest
from histories import NASTY, append

from diffopt_widgets.drawing.figures import Curve, figure
from diffopt_widgets.drawing.panels import LOSS, PALETTE, RATE, D
from diffopt_widgets.drawing.picture import picture_svg
from diffopt_widgets.drawing.raster import SCALE, rasterize
from diffopt_widgets.drawing.svg import Line, line_chart
from diffopt_widgets.records import History

BLUE = (27, 128, 196)


def near(pixels, color):
    """Places, as (x, y) in units of the SVG, whose pixels have this colour."""
    rows, columns = np.nonzero(np.abs(pixels[..., :3].astype(int) - color).max(axis=2) <= 2)
    return np.stack([columns, rows], axis=1) / SCALE


def test_a_line_lies_where_the_svg_has_it_and_is_as_wide():
    svg = line_chart([Line("", [0, 1], [0, 1], "#1B80C4", width=2)], width=300, height=200)
    (path,) = re.findall(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"[^>]*stroke="#1B80C4"', svg)
    x0, y0, x1, y1 = map(float, path)
    places = near(rasterize(svg), BLUE)
    along, across = np.array([x1 - x0, y1 - y0]), np.array([y0 - y1, x1 - x0])
    away = (places + 0.25 - (x0, y0)) @ across / np.hypot(*across)
    assert np.abs(away).max() <= 1
    assert len(places) / SCALE**2 == pytest.approx(2 * np.hypot(*along), rel=0.25)  # without its soft edges
    ends = sorted((places + 0.25 - (x0, y0)) @ along / (along @ along))
    assert (ends[0], ends[-1]) == pytest.approx((0, 1), abs=0.02)


@pytest.mark.parametrize(("dash", "share"), [("solid", 1.0), ("dash", 6 / 9), ("longdashdot", 14.5 / 18.5)])
def test_a_dashed_line_has_gaps_and_a_faint_one_is_paler(dash, share):
    level = Line("", [0, 1], [1, 1], "#1B80C4", width=1, dash=dash)  # its ends are round: 5 and twice 0.5 of every 9
    svg = line_chart([level], width=300, height=200)
    columns = np.unique(near(rasterize(svg), BLUE)[:, 0])
    assert len(columns) / SCALE / (300 - 58 - 16) == pytest.approx(share, abs=0.12)
    faint = rasterize(svg.replace('stroke-width="1" stroke-opacity="1"', 'stroke-width="4" stroke-opacity="0.5"'))
    assert len(near(faint, BLUE)) == 0
    assert len(near(faint, tuple((255 + np.array(BLUE)) / 2)))


def test_a_gap_stays_a_gap():
    svg = line_chart([Line("", [0, 1, 2, 3, 4], [1, 1, np.nan, 1, 1], "#1B80C4", width=4)], width=474, height=200)
    columns = np.unique(near(rasterize(svg), BLUE)[:, 0])
    assert np.diff(columns).max() == pytest.approx(200, abs=5)


def test_words_are_written_where_they_stand_and_unknown_letters_are_boxes():
    blank = rasterize(line_chart([], width=300, height=200))
    for title in ("Größe – ∇f", "损失", NASTY):
        drawn = rasterize(line_chart([], title=title, width=300, height=200))
        rows, columns = np.nonzero((drawn != blank).any(axis=2))
        assert rows.max() / SCALE < 30
        assert columns.min() / SCALE >= 58 - 2


def test_colours_of_users_are_told_apart():
    svg = line_chart([Line("", [0, 1], [1, 1], "crimson", width=4)], width=300, height=200)
    drawn = rasterize(svg)
    rgb = {color: [int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in PALETTE if color != "#8A8A8A"}
    assert sum(bool(len(near(drawn, color))) for color in rgb.values()) == 1  # a soft edge of a letter is as grey


@pytest.mark.slow
def test_one_legend_for_all_panels_of_a_picture():
    history = History(("unet",))
    append(history, 5, d=1e-3)
    only_rates = History(("unet",))
    append(only_rates, 5)
    only_rates._columns["loss"][:] = np.nan
    curves = [Curve("a", history, "#111111"), Curve("b", only_rates, "#222222"), Curve("b", history, "#333333")]
    for columns in (3, 2):
        svg = picture_svg(curves, (LOSS, RATE, D), columns=columns)
        assert re.findall(r">(a|b)</text>", svg) == ["a", "b", "b"]
        width, height = map(int, re.match(r'<svg [^>]*width="(\d+)" height="(\d+)"', svg).groups())
        assert width == 460 * columns
        assert all(float(y) < height for y in re.findall(r'<text x="\d+" y="(\d+)">', svg))
    drawn = figure(curves)
    assert [trace.name for trace in drawn.data if trace.showlegend] == ["a", "b", "b"]


def test_a_run_without_a_loss_is_in_the_legend_of_a_figure():
    history = History(("unet",))
    append(history, 5)
    drawn = figure([Curve("a", history)], (D, RATE))
    assert [trace.name for trace in drawn.data if trace.showlegend] == ["a"]
    drawn = figure([Curve("a", history), Curve("b", history)], (LOSS, RATE), x="time")
    assert [trace.name for trace in drawn.data if trace.showlegend] == ["a", "b"]


def test_the_last_number_of_an_axis_is_inside_the_picture():
    svg = line_chart([Line("", [0, 1_000_000], [0, 1])], width=300, height=200)
    (x,) = re.findall(r'<text x="([\d.]+)"[^>]*>1e6</text>', svg)
    assert float(x) + 6.5 * len("1e6") / 2 <= 300
