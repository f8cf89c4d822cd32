"""The end of a run in words: each sentence is true, and each fix can be set."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.catalogue.values import format_value, short
from diffopt_widgets.execution.driver import drive, run_to_end
from diffopt_widgets.execution.outcome import Diverged, explain, settled_at, summary
from diffopt_widgets.records import StepRecord
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan

pytestmark = pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")


def estimating(d, status="done", planned=None, **options):
    """A run of Prodigy whose estimate took these values."""
    run = Run(RunPlan(dw.Settings("PRODIGY", **options), steps=planned or len(d)))
    run.begin()
    run.set_up("cpu", ["unet"])
    run.record(StepRecord(i + 1, 0.1 * (i + 1), 0.5, (1.0,), (x,), d=x) for i, x in enumerate(d))
    run.record_evaluation(before=0.98, after=0.17)
    run.end(status)
    return run


@pytest.mark.slow
@given(st.lists(st.floats(1e-8, 1e3), min_size=1, max_size=60))
def test_settled_means_within_a_twentieth_of_the_last_value_from_there_on_and_not_before(values):
    first, last = settled_at(values), values[-1]
    assert all(abs(value - last) <= 0.05 * last for value in values[first:])
    assert first == 0 or abs(values[first - 1] - last) > 0.05 * last


def test_a_settled_estimate_is_told_with_its_step():
    run = estimating([1e-6] * 10 + [5e-3] * 90)
    assert summary(run) == "Evaluation loss 0.98 → 0.17, d settled at 5e-3 by step 11, 10 steps/s on the CPU"


def test_what_comes_to_rest_only_at_the_end_is_not_said_to_have_settled():
    assert "d settled at 1e-3 by step 95," in summary(estimating([1e-6] * 94 + [1e-3] * 6))
    assert "d still moving, at 1e-3," in summary(estimating([1e-6] * 95 + [1e-3] * 5))
    assert "d still moving, at 0.99," in summary(estimating([i / 100 for i in range(1, 100)]))
    assert "d still moving, at 7.2e-5," in summary(estimating([1e-6 * 1.02**i for i in range(217)]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "d never left d0 (1e-6), 10"),
        ({"lr": 3e-6}, "d never left d0 (1e-6) with a learning rate of 3e-6 where 1 is meant, "),
        ({"warmup": 500}, "d never left d0 (1e-6) with a warm-up of 500 steps that was not over, "),
        ({"warmup": 20}, "d never left d0 (1e-6), 10"),
        ({"lr": 3e-6, "warmup": 500}, "where 1 is meant and a warm-up of 500 steps that was not over, "),
    ],
)
def test_an_estimate_that_never_left_its_start(options, words):
    assert words in summary(estimating([1e-6] * 30, planned=1000, **options))


@pytest.mark.slow
def test_a_real_run_at_the_wrong_rate_never_leaves_its_start():
    run = dw.train(dw.Settings("PRODIGY", lr=3e-6), task="swiss_roll", steps=30, progress=False)
    assert "d never left d0 (1e-6) with a learning rate of 3e-6" in run.message


@pytest.mark.slow
def test_a_real_run_settles_where_its_message_says():
    run = dw.train(dw.Settings("PRODIGY"), task="swiss_roll", steps=60, progress=False)
    d = run.history.column("d")
    step = int(run.message.split(" by step ")[1].split(",")[0])
    assert np.abs(d[step - 1 :] / d[-1] - 1).max() <= 0.05 < abs(d[step - 2] / d[-1] - 1)
    assert f"Evaluation loss {run.eval_before:.3g} → {run.eval_after:.3g}, d settled at " in run.message


@pytest.mark.slow
def test_each_groups_own_estimate_is_told():
    run = dw.train(dw.Settings("PRODIGY_PLUS_SCHEDULE_FREE"), task="swiss_roll", steps=80, progress=False)
    for group, d in zip(run.history.groups, run.history.column("d").T, strict=True):
        words = run.message.split(f"d of {group} settled at ")[1]
        step = int(words.split(" by step ")[1].split(",")[0])
        assert np.abs(d[step - 1 :] / d[-1] - 1).max() <= 0.05 < abs(d[step - 2] / d[-1] - 1)
        assert float(words.split(" by")[0]) == pytest.approx(d[-1], rel=0.05)


def test_a_stopped_run_says_how_far_it_came():
    assert summary(estimating([1e-6] * 9, "stopped", planned=300)).startswith(
        "Stopped after 9 of 300 steps, evaluation"
    )
    run = Run(RunPlan(dw.Settings("PRODIGY"), task="swiss_roll", steps=10))
    going = drive(run)
    next(going)
    going.close()
    assert run.message == "Stopped before the first step"


MENDED = [
    (dw.Settings("SGD", lr=0.2), {"lr": 0.02}),
    (dw.Settings("SGD", lr=1e20), {"lr": 0.03}),
    (dw.Settings("ADAMW", lr=7e-4), {"lr": 7e-5}),
    (dw.Settings("ADAMW", lr=0.07), {"lr": 1e-3}),  # the preset's
    (dw.Settings("ADAMW", lr=1e-3, beta2=0.5), {"beta2": 0.99}),
    (dw.Settings("ADAMW", lr=2e-2, beta2=0.5), {"beta2": 0.99, "lr": 1e-3}),
    (dw.Settings("ADAMW", lr=1e-3, beta2=0.5, amsgrad=True), {"lr": 1e-4}),  # its divisor never shrinks
    (dw.Settings("ADAM_8BIT", beta1=0.95, beta2=0.9), {"beta2": 0.99}),
    (dw.Settings("ADAMW", beta1=0.999, beta2=0.99), {"beta1": 0.9, "beta2": 0.99}),
    (dw.Settings("ADAN", beta3=0.9), {"beta3": 0.99}),
    (dw.Settings("PRODIGY", beta2=0.5), {"beta2": 0.99}),
    (dw.Settings("MUON", adam_beta2=0.5), {"adam_beta2": 0.99}),
    (dw.Settings("LAMB", lr=1e-3, beta2=0.5), {"lr": 1e-4}),  # a limit holds its steps
    (dw.Settings("ADOPT", lr=1e-3, beta2=0.5), {"lr": 1e-4}),  # its momentum averages what is divided already
    (dw.Settings("PRODIGY", lr=1e20), {"lr": 1.0}),
    (dw.Settings("PRODIGY", d_coef=1e9), {"d_coef": 1.0}),
    (dw.Settings("DADAPT_SGD", lr=1e20), {"lr": 1.0}),
    (dw.Settings("PRODIGY", d_coef=2.0), {"d_coef": 1.0}),
    (dw.Settings("DADAPT_SGD", lr=0.9), {"lr": 0.3}),
    (dw.Settings("PRODIGY_PLUS_SCHEDULE_FREE"), {"lr": 0.33}),  # half of d_coef would stop its estimate
    (dw.Settings("PRODIGY_PLUS_SCHEDULE_FREE", d_limiter=False), {"d_coef": 0.5}),
    (dw.Settings("DADAPT_ADAM"), {"lr": 0.33}),
    (dw.Settings("ADAFACTOR"), {"relative_step": False, "lr": 1e-3}),
    (dw.preset("ADAFACTOR", "adaptive"), {"relative_step": False, "lr": 1e-3, "schedule": "CONSTANT"}),
    (
        dw.Settings("ADAFACTOR", schedule="ADAFACTOR", warmup_init=True),
        {"relative_step": False, "lr": 1e-3, "warmup_init": False, "schedule": "CONSTANT"},
    ),
]


@pytest.mark.parametrize(("settings", "fix"), MENDED)
def test_the_fix_after_a_divergence_is_what_the_sentence_says(settings, fix):
    words, found = explain(Run(RunPlan(settings)), Diverged("at step 7"))
    assert words.startswith("Failed at step 7 of 300: the loss was no longer a finite number. ")
    assert found == fix
    assert ("growth_rate" in words) <= ("growth_rate" in settings.options)
    numbers = [value for name, value in found.items() if name in {"lr", "d_coef"} or "beta" in name]
    assert numbers
    assert all(format_value(number) in words for number in numbers)


@pytest.mark.slow
def test_a_divergence_by_beta2_is_put_down_to_beta2_and_its_fix_helps():
    failed = dw.train(dw.Settings("ADAMW", lr=2e-2, beta2=0.5), task="swiss_roll", steps=200, seed=1, progress=False)
    assert failed.status == "failed"
    assert "beta2 is below the square of beta1" in failed.message
    assert "rate is probably too high" not in failed.message
    alone = dw.train(failed.settings.replace(beta2=failed.fix["beta2"]), "swiss_roll", 200, seed=1, progress=False)
    both = dw.train(failed.settings.replace(**failed.fix), "swiss_roll", 200, seed=1, progress=False)
    assert max(alone.eval_after, both.eval_after) < 0.6 * both.eval_before


def test_an_optimizer_that_estimates_its_rate_says_what_slows_the_estimate_down():
    assert [key for key in dw.list_optimizers() if dw.spec(key).estimates_rate and not dw.spec(key).remedies] == []


@pytest.mark.parametrize("key", dw.list_optimizers())
def test_every_fix_can_be_set(key):
    for settings in (dw.Settings(key), *(dw.preset(key, preset.key) for preset in dw.spec(key).presets)):
        _, fix = explain(Run(RunPlan(settings)), Diverged("at step 7"))
        fixed = settings.replace(**fix)
        assert fixed != settings
        assert all(fixed.values()[name] == value for name, value in fix.items())


@pytest.mark.slow
def test_the_fix_helps():
    failed = dw.train(dw.Settings("SGD", lr=5.0), task="swiss_roll", steps=200, progress=False)
    assert failed.status == "failed"
    while failed.status == "failed":  # a tenth may still be too high
        assert failed.fix
        settings = failed.settings.replace(**failed.fix)
        assert settings.lr < failed.settings.lr
        failed = dw.train(settings, task="swiss_roll", steps=200, progress=False)
    assert failed.eval_after < failed.eval_before


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="the option's device is there")
def test_an_option_whose_device_is_missing_is_set_back():
    run = dw.train(dw.Settings("ADAMW", capturable=True), task="swiss_roll", steps=3, progress=False)
    assert run.status == "failed"
    assert run.fix == {"capturable": False}
    assert "set capturable back to its default" in run.message
    fixed = run_to_end(Run(RunPlan(run.settings.replace(**run.fix), "swiss_roll", 3)), progress=False)
    assert fixed.status == "done"
    assert fixed.fix == {}


def test_settings_that_the_tensors_of_the_task_refuse_are_set_back():
    run = dw.train(dw.Settings("MUON", MuonWithAuxAdam=False), task="swiss_roll", steps=3, progress=False)
    assert (run.status, run.fix) == ("failed", {"MuonWithAuxAdam": True})


def test_what_has_no_known_fix_offers_none():
    run = Run(RunPlan(dw.Settings("ADAMW")))
    assert explain(run, RuntimeError("out of memory")) == ("RuntimeError after 0 steps: out of memory", {})
    assert explain(run, ValueError())[0] == "ValueError after 0 steps: no message"


def test_weights_that_the_last_step_spoilt_are_a_failure():
    run = dw.train(dw.Settings("SGD", lr=1e30), task="swiss_roll", steps=1, progress=False)
    assert math.isfinite(run.history.column("loss")[0])
    assert (run.status, len(run.history)) == ("failed", 1)
    assert run.message.startswith("Failed after step 1 of 1: the loss was no longer a finite number. ")
    assert run.fix


@given(st.floats(1e-30, 1e30))
def test_a_short_number_keeps_two_digits(value):
    assert float(short(value)) == pytest.approx(value, rel=0.05)
    assert len(short(value)) <= 8


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [(1.0, 3e5, True), (1.0, 2.1, True), (1.0, 1.9, False), (0.0, 0.1, True), (-1.0, 0.5, True), (-1.0, -0.5, False)],
)
def test_a_run_that_ended_far_above_where_it_began_says_so(before, after, told):
    run = estimating([1e-6] * 20, lr=50.0)
    run.record_evaluation(before=before, after=after)
    assert ("far above where it began" in summary(run)) == told
    if told:
        assert f"({before:.3g} → {after:.3g}). The rate is far too high: try a learning rate of 1," in summary(run)
