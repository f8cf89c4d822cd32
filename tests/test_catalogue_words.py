"""What the catalogue's sliders and texts promise, held against what runs."""

import math

import pytest
from pytorch_optimizer import AdaFactor

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.schedules import SCHEDULES
from diffopt_widgets.ui.panel import panel

SLIDERS = [
    pytest.param(control, id=f"{key}-{name}")
    for key in list_optimizers()
    for name, control in panel(key)["controls"].items()
    if "slider" in control
]


@pytest.mark.parametrize("control", SLIDERS)
def test_every_slider_can_return_to_the_default(control):
    if control["default"] == "":
        assert control["placeholder"], "an empty default needs words"
        return
    default = float(control["default"])
    low, high = control["slider"]["low"], control["slider"]["high"]
    assert low < high
    assert low <= default <= high or math.isinf(default)


def relative_step(step, *, warmup_init):
    return AdaFactor.get_relative_step_size(1.0, step, True, warmup_init)


def test_the_relative_step_is_described_as_it_runs():
    assert {relative_step(step, warmup_init=False) for step in (1, 100, 10_000)} == {0.01}
    assert relative_step(10_001, warmup_init=False) < 0.01
    assert relative_step(40_000, warmup_init=False) == 1 / math.sqrt(40_000)
    assert relative_step(5_000, warmup_init=True) == pytest.approx(5_000 * 1e-6)
    for text in (spec("ADAFACTOR").use("relative_step").option.help, SCHEDULES["ADAFACTOR"].summary):
        assert "0.01 for the first 10,000 steps" in text
        assert "1e-6 per step" in text


@pytest.mark.parametrize("key", [key for key in list_optimizers() if key.startswith("DADAPT")])
def test_what_log_every_writes_is_in_the_output_of_the_run(key):
    run = dw.train(dw.Settings(key, log_every=1), "swiss_roll", 3, progress=False)
    assert len(run.output.splitlines()) == 3
    use = spec(key).use("log_every")
    assert "run.output" in use.option.help
    assert "copied code" in use.note
