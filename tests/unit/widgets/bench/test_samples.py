"""The grid of samples: headings once, runs that repeat others, and the same grid without widgets."""

import re

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.runs.shown import Shown
from diffopt_widgets.tasks import Samples
from diffopt_widgets.widgets.bench.samples import MOST_SAVED, SamplesView


def run_of(name, steps, *, task="swiss_roll", level=0.0, **options):
    """A run that has ended, with samples after these steps; those of other levels look different."""
    plan = dw.RunPlan(dw.Settings("PRODIGY", **options), task, 100)
    run = dw.Run(plan, name=name)
    for step in steps:
        run.add_samples(step, Samples("images", np.full((4, 8, 8), step / 200 + level, np.float32)))
    run.set_real_samples(Samples("images", np.ones((4, 8, 8), np.float32)))
    run.begin()
    run.end("done")
    return run


def shown(run, **looks):
    return Shown(run.key, run.name, "#1B80C4", **looks)


def view_of(*runs):
    view = SamplesView()
    for run in runs:
        view.show(run, shown(run))
    return view


def columns(html):
    """The column of each picture and heading."""
    return [int(place) for place in re.findall(r"grid-column: (\d+)", html)]


def test_headings_stand_once_above_the_runs_of_a_task_and_each_picture_in_the_column_of_its_step():
    one, two = run_of("one", (0, 50, 100)), run_of("two", (0, 25, 100), d_coef=2, level=0.1)
    view = view_of(one, two)
    (head,) = view.heads.values()
    assert re.findall(r">([^<>]+)</div>", head.value) == [
        *("before training", "step 25", "step 50", "step 100", "real examples")
    ]
    assert columns(head.value) == [2, 3, 4, 5, 6]
    assert columns(view.strips[one.key].value) == [2, 4, 5, 6]
    assert columns(view.strips[two.key].value) == [2, 3, 5, 6]
    other = run_of("three", (0, 100), task="digits")
    view.show(other, shown(other))
    assert [list(view.children).index(line) for line in view.heads.values()] == [1, 4]
    view.remove(other.key)
    assert len(view.heads) == 1
    view.show(one, shown(one, visible=False))
    view.show(two, shown(two, visible=False))
    assert head.layout.display == view.strips[one.key].layout.display == "none"


def test_a_run_that_repeats_one_of_the_same_name_says_which():
    runs = [run_of("ADAMW", (0, 100), d_coef=2, level=0.1), run_of("ADAMW", (0, 100)), run_of("ADAMW", (0, 100))]
    view = view_of(*runs)
    words = re.findall(r'dw-same">([^<]*)', view.strips[runs[2].key].value)
    assert words == ["the same as ADAMW (row 2): same settings and seed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "the same as one: same settings and seed"),
        ({"steps": (0, 100)}, "the same as one: same settings and seed"),
        ({"level": 0.1}, "same settings and seed as one"),
        ({"safeguard_warmup": True}, "the same as one: the settings in which it differs change nothing here"),
        ({"d_coef": 2, "level": 0.1}, None),
    ],
)
def test_a_run_that_repeats_another_says_so(change, words):
    one, two = run_of("one", (0, 50, 100)), run_of("two", **{"steps": (0, 50, 100), **change})
    view = view_of(one, two)
    found = re.findall(r'dw-same">([^<]*)', view.strips[two.key].value)
    assert found == ([words] if words else [])
    assert "dw-same" not in view.strips[one.key].value
    view.show(one, shown(one, visible=False))
    assert "dw-same" not in view.strips[two.key].value
    view.show(one, shown(one))
    assert ("one: same settings" in view.html()) == (words is not None and "one: same settings" in words)


def test_a_repeated_run_is_told_in_the_table_too():
    runs = [dw.Run(dw.RunPlan(dw.Settings("PRODIGY", d_coef=d), "swiss_roll", 3)) for d in (1, 2, 1)]
    bench = dw.lab(task="swiss_roll")
    for run in runs:
        bench.add(run)
    assert [row["differs"] for row in bench.table.rows] == [
        *("PRODIGY · d_coef 1", "PRODIGY · d_coef 2", "same settings and seed as an earlier run")
    ]


def test_the_grid_without_widgets_has_every_picture_and_its_names():
    one, two = run_of("<one>", (0, 50, 100)), run_of("two", (0, 100), d_coef=2, level=0.1)
    view = view_of(one, two)
    html = view.html()
    assert html.count("<img") == 4 + 3
    assert html.count('<th scope="col">') == 5
    assert "&lt;one&gt;" in html
    assert "<one>" not in html
    pixels = view.pixels()
    tall, wide = one.samples[0].values.shape[1] * 6, 4 * (8 * 6 + 3) - 3
    assert pixels.shape[1] >= 4 * wide
    # the middle of each row: black before training, then grey, and white real examples at the end
    lines = [pixels[top : top + tall] for top in (2 * 48, 2 * 48 + tall + 48)]
    for line, there in zip(lines, ((0, 1, 2, 3), (0, 2, 3)), strict=True):
        for column in range(4):
            tile = line[10:30, column * (wide + 16) + 10 : column * (wide + 16) + 30, :3]
            white = bool((tile == 255).all())
            assert white == (column not in there or column == 3)
    assert view_of().pixels() is None
    assert not view_of().html()


@pytest.mark.slow
def test_a_saved_page_has_the_samples_of_a_few_runs_and_says_how_many_more_there_are():
    few = [run_of(f"run {i}", (0, 100), level=i / 100) for i in range(MOST_SAVED - 1)]
    others = [run_of(f"other {i}", (0, 100), task="digits", level=i / 100) for i in range(3)]
    view = view_of(*few)
    assert "more run" not in view.html()
    short = view.pixels().shape[0]
    for run in others:
        view.show(run, shown(run))
    html, tall = view.html(), view.pixels().shape[0]
    assert html.count('<th scope="row">') == MOST_SAVED
    assert "Samples of 2 more runs are on the bench" in html
    view.show(others[0], shown(others[0], visible=False))
    view.show(others[1], shown(others[1], visible=False))
    assert "more run" not in view.html()
    assert short < view.pixels().shape[0] < tall
    more = [run_of(f"more {i}", (0, 100)) for i in range(30)]
    for run in more:
        view.show(run, shown(run))
    assert view.html().count('<th scope="row">') == MOST_SAVED
    assert view.pixels().shape[0] < 2 * tall
