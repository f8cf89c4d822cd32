"""The verdict on compared runs claims what they show, and nothing else."""

import math
from dataclasses import replace

import pytest

import diffopt_widgets as dw
from diffopt_widgets.records import StepRecord
from diffopt_widgets.runs.compared import alike, ready_comparison, trained_words, verdict
from diffopt_widgets.runs.comparisons import comparisons
from diffopt_widgets.runs.run import Run
from diffopt_widgets.runs.space import vary
from diffopt_widgets.settings.variations import name_by_difference

READY = {comparison.key: comparison for comparison in comparisons()}


def ended(run, evaluated, *, status="done", train=0.5):
    """Give a run its end, as the driver does, without training; the last training loss may be no number."""
    run.begin()
    run.set_up("cpu", ("all",))
    last = run.plan.steps if status == "done" else 2
    losses = [train] * (last - 1) + [math.nan if status == "diverged" else train]
    run.record(StepRecord(step, 0.1 * step, loss, (1e-3,), (1e-3,)) for step, loss in enumerate(losses, 1))
    if evaluated is not None:
        run.record_evaluation(before=1.0, after=evaluated)
    if status in {"failed", "diverged"}:
        run.fail("it failed", "…")
    else:
        run.end(status, "it ended")
    return run


def runs_of(plans, outcomes):
    names = name_by_difference(plans)
    told = [outcome if isinstance(outcome, tuple) else (outcome, "done") for outcome in outcomes]
    return [
        ended(Run(plan, name), loss, status=status)
        for plan, name, (loss, status) in zip(plans, names, told, strict=True)
    ]


def of_rates(*outcomes, **options):
    """Runs with the rates 0.1, 0.2 and so on; an outcome is an evaluation loss, or such a loss with a status."""
    plans = [dw.RunPlan(dw.Settings("SGD", lr=i / 10), "swiss_roll", 4, **options) for i in range(1, len(outcomes) + 1)]
    return runs_of(plans, outcomes)


def of_seeds(losses_by_rate):
    """Runs of several rates, each with the seeds 0, 1 and so on."""
    plans = [
        dw.RunPlan(dw.Settings("SGD", lr=rate), "swiss_roll", 4, seed=seed)
        for rate, losses in losses_by_rate.items()
        for seed in range(len(losses))
    ]
    return runs_of(plans, [loss for losses in losses_by_rate.values() for loss in losses])


def test_the_best_and_the_worst_are_told_and_that_one_seed_says_nothing_of_seeds():
    runs = of_rates(0.4, 0.25, 0.5)
    found = verdict(runs)
    assert found.best_runs == (runs[1],)
    assert (found.difference, found.between_seeds, found.beyond_seeds) == (0.25, None, None)
    assert str(found) == (
        "Best: lr 0.2, evaluation loss 0.25; worst: lr 0.3, 0.5. "
        "How much seeds alone change is not known: all have seed 0."
    )


def test_a_ready_comparison_knows_what_seeds_change_whatever_its_seed_and_device():
    comparison = READY["d_coef"]
    runs = comparison.runs(seed=7, device="cpu")
    for run, loss in zip(runs, (0.186, 0.191, 0.196), strict=True):
        ended(run, loss)
    seen = [max(losses) - min(losses) for losses in comparison.measured]
    behind = sum(worst > best for best, *_, worst in zip(*comparison.measured, strict=True))
    found = verdict(runs)
    assert (found.between_seeds, found.seeds, found.behind) == (max(seen), 5, behind)
    assert found.beyond_seeds is (runs[2].eval_after - runs[0].eval_after > max(seen))
    assert str(found) == (
        "Best: d_coef 0.5, evaluation loss 0.186; worst: d_coef 1.2, 0.196. The difference is smaller than between seeds "
        f"(up to {max(seen):.2g}). The worst was behind with {behind} of 5 seeds in earlier runs."
    )
    assert verdict(runs[:2]).between_seeds == max(seen[:2])
    other = ended(Run(replace(runs[0].plan, batch_size=8), "smaller batches"), 0.2)
    same_size = ended(Run(replace(other.plan, settings=runs[1].settings), "smaller batches"), 0.3)
    assert verdict([other, same_size]).between_seeds is None


