"""Range test: what it reads from a loss over a growing rate, and what it refuses."""

import math
import re

import numpy as np
import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.tasks import ParameterGroup


class Valley:
    """Loss of a sum of squares, from a distance of 1; or noise alone."""

    def __init__(self, device, dtype, *, slope=1.0, noise=0.0):
        self.weights = torch.nn.Parameter(torch.ones(20, device=device, dtype=dtype))
        self.groups = (ParameterGroup("weights", (self.weights,)),)
        self._slope, self._noise = slope, noise

    def loss(self, step, micro=0):  # noqa: ARG002  # as every problem
        return self._slope * (self.weights**2).mean() + self._noise * torch.randn(())

    def evaluate(self):
        return (self.weights.detach() ** 2).mean()


def task(key, **given):
    return dw.Task(key=key, title=key, summary=key, build=lambda _, device, __, dtype: Valley(device, dtype, **given))


VALLEY = task("valley")
FLAT = task("flat", slope=0.0, noise=0.1)


@pytest.fixture(scope="module")
def found():
    return dw.lr_find("SGD", VALLEY, 80, low=1e-3, high=1e4)


def test_each_step_trains_with_its_own_rate_and_applies_it(found):
    rates = found.rates
    assert rates[0] == pytest.approx(1e-3)
    assert np.diff(np.log(rates)) == pytest.approx(math.log(1e7) / 79)
    assert found.applied == pytest.approx(rates)


def test_what_is_read_lies_in_the_order_of_a_range_test(found):
    # plain gradient descent on mean(x²) of 20 numbers shrinks x by 1 − rate/10: nothing is left at 10, above 20 it grows
    assert 1 < found.steepest < found.lowest < found.diverges
    assert 5 < found.lowest < 40
    assert 20 < found.diverges < 1e3
    assert found.proposed == pytest.approx(found.lowest / 3, rel=0.05)
    assert found.settings == found.plan.settings.replace(lr=found.proposed)
    assert len(found.history) < 80  # it ends there


def test_its_words_have_its_numbers(found):
    said = [float(number) for number in re.findall(r"\d[\d.]*(?:e-?\d+)?", str(found).replace("2 ", ""))]
    for number in (found.steepest, found.lowest, found.diverges, found.proposed):
        assert any(one == pytest.approx(number, rel=0.06) for one in said), (number, said)


def test_its_figure_marks_the_proposal_on_a_logarithmic_axis(found):
    drawn = found.figure()
    assert drawn.layout.xaxis.type == "log"
    assert list(drawn.data[0].x) == pytest.approx(list(found.rates))
    marked = {note.text for note in drawn.layout.annotations}
    assert any(text.startswith("proposed") for text in marked)
    assert any(line.x0 == found.proposed for line in drawn.layout.shapes)


def test_a_loss_that_only_scatters_proposes_nothing():
    found = dw.lr_find("ADAMW", FLAT, 60)
    assert found.proposed is found.lowest is found.steepest is found.settings is None
    assert "No rate to propose" in str(found)
    assert not [note for note in found.figure().layout.annotations if "proposed" in note.text]


def test_without_divergence_none_is_told():
    found = dw.lr_find("ADAMW", VALLEY, 40, low=1e-5, high=1e-2)
    assert found.diverges is None
    assert "still falling at the last rate" in str(found)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("PRODIGY", "with_rate_of"),
        ("DADAPT_LION", "finds its rate itself"),
        (dw.Settings("ADAFACTOR", relative_step=True), "only with relative_step off"),
    ],
)
def test_what_takes_no_rate_is_refused_with_what_to_do(settings, words):
    with pytest.raises(dw.SettingsError, match=words):
        dw.lr_find(settings, VALLEY)


@pytest.mark.parametrize(
    "given", [{"steps": 5}, {"low": 0}, {"low": -1}, {"low": 1.0, "high": 0.1}, {"high": math.nan}]
)
def test_a_range_that_is_none_is_refused(given):
    with pytest.raises(dw.SettingsError):
        dw.lr_find("ADAMW", VALLEY, **given)


def test_the_schedule_of_the_settings_plays_no_part(found):
    again = dw.lr_find(dw.Settings("SGD", schedule="COSINE", warmup=10), VALLEY, 80, low=1e-3, high=1e4)
    assert again.rates == pytest.approx(found.rates)
