"""Runs of which it is not known what they apply: where their group's rate is drawn, and in which words."""

import io
import math

import pytest
import pytorch_optimizer
import torch
from rich.console import Console

import diffopt_widgets as dw
from diffopt_widgets.cli.terminal import runs_table
from diffopt_widgets.drawing.curves import Curve, panel_lines, shown_panels
from diffopt_widgets.drawing.panels import DEFAULT_PANELS, GROUP_RATE, RATE
from diffopt_widgets.drawing.picture import picture_svg
from diffopt_widgets.records import History, StepRecord

NOT_KNOWN = "Group's learning rate; what is applied is not known"


def curve(name, applied, *, schedule=False):
    history = History(("all",))
    history.extend(StepRecord(i + 1, 0.1, 1.0, (0.1,), (rate,)) for i, rate in enumerate(applied))
    return Curve(name, history, schedule=schedule)


KNOWN = curve("known", [0.05, 0.04])
UNKNOWN = curve("unknown", [math.nan, math.nan], schedule=True)
LATER = curve("later", [math.nan, 0.04])
"""A run whose first step is not known, as with the second half of a Lookahead's."""


@pytest.mark.parametrize(
    ("curves", "titles"),
    [
        ([], ["Training loss", "Applied learning rate"]),
        ([KNOWN], ["Training loss", "Applied learning rate"]),
        ([LATER], ["Training loss", "Applied learning rate"]),
        ([UNKNOWN], ["Training loss", NOT_KNOWN]),
        ([KNOWN, UNKNOWN], ["Training loss", "Applied learning rate", NOT_KNOWN]),
    ],
)
def test_a_rate_that_is_not_known_to_be_applied_has_a_panel_of_its_own(curves, titles):
    assert [panel.title for panel in shown_panels(curves, DEFAULT_PANELS)] == titles


def test_each_run_is_in_the_panel_that_is_true_of_it():
    curves = [KNOWN, UNKNOWN, LATER]
    lines = {panel.key: panel_lines(curves, panel, smoothing=0.0, points=9) for panel in (RATE, GROUP_RATE)}
    assert [line.label for line in lines["rate"]] == ["known", "later"]
    assert [(line.label, list(line.y)) for line in lines["group_rate"]] == [("unknown", [0.1, 0.1])]


def test_the_saved_picture_has_the_same_panels():
    svg = picture_svg([UNKNOWN], DEFAULT_PANELS)
    assert NOT_KNOWN.replace("'", "&#x27;") in svg or NOT_KNOWN in svg
    assert "Applied learning rate" not in svg


def test_a_run_of_the_bench_with_an_unknown_class_says_so_everywhere():
    settings = dw.Settings(dw.spec_of(pytorch_optimizer.SWATS), lr=1e-3)
    run = dw.train(settings, task="swiss_roll", steps=3, progress=False)
    assert run.history.names()[:2] == ("loss", "lr")
    assert "applied_lr" not in run.history.names()
    assert run.applied_plateau is None
    assert NOT_KNOWN in [annotation.text.replace("<br>", " ") for annotation in run.figure().layout.annotations]
    text = io.StringIO()
    Console(file=text, width=200).print(runs_table([run]))
    assert "not known" in text.getvalue()


def test_the_terminal_says_the_largest_rate_of_the_steps_that_are_known():
    run = dw.train(dw.Settings("ADAMW", lr=1e-3), task="swiss_roll", steps=2, progress=False)
    run.history.extend([StepRecord(3, 0.3, 1.0, (1e-3, 1e-3), (math.nan, math.nan))])
    text = io.StringIO()
    Console(file=text, width=200).print(runs_table([run]))
    assert "0.001" in text.getvalue()
    assert "not known" not in text.getvalue()


def test_the_live_plot_has_the_panel_too():
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = pytorch_optimizer.SWATS([p], lr=0.1)
    with dw.watch(optimizer, show=False) as w:
        panels = {panel["key"]: panel for panel in w.plot._panels}
        p.grad = torch.ones(3)
        optimizer.step()
    assert panels["group_rate"]["title"] == NOT_KNOWN
    assert panels["group_rate"]["unless"] == panels["rate"]["columns"][0]["name"] == "applied_lr"