def test_a_difference_that_is_larger_for_the_worst_only_is_told_so():
    runs = READY["beta2"].runs()
    for run, loss in zip(runs, (0.21, 0.185, 0.188), strict=True):
        ended(run, loss)
    assert str(verdict(runs)).endswith(
        "The difference is larger than between seeds (up to 0.013), but that to beta2 0.999 is not."
    )


def test_several_seeds_are_one_setting_and_show_what_seeds_change():
    runs = of_seeds({0.1: (0.30, 0.34, 0.31), 0.2: (0.29, 0.35, 0.30)})
    found = verdict(runs)
    assert [one.label for one in found.standings] == ["lr 0.2", "lr 0.1"]
    assert found.best_runs == tuple(runs[3:])
    assert (found.seeds, found.behind, found.earlier) == (3, 2, False)
    assert str(found) == (
        "Best: lr 0.2, mean evaluation loss 0.313 of 3 seeds; worst: lr 0.1, 0.317. "
        "The difference by seed is 0.003 ± 0.029 over 3 seeds: perhaps luck."  # 1/300 ± 4.303 · 0.01155 / √3
    )


def test_only_seeds_that_all_settings_have_are_compared():
    runs = of_seeds({0.1: (0.3, 0.3, (0.01, "stopped")), 0.2: (0.5, 0.5, 0.02)})
    found = verdict(runs)
    assert found.best[0].label == "lr 0.1"
    assert [sorted(one.losses) for one in found.standings] == [[0, 1], [0, 1]]
    assert str(found).endswith("Did not finish: lr 0.1, seed 2.")


def test_one_setting_with_several_seeds_is_no_comparison():
    assert str(verdict(of_seeds({0.1: (0.3, 0.36)}))) == (
        "One setting with 2 seeds: mean evaluation loss 0.33, from 0.3 to 0.36."
    )


def test_runs_with_a_seed_each_say_that_their_seeds_differ():
    first, second = of_seeds({0.1: (0.3, 0.4), 0.2: (0.5, 0.6)})[::3]
    found = verdict([first, second])
    assert not found.paired
    assert str(found).endswith("How much seeds alone change is not known: the seeds of the runs differ.")


@pytest.mark.parametrize("low", [(None, "diverged"), (0.001, "diverged"), (math.nan, "failed"), (math.inf, "failed")])
def test_a_run_that_diverged_is_never_the_best(low):
    runs = of_rates(low, 0.25, 0.5)
    found = verdict(runs)
    assert found.best_runs == (runs[1],)
    assert str(found).endswith("Diverged: lr 0.1.")


def test_a_setting_of_which_one_seed_diverged_is_not_the_best_either():
    runs = of_seeds({0.1: (0.1, (0.1, "diverged")), 0.2: (0.3, 0.3), 0.3: (0.4, 0.4)})
    assert verdict(runs).best[0].label == "lr 0.2"
    assert str(verdict(runs)).endswith("Diverged: lr 0.1, seed 1.")


def test_a_run_that_diverged_is_told_once_whatever_its_status():
    runs = of_rates(math.nan, 0.25, 0.5)
    assert [run.status for run in runs] == ["done"] * 3
    assert str(verdict(runs)).count("lr 0.1") == 1
    assert str(verdict(runs)).endswith("Diverged: lr 0.1.")


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((0.25, 0.25), "2 runs of the same settings and seed: evaluation loss 0.25."),
        ((0.2, 0.3, 0.4), "3 runs of the same settings and seed: mean evaluation loss 0.3, from 0.2 to 0.4."),
        (
            (0.25, 0.25, (0.1, "stopped")),
            "2 runs of the same settings and seed: evaluation loss 0.25. Did not finish: ",
        ),
    ],
)
def test_a_run_that_was_repeated_finished_as_often(losses, words):
    plan = dw.RunPlan(dw.Settings("SGD", lr=0.1), "swiss_roll", 4)
    assert str(verdict(runs_of([plan] * len(losses), losses))).startswith(words)


