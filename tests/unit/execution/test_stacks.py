"""Runs whose gradients are computed together: the numbers of each run alone, and words on what was done."""

import time

import numpy as np
import pytest
from own_tasks import LINE
from running import assert_same

import diffopt_widgets as dw
from diffopt_widgets.execution.driver import run_to_end
from diffopt_widgets.execution.outcome import RunFailed
from diffopt_widgets.execution.rounds import Rounds
from diffopt_widgets.execution.stacks import RoundedDifferently, Stacks
from diffopt_widgets.runs.space import vary
from diffopt_widgets.store import RunSaver
from diffopt_widgets.training import stack
from diffopt_widgets.training.loop import Training

TWO = {"lr": [1e-3, 1e-2]}
ROUNDS = stack.EQUAL_ROUNDS


def plans(optimizer="ADAMW", over=TWO, steps=ROUNDS + 3, **options):
    return vary(dw.RunPlan(dw.Settings(optimizer), "swiss_roll", steps, device="cpu", **options), over)


def carried_out(runs, wanted=True, on_publish=lambda _: None):
    """The runs side by side in stacks, and these."""
    stacks = Stacks(wanted)

    def publish(run):
        stacks.follow(run)
        on_publish(run)

    rounds = Rounds(publish, on_begun=stacks.join, by_step=stacks.holds)
    rounds.add(runs)
    return rounds, stacks


def trained(runs, wanted=True):
    rounds, stacks = carried_out(runs, wanted)
    for _ in rounds.steps():
        pass
    return stacks.words()


def alone(run):
    return run_to_end(dw.Run(run.plan), progress=False)


@pytest.mark.slow
def test_all_optimizers_give_the_numbers_that_each_gives_alone(monkeypatch):
    monkeypatch.setattr(stack.Stack, "_begin_trial", lambda _: None)  # so that every step is computed together
    rates = {"SCHEDULE_FREE_SGD": {"lr": 0.1}}  # it diverges with its default
    over = [{"optimizer": key, **rates.get(key, {})} for key in dw.list_optimizers()]
    settings = {"task": "swiss_roll", "steps": 5, "grad_norm": True, "device": "cpu", "progress": False}
    runs = dw.sweep("ADAMW", over, stacked=True, **settings)
    in_turn = dw.sweep("ADAMW", over, **settings)
    assert len(runs) >= 43
    for run, straight in zip(runs, in_turn, strict=True):
        assert_same(run, straight)
        assert run.state_bytes == straight.state_bytes
        assert run.output == straight.output
        assert run.trained_with == straight.trained_with


@pytest.mark.parametrize(
    "options", [pytest.param({"grad_norm": True}, marks=pytest.mark.slow), {"accumulation": 2, "batch_size": 8}]
)
def test_runs_with_other_seeds_and_rates_give_the_numbers_that_they_give_alone(options):
    runs = [dw.Run(plan) for plan in plans(over={**TWO, "seed": [0, 1]}, **options)]
    (words,) = trained(runs)
    assert "4 runs of swiss_roll: gradients computed together" in words
    assert "to the bit" in words
    for run in runs:
        assert_same(run, alone(run))


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "most"), [("ADAMW", 1e-5), ("PRODIGY", 1e-3), ("CAME", 1e-5)])
def test_another_architecture_has_the_same_losses_up_to_the_growth_of_rounding(optimizer, most):
    """Its convolutions are summed in another order, which moves the last bits of gradients."""
    with pytest.warns(RoundedDifferently, match="2 runs of digits"):
        runs = dw.sweep(optimizer, {"seed": [0, 1]}, "digits", 20, device="cpu", stacked=True, progress=False)
    for run in runs:
        straight = alone(run)
        np.testing.assert_allclose(run.history.column("loss"), straight.history.column("loss"), rtol=most)
        assert run.eval_after == pytest.approx(straight.eval_after, rel=most)
        assert "rounded differently" in run.trained_with["gradients"]
        assert "rounded differently" in str(dw.report([run]))
        assert "stacked=True" in dw.report([run]).code()
        assert "stacked" not in dw.report([straight]).code()


@pytest.mark.slow
def test_auto_keeps_what_would_be_rounded_differently_in_turn(capsys):
    runs = dw.sweep("ADAMW", TWO, "digits", 4, device="cpu", stacked="auto")
    assert "2 runs of digits: trained in turn, since computed together their gradients are rounded differently." in (
        capsys.readouterr().out
    )
    for run in runs:
        assert_same(run, alone(run))
        assert "gradients" not in run.trained_with


@pytest.fixture
def slow_alone(monkeypatch):
    """Computes each loss thirty times where a run computes its own, so that which way is faster does not depend on the machine."""
    original = Training.backward

    def slow(self, step):
        for _ in range(30):
            self.problem.loss(step)
        return original(self, step)

    monkeypatch.setattr(stack, "TRIAL_ROUNDS", 2)
    monkeypatch.setattr(Training, "backward", slow)


@pytest.mark.slow
@pytest.mark.usefixtures("slow_alone")
def test_auto_goes_on_stacked_where_that_is_faster():
    runs = [dw.Run(plan) for plan in plans()]
    (words,) = trained(runs, "auto")
    assert "times as fast as in turn" in words
    for run in runs:
        assert_same(run, alone(run))


@pytest.mark.slow
def test_auto_goes_on_in_turn_where_that_is_faster(monkeypatch):
    original = stack.losses_and_gradients
    monkeypatch.setattr(stack, "TRIAL_ROUNDS", 2)

    def slow(trainings):
        for _ in range(30):
            computed = original(trainings)
        return computed

    monkeypatch.setattr(stack, "losses_and_gradients", slow)
    runs = [dw.Run(plan) for plan in plans()]
    (words,) = trained(runs, "auto")
    assert "trained in turn, since computed together they take" in words
    for run in runs:
        assert_same(run, alone(run))


