"""What the catalogue's sliders and texts promise, held against what runs."""

import math
from itertools import pairwise

import pytest
import torch
from collecting import Faults
from pytorch_optimizer import AdaFactor

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.schedules import SCHEDULES
from diffopt_widgets.widgets.form.panel import panel


@pytest.mark.parametrize("key", list_optimizers())
def test_every_slider_can_return_to_the_default(key):
    faults = Faults()
    for name, control in panel(key)["controls"].items():
        with faults.of(name):
            if "slider" not in control:
                continue
            if control["default"] == "":
                assert control["placeholder"], "an empty default needs words"
                continue
            default = float(control["default"])
            low, high = control["slider"]["low"], control["slider"]["high"]
            assert low < high
            assert low <= default <= high or math.isinf(default)
    assert not faults, str(faults)


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


GROWING = [key for key in list_optimizers() if "growth_rate" in {use.name for use in spec(key).uses}]


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("key", GROWING)
def test_the_growth_rate_limits_every_step_but_prodigys_first_leap(key, corrected):
    options = {"growth_rate": 1.02}
    if "use_bias_correction" in {use.name for use in spec(key).uses}:
        options["use_bias_correction"] = corrected
    start = torch.linspace(-1.0, 1.0, 40, dtype=torch.float64)
    p = torch.nn.Parameter(start.clone())
    optimizer = dw.build_optimizer(dw.Settings(key, **options), [p])
    estimates = []
    for step in range(60):
        p.grad = torch.cos(start * (1 + step % 3)) + start
        estimates.append(optimizer.param_groups[0]["d"])
        optimizer.step()
    growth = [after / before for before, after in pairwise(estimates) if after > before]
    assert len(growth) > 5
    assert max(growth[1:]) <= 1.02 * (1 + 1e-12)
    assert (growth[0] > 1.03) == (key in {"PRODIGY", "PRODIGY_ADV"})
    assert ("first leap" in spec(key).use("growth_rate").note) == (key in {"PRODIGY", "PRODIGY_ADV"})


@pytest.mark.parametrize("key", [key for key in list_optimizers() if key.startswith("DADAPT")])
def test_what_log_every_writes_is_in_the_output_of_the_run(key):
    run = dw.train(dw.Settings(key, log_every=1), "swiss_roll", 3, progress=False)
    assert len(run.output.splitlines()) == 3
    use = spec(key).use("log_every")
    assert "run.output" in use.option.help
    assert "copied code" in use.note