def test_repeats_count_as_the_mean_of_their_seed():
    (first, second), (other,) = of_rates(0.2, 0.9), of_rates(0.35)
    repeated = ended(Run(first.plan), 0.4)
    assert str(verdict([first, repeated, second])).startswith("Best: lr 0.1, evaluation loss 0.3; worst: lr 0.2, 0.9.")
    assert verdict([other, repeated]).standings[0].loss == pytest.approx(0.375)


def test_seeds_that_other_settings_lack_show_what_seeds_change():
    runs = of_seeds({0.1: (0.40, 0.45, 0.6), 0.2: (0.5, 0.55, 0.6), 0.5: (0.9,)})
    found = verdict(runs)
    assert found.between_seeds == pytest.approx(0.2)
    assert str(found) == (
        "Best: lr 0.1, evaluation loss 0.4; worst: lr 0.5, 0.9. The difference is larger than between seeds (up to 0.2), "
        "but that to lr 0.2 is not."
    )


def test_settings_without_a_common_seed_say_how_many_each_has():
    runs = of_seeds({0.1: (0.3, 0.31), 0.2: (0.6, 0.7, 0.5)})
    assert str(verdict([*runs[:2], runs[-1]])) == (
        "Best: lr 0.1, mean evaluation loss 0.305 of 2 seeds; worst: lr 0.2, evaluation loss 0.5 of 1 seed. "
        "The difference is larger than between seeds (up to 0.01)."
    )


def test_many_equal_settings_are_counted_as_settings():
    runs = of_seeds(dict.fromkeys((0.1, 0.2, 0.3, 0.4), (0.3, 0.3)) | {0.5: (0.9, 0.9)})
    found = verdict(runs)
    assert str(found).startswith("Best: 4 settings, mean evaluation loss 0.3 of 2 seeds; worst: lr 0.5, 0.9.")
    assert found.distinction == "lowest mean evaluation loss of 5 settings"
    assert verdict(of_rates(0.3, 0.4, (None, "diverged"))).distinction == "lowest evaluation loss of 2 runs"


def test_why_training_losses_are_compared_is_told():
    runs = of_rates(0.4, 0.25, None)
    assert str(verdict(runs)) == (
        "No difference in three digits: training loss 0.5 in all 3. "
        "Training losses are compared, as the evaluation loss of lr 0.3 is not known."
    )


def test_stopped_and_failed_runs_are_told_and_not_compared():
    runs = of_rates((0.01, "stopped"), 0.25, 0.5, (None, "failed"))
    assert verdict(runs).best_runs == (runs[1],)
    assert str(verdict(runs)).endswith("Failed: lr 0.4. Did not finish: lr 0.1.")


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ((0.25, (0.1, "stopped")), "Only lr 0.1 finished, with evaluation loss 0.25: nothing to compare it with."),
        (((0.2, "stopped"), (0.1, "stopped")), "No run finished, so nothing is compared."),
        (((None, "diverged"),) * 5, "No run finished, so nothing is compared. Diverged: 5 runs."),
        ((0.18041, 0.18042), "No difference in three digits: evaluation loss 0.18 in both."),
        ((0.25,) * 3, "No difference in three digits: evaluation loss 0.25 in all 3."),
        ((0.25, 0.25, 0.3), "Best: lr 0.1 and lr 0.2, evaluation loss 0.25; worst: lr 0.3, 0.3."),
        ((0.25,), ""),
    ],
)
def test_where_there_is_no_winner_none_is_named(outcomes, words):
    found = verdict(of_rates(*outcomes))
    assert str(found).startswith(words)
    assert bool(found.best) == words.startswith("Best")
    assert str(verdict([])) == ""