@pytest.mark.slow
@pytest.mark.usefixtures("slow_alone")
def test_auto_compares_once_more_when_a_run_has_left(monkeypatch):
    original = stack.losses_and_gradients

    def rounded(trainings):
        """As on a device where sums of two runs are taken in another order than those of three."""
        return [(loss if len(trainings) == 3 else loss * 1.01, own) for loss, own in original(trainings)]

    monkeypatch.setattr(stack, "losses_and_gradients", rounded)
    over = [{"steps": 4}, {"lr": 1e-2, "steps": 8}, {"lr": 3e-3, "steps": 8}]
    runs = [dw.Run(plan) for plan in plans(over=over)]
    (words,) = trained(runs, "auto")
    assert "trained in turn from some step on, since computed together their gradients are rounded differently" in words
    for run in runs:
        assert_same(run, alone(run))


@pytest.mark.slow
def test_each_run_is_charged_its_part_of_the_common_time(monkeypatch):
    clock, original = [0.0], stack.losses_and_gradients

    def timed(trainings):
        clock[0] += 8.0
        return original(trainings)

    monkeypatch.setattr(stack.Stack, "_begin_trial", lambda _: None)  # so that every step is computed together
    monkeypatch.setattr(stack, "losses_and_gradients", timed)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    runs = [dw.Run(plan) for plan in plans(steps=3, batch_size=8)]
    trained(runs)
    assert [run.history.column("seconds").tolist() for run in runs] == [[4.0, 8.0, 12.0]] * 2


@pytest.mark.slow
def test_one_that_is_stopped_leaves_and_goes_on_alone():
    runs = [dw.Run(plan) for plan in plans(over={"lr": [1e-3, 3e-3, 1e-2]}, steps=ROUNDS + 6)]
    rounds, _ = carried_out(runs)
    for run in rounds.steps():
        if run is runs[1] and not run.ended and run.kept.taken == ROUNDS + 2:
            rounds.stop([run])
    assert (runs[1].status, runs[1].kept.stack) == ("stopped", None)
    dw.resume(runs[1], progress=False)
    for run in runs:
        assert_same(run, alone(run))


@pytest.mark.slow
def test_a_sweep_is_taken_up_again_from_its_store(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    runs = [dw.Run(plan) for plan in plans(steps=ROUNDS + 6)]
    saver = RunSaver(store)
    rounds, _ = carried_out(runs, on_publish=saver.save)
    for run in rounds.steps():
        if run is runs[0] and run.kept.taken == ROUNDS + 2:
            rounds.stop()
    assert [(run.status, len(run.history)) for run in runs] == [("stopped", ROUNDS + 2), ("stopped", ROUNDS + 1)]
    sweep = {"device": "cpu", "store": store, "resume": True, "stacked": True, "progress": False}
    again = dw.sweep("ADAMW", TWO, "swiss_roll", ROUNDS + 6, **sweep)
    assert [run.key for run in again] == [run.key for run in runs]
    for run in again:
        assert_same(run, alone(run))


@pytest.mark.slow
def test_one_that_diverges_leaves_the_numbers_of_the_others():
    with pytest.warns(RunFailed, match="1 of 2 runs failed"):
        runs = dw.sweep("SGD", {"lr": [1e-3, 1e8]}, "swiss_roll", 30, device="cpu", stacked=True, progress=False)
    assert [run.status for run in runs] == ["done", "failed"]
    assert_same(runs[0], alone(runs[0]))


@pytest.mark.slow
def test_those_that_cannot_be_computed_together_train_in_turn_and_it_says_why(monkeypatch):
    monkeypatch.setattr("diffopt_widgets.tasks.registry._OWN", {})
    dw.register_task(LINE)
    over = [{"lr": 1e-3}, {"lr": 1e-2}, {"fused_back_pass": True}, {"task": "line"}, {"batch_size": 8}]
    runs = [dw.Run(plan) for plan in plans("ADAFACTOR", over)]
    words = "\n".join(trained(runs))
    assert "2 runs of swiss_roll: gradients computed together" in words
    assert "1 run of swiss_roll: trained in turn, since fused_back_pass takes its steps inside" in words
    assert "1 run of line: trained in turn, since line is a task of your own" in words
    assert "1 run of swiss_roll: trained in turn, since no other has its task, batch size" in words
    assert {run.status for run in runs} == {"done"}
    assert_same(runs[2], alone(runs[2]))


@pytest.mark.slow
def test_an_error_of_the_computation_leaves_each_run_to_itself(monkeypatch):
    def broken(_):
        raise MemoryError("no room")

    monkeypatch.setattr(stack, "losses_and_gradients", broken)
    runs = [dw.Run(plan) for plan in plans()]
    (words,) = trained(runs)
    assert words == "2 runs of swiss_roll: trained in turn, since computed together they fail (MemoryError: no room)."
    for run in runs:
        assert_same(run, alone(run))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"stacked": "yes"}, "stacked"),
        ({"stacked": 1}, "stacked"),
        ({"stacked": True, "search": "tpe", "trials": 3, "prune": "median"}, "one after the other"),
    ],
)
def test_what_cannot_be_stacked_is_refused_by_name(options, named):
    with pytest.raises(dw.SettingsError, match=named):
        dw.sweep("ADAMW", TWO, "swiss_roll", 1, **options)
