"""Observation on runs: each rule on a record that fires it and on one that does not, and its numbers are those of the record."""

import math

import numpy as np
import pytest

import diffopt_widgets as dw
from diffopt_widgets.execution.observations import RULES, observe, observe_together
from diffopt_widgets.records import StepRecord

N = 120
RANDOM = np.random.default_rng(0)
FALL = 0.2 + 0.8 * np.exp(-np.arange(N) / 15) + RANDOM.normal(0, 0.01, N)
"""Losses of a run with nothing to say about."""
D = np.minimum(1e-6 * 1.5 ** np.arange(N), 2e-4)
"""Estimates that settle."""


def record(loss=FALL, d=None, *, evaluated=(1.0, 0.22), grad_norm=None, metrics=None, optimizer="PRODIGY", **options):
    run = dw.Run(dw.RunPlan(dw.Settings(optimizer, **options), steps=max(len(loss), 1)))
    run.begin()
    run.set_up("cpu", ["unet"])
    run.record(
        StepRecord(
            i + 1,
            0.1 * (i + 1),
            float(loss[i]),
            (1.0,),
            (1e-3,),
            d=None if d is None else float(d[i]),
            grad_norm=None if grad_norm is None else float(grad_norm[i]),
            metrics={name: float(values[i]) for name, values in (metrics or {}).items()},
        )
        for i in range(len(loss))
    )
    run.record_evaluation(before=evaluated[0], after=evaluated[1])
    run.end("done")
    return run


LATE = np.where(np.arange(N) < 90, D, 9e-4)
STEADY = np.where(np.arange(N) < 80, FALL, FALL + 0.004 * (np.arange(N) - 80))
NOISE = 0.3 + RANDOM.normal(0, 0.1, N)
LIMITED = 1e-6 * 1.02 ** np.arange(N)

FIRED = {
    "estimate_at_start": (record(d=np.full(N, 1e-6), lr=1e-3), ["1e-6", f"{N} steps", "1e-3 where 1 is meant"]),
    "estimate_grows": (record(d=LIMITED), ["27 %", "8.3e-6", "1.1e-5"]),
    "estimate_jumps": (record(d=LATE), ["2e-4 to 9e-4", "step 91"]),
    "growth_limited": (record(d=LIMITED, growth_rate=1.02), ["1.02", f"119 of {N}"]),
    "gradient_clipped": (record(d=D, grad_norm=np.minimum(RANDOM.uniform(0.5, 1.5, N), 1.0)), ["norm stands at 1 "]),
    "lost_in_bfloat16": (record(metrics={"bf16_lost": np.full(N, 0.75)}, optimizer="ADAMW"), ["75 %"]),
    "loss_rises": (record(STEADY), ["0.2", "0.3"]),
    "evaluation_apart": (record(evaluated=(1.0, 0.9)), ["0.1:"]),
    "nothing_changed": (
        record(NOISE + 0.86, evaluated=(1.16, 1.16), optimizer="LAMB"),
        ["1.16 before", f"{N} steps", "max_unorm (1)"],
    ),
    "mostly_noise": (record(NOISE, evaluated=(0.3, 0.29)), ["±0.1"]),
}

QUIET = {
    "estimate_at_start": record(d=D),
    "estimate_grows": record(d=D),
    "estimate_jumps": record(d=D),
    "growth_limited": record(d=D, growth_rate=1.02),
    "gradient_clipped": record(d=D, grad_norm=RANDOM.uniform(0.5, 1.5, N)),
    "lost_in_bfloat16": record(metrics={"bf16_lost": np.full(N, 0.25)}, optimizer="ADAMW"),
    "loss_rises": record(),
    "evaluation_apart": record(),
    "nothing_changed": record(optimizer="LAMB"),
    "mostly_noise": record(),
}


def test_every_rule_is_tried():
    assert FIRED.keys() == QUIET.keys() == RULES.keys()


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_fires_with_the_numbers_that_it_saw(rule):
    run, numbers = FIRED[rule]
    (found,) = [one for one in observe(run) if one.rule == rule]
    for number in numbers:
        assert number in str(found)


@pytest.mark.parametrize("rule", RULES)
def test_there_is_nothing_to_say_about_a_run_without_the_cause(rule):
    assert observe(QUIET[rule]) == []


@pytest.mark.parametrize("rule", RULES)
def test_only_what_is_wrong_is_told(rule):
    run, _ = FIRED[rule]
    also = {"growth_limited": {"estimate_grows"}}.get(rule, set())
    assert {one.rule for one in observe(run)} <= {rule} | also


@pytest.mark.parametrize("loss", [[], [1.0], [math.nan] * N, [math.inf] * N, [0.0] * N, [1e300] * N])
def test_records_without_a_course_are_no_trouble(loss):
    assert observe(record(loss, d=np.full(len(loss), 1e-6) if len(loss) < 30 else D)) == []


def test_a_rate_that_depends_on_the_seed_is_told():
    def with_rate(seed, rate):
        run = dw.Run(dw.RunPlan(dw.Settings("PRODIGY"), seed=seed, steps=3))
        run.begin()
        run.set_up("cpu", ["unet"])
        run.record(StepRecord(i, 0.1 * i, 0.5, (1.0,), (rate,)) for i in (1, 2, 3))
        run.end("done")
        return run

    (found,) = observe_together([with_rate(0, 1e-3), with_rate(1, 4e-3)])
    assert "1e-3 to 4e-3 over 2 seeds" in str(found)
    assert observe_together([with_rate(0, 1e-3), with_rate(1, 1.5e-3)]) == []
    assert observe_together([with_rate(0, 1e-3)]) == []


@pytest.mark.slow
def test_real_runs_that_train_well_are_left_alone():
    for optimizer in ("ADAMW", "PRODIGY", "LION"):
        run = dw.train(dw.Settings(optimizer, schedule="COSINE"), "digits", 300, progress=False)
        assert [str(one) for one in observe(run)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "values"),
    [
        ("LAMB", {"lr": 1e-2}),
        ("LAMB_8BIT", {"lr": 1e-2}),
        ("LARS", {"lr": 0.1}),
        ("LARS_8BIT", {"lr": 0.1}),
    ],
)
def test_a_lora_that_does_not_move_is_told_and_what_is_advised_moves_it(optimizer, values):
    def trained(**changed):
        return dw.train(dw.Settings(optimizer, **values, **changed), "digits_lora", 40, progress=False)

    still = trained()
    assert still.eval_after == still.eval_before
    (found,) = observe(still)
    name = "min_8bit_size" if optimizer == "LAMB_8BIT" else "max_unorm"
    assert f"Set {name} to 0" in str(found)
    moved = trained(**{name: 0})
    assert "nothing_changed" not in {one.rule for one in observe(moved)}
    assert moved.eval_after < 0.8 * moved.eval_before


def test_steps_too_small_for_the_weights_are_told():
    run = dw.train(dw.Settings("SGD", lr=1e-12), "swiss_roll", 3, progress=False)
    (found,) = observe(run)
    assert "try a higher rate" in str(found)