def test_nothing_is_said_before_all_have_ended():
    runs = [*of_rates(0.25, 0.5), Run(dw.RunPlan(dw.Settings("SGD", lr=0.3), "swiss_roll", 4))]
    assert verdict(runs).best == ()
    assert str(verdict(runs)) == "2 of 3 runs have ended."


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"task": "digits"}, "losses of different tasks say nothing about each other"),
        ({"steps": 3}, "the runs have different lengths, 3 and 4 steps"),
        ({"accumulation": 2}, "the runs see different numbers of examples in a step, "),
        ({"batch_size": 7}, "the runs see different numbers of examples in a step, 7 and "),
    ],
)
def test_losses_that_cannot_be_compared_are_told_so(options, why):
    (run,) = of_rates(0.25)
    other = ended(Run(replace(run.plan, **options)), 0.5)
    assert verdict([run, other]).best == ()
    assert str(verdict([run, other])).startswith(f"Not compared: {why}")
    assert alike([run, other]) == [other]


def test_the_same_number_of_examples_can_be_compared():
    first, second = of_rates(0.25, 0.5, batch_size=32)
    halves = ended(Run(replace(second.plan, batch_size=16, accumulation=2)), 0.5)
    assert verdict([first, halves]).best_runs == (first,)
    assert alike([first, halves]) == [first, halves]


def test_a_loss_that_is_maximized_has_no_lowest():
    settings = dw.Settings("SGD", lr=0.1, maximize=True)
    runs = runs_of([dw.RunPlan(settings.replace(lr=lr), "swiss_roll", 4) for lr in (0.1, 0.2)], (0.25, 0.5))
    assert str(verdict(runs)) == "Not compared: a run that maximizes its loss is not better for a low one."


def test_runs_without_evaluation_are_compared_by_their_training_loss():
    plans = [dw.RunPlan(dw.Settings("SGD", lr=lr), "swiss_roll", 4) for lr in (0.1, 0.2)]
    runs = [ended(Run(plan), None, train=train) for plan, train in zip(plans, (0.5, 0.4), strict=True)]
    assert str(verdict(runs)).startswith("Best: lr 0.2, training loss 0.4; worst: lr 0.1, 0.5.")


def test_a_part_of_a_ready_comparison_is_recognized_and_other_runs_are_not():
    for comparison in READY.values():
        runs = comparison.runs(seed=3, device="cpu")
        assert ready_comparison(runs).key == comparison.key
        assert ready_comparison(runs[1:]).key == comparison.key
    assert ready_comparison([*runs, Run(dw.RunPlan(dw.Settings("SGD", lr=0.1)))]) is None
    assert ready_comparison([]) is None


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"lr": [1e-3, 2e-3]}, "learning rate 0.001 and 0.002; all with AdamW, schedule Constant, weight_decay 0.1, "),
        ({"optimizer": ["ADAMW", "PRODIGY"]}, "AdamW and Prodigy; each optimizer's own options; all with "),
        ({"seed": [0, 1], "warmup": [0.0, 0.1]}, "warm-up 0 and 0.1; seed 0 and 1; all with AdamW, "),
        ({"dtype": ["float32", "bfloat16"]}, "weights float32 and bfloat16; all with "),
        ({"steps": list(range(10, 18))}, "steps 10 … 17, 8 values; all with "),
        ({"schedule": ["CONSTANT", "COSINE"]}, "schedule Constant and Cosine; all with AdamW, learning rate 0.001, "),
        ({"grad_norm": [False, False]}, "2 runs of the same settings; all with AdamW, schedule Constant, "),
    ],
)
def test_what_differs_comes_first_and_then_what_is_the_same(over, words):
    plan = dw.RunPlan(dw.Settings("ADAMW", lr=1e-3, weight_decay=0.1), "swiss_roll", 300)
    assert trained_words(vary(plan, over)).startswith(words)
