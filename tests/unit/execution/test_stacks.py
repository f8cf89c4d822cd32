"""Runs whose gradients are computed together: the numbers of each run alone, and words on what was done.

Whether one pass over stacked weights gives the numbers of each run alone to the bit depends on the CPU, and which way is faster on
the machine. So most tests have the computation replaced by one whose numbers, or time, are known.
"""

import time

import numpy as np
import pytest
import torch
from own_tasks import LINE
from running import assert_same

import diffopt_widgets as dw
from diffopt_widgets.execution import rounds as rounds_of_runs
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
BACKWARD, TOGETHER = Training.backward, stack.losses_and_gradients
LARGER = 1.001


def plans(optimizer="ADAMW", over=TWO, steps=ROUNDS + 2, task="swiss_roll", batch_size=8, **options):
    return vary(dw.RunPlan(dw.Settings(optimizer), task, steps, device="cpu", batch_size=batch_size, **options), over)


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


def parameters(training):
    return list(training.problem.model.parameters())


def each_alone(training):
    """Loss and gradients of a training, as it computes them."""
    loss = BACKWARD(training, training.taken)
    gradients = [p.grad for p in parameters(training)]
    for p in parameters(training):
        p.grad = None
    return loss, gradients


@pytest.fixture
def equal(monkeypatch):
    """Gradients of a stack are those that each training computes alone, on any CPU; each call notes how many there are."""
    called = []

    def computed(trainings):
        called.append(len(trainings))
        return [each_alone(training) for training in trainings]

    monkeypatch.setattr(stack, "losses_and_gradients", computed)
    return called


@pytest.fixture
def rounded(monkeypatch):
    """Losses of a stack are others than alone, as on a CPU that sums in another order; here it can be seen in which steps."""

    def computed(trainings):
        return [(loss * LARGER, gradients) for loss, gradients in map(each_alone, trainings)]

    monkeypatch.setattr(stack, "losses_and_gradients", computed)


class Clock:
    """Time that passes only where a test says so, and a little each time that it is read."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 2.0**-20
        return self.now

    def lasts(self, seconds, compute):
        """A computation that takes so long."""

        def timed(*arguments):
            self.now += seconds
            return compute(*arguments)

        return timed


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"accumulation": 2}])
@pytest.mark.parametrize("task", ["swiss_roll", "digits"])
def test_losses_and_gradients_are_those_of_each_training_up_to_rounding(task, options):
    trainings = [Training(plan) for plan in plans(over={"seed": [0, 1]}, task=task, **options)]
    next(trainings[1].steps())  # they may be at different steps
    for training, (loss, gradients) in zip(trainings, TOGETHER(trainings), strict=True):
        own_loss, own_gradients = each_alone(training)
        torch.testing.assert_close(loss, own_loss, rtol=1e-5, atol=0)
        for gradient, own in zip(gradients, own_gradients, strict=True):
            assert gradient.untyped_storage().nbytes() == gradient.nbytes  # a tensor of its own
            torch.testing.assert_close(gradient, own, rtol=0, atol=1e-5 * float(own.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"batch_size": None, "grad_norm": True}, {"accumulation": 2}, {"task": "digits", "steps": 5}]
)
def test_runs_give_the_numbers_that_they_give_alone_or_the_sweep_says_that_it_rounds_differently(options):
    runs = [dw.Run(plan) for plan in plans(over={**TWO, "seed": [0, 1]}, **options)]
    (words,) = trained(runs)
    to_the_bit = "to the bit" in words
    assert "gradients computed together" in words
    assert to_the_bit != ("rounded differently than alone" in words)
    for run in runs:
        straight = alone(run)
        assert to_the_bit != ("gradients" in run.trained_with)
        if to_the_bit:
            assert_same(run, straight)
        else:
            np.testing.assert_allclose(run.history.column("loss"), straight.history.column("loss"), rtol=1e-4)
            assert run.eval_after == pytest.approx(straight.eval_after, rel=1e-4)


@pytest.mark.slow
def test_all_optimizers_give_the_numbers_that_each_gives_alone(monkeypatch, equal):
    monkeypatch.setattr(stack.Stack, "_begin_trial", lambda _: None)  # so that every step is computed together
    rates = {"SCHEDULE_FREE_SGD": {"lr": 0.1}}  # it diverges with its default
    over = [{"optimizer": key, **rates.get(key, {})} for key in dw.list_optimizers()]
    settings = {"task": "swiss_roll", "steps": 5, "grad_norm": True, "device": "cpu", "progress": False}
    runs = dw.sweep("ADAMW", over, stacked=True, **settings)
    assert max(equal) > 30
    in_turn = dw.sweep("ADAMW", over, **settings)
    assert len(runs) >= 43
    for run, straight in zip(runs, in_turn, strict=True):
        assert_same(run, straight)
        assert run.state_bytes == straight.state_bytes
        assert run.output == straight.output
        assert run.trained_with == straight.trained_with


@pytest.mark.slow
@pytest.mark.usefixtures("rounded")
def test_runs_that_are_rounded_differently_say_so():
    with pytest.warns(RoundedDifferently, match="2 runs of swiss_roll"):
        runs = dw.sweep("ADAMW", TWO, "swiss_roll", ROUNDS + 2, device="cpu", stacked=True, progress=False)
    for run in runs:
        straight = alone(run)
        larger = run.history.column("loss") / straight.history.column("loss")
        np.testing.assert_allclose(larger, [1.0] + [LARGER] * (ROUNDS + 1), rtol=1e-5)  # the first step shows it
        assert run.eval_after == straight.eval_after
        assert "rounded differently" in run.trained_with["gradients"]
        assert "rounded differently" in str(dw.report([run]))
        assert "stacked=True" in dw.report([run]).code()
        assert "stacked" not in dw.report([straight]).code()


@pytest.mark.slow
@pytest.mark.usefixtures("rounded")
def test_a_run_that_trained_alone_beside_a_stack_is_not_said_to_be_rounded(monkeypatch):
    monkeypatch.setattr(rounds_of_runs, "MOST_TOGETHER", 2)
    runs = [dw.Run(plan) for plan in plans(over={"seed": [0, 1, 2]})]
    rounds, stacks = carried_out(runs)
    for _ in rounds.steps():
        pass
    with pytest.warns(RoundedDifferently, match="the gradients of 2 runs of swiss_roll were"):
        stacks.warn()
    assert ["gradients" in run.trained_with for run in runs] == [True, True, False]
    first, second = stacks.words()
    assert first.startswith("2 runs of swiss_roll: gradients computed together")
    assert first.endswith("rounded differently than alone.")
    assert second == (
        "1 run of swiss_roll: trained in turn, since no other trained beside it until both ways were compared."
    )
    assert_same(runs[2], alone(runs[2]))


@pytest.mark.slow
@pytest.mark.usefixtures("rounded")
def test_auto_keeps_what_would_be_rounded_differently_in_turn(capsys):
    runs = dw.sweep("ADAMW", TWO, "swiss_roll", 4, device="cpu", stacked="auto")
    assert (
        "2 runs of swiss_roll: trained in turn, since computed together their gradients are rounded differently."
        in (capsys.readouterr().out)
    )
    for run in runs:
        assert_same(run, alone(run))
        assert "gradients" not in run.trained_with


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.0, "gradients computed together, 2.00 times as fast as in turn"),
        (4.0, "trained in turn, since computed together they take 2.00 times as long"),
    ],
)
@pytest.mark.usefixtures("equal")
def test_auto_goes_on_in_the_way_that_is_faster(monkeypatch, clock, seconds, words):
    monkeypatch.setattr(stack, "TRIAL_ROUNDS", 2)
    monkeypatch.setattr(stack, "losses_and_gradients", clock.lasts(seconds, stack.losses_and_gradients))
    monkeypatch.setattr(Training, "backward", clock.lasts(1.0, BACKWARD))
    runs = [dw.Run(plan) for plan in plans()]
    (said,) = trained(runs, "auto")
    assert words in said
    for run in runs:
        assert_same(run, alone(run))


def test_what_a_device_has_still_to_do_is_no_part_of_the_comparison(monkeypatch, clock):
    """A stand-in for a device that computes later: the time passes where something waits for it."""
    queued = [0.0]

    def waits(_):
        clock.now += queued.pop()
        queued.append(0.0)

    def queues(seconds, compute):
        def begun(*arguments):
            queued[0] += seconds
            return compute(*arguments)

        return begun

    monkeypatch.setattr(stack, "_wait", waits)
    monkeypatch.setattr(
        stack, "losses_and_gradients", queues(2.0, lambda several: [each_alone(one) for one in several])
    )
    monkeypatch.setattr(Training, "backward", queues(4.0, BACKWARD))
    monkeypatch.setattr(Training, "_step", queues(100.0, Training._step))
    trainings = [Training(plan) for plan in plans()]
    stacked = stack.Stack(only_equal=False)
    for training in trainings:
        stacked.join(training)
    for _ in zip(*(training.steps() for training in trainings), strict=True):
        pass
    assert stacked.ratio == pytest.approx(4.0, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", ["rounded", "broken"])
def test_auto_compares_once_more_when_a_run_has_left(monkeypatch, clock, numbers):
    def other_for_two(trainings):
        """As on a device where sums of two runs are taken in another order than those of three, or cannot be taken."""
        if len(trainings) == 2 and numbers == "broken":
            raise MemoryError("no room")
        return [(loss if len(trainings) == 3 else loss * 1.01, own) for loss, own in map(each_alone, trainings)]

    monkeypatch.setattr(stack, "TRIAL_ROUNDS", 2)
    monkeypatch.setattr(stack, "losses_and_gradients", other_for_two)
    monkeypatch.setattr(Training, "backward", clock.lasts(1.0, BACKWARD))
    over = [{"steps": 4}, {"lr": 1e-2, "steps": 8}, {"lr": 3e-3, "steps": 8}]
    runs = [dw.Run(plan) for plan in plans(over=over)]
    (words,) = trained(runs, "auto")
    why = {"rounded": "their gradients are rounded differently", "broken": "they fail (MemoryError: no room)"}[numbers]
    assert words == f"3 runs of swiss_roll: trained in turn from some step on, since computed together {why}."
    for run in runs:
        assert_same(run, alone(run))
        assert "gradients" not in run.trained_with


@pytest.mark.usefixtures("equal")
def test_each_run_is_charged_its_part_of_the_common_time(monkeypatch, clock):
    monkeypatch.setattr(stack.Stack, "_begin_trial", lambda _: None)  # so that every step is computed together
    monkeypatch.setattr(stack, "losses_and_gradients", clock.lasts(8.0, stack.losses_and_gradients))
    trainings = [Training(plan) for plan in plans(steps=3)]
    stacked = stack.Stack(only_equal=False)
    for training in trainings:
        stacked.join(training)
    records = list(zip(*(training.steps() for training in trainings), strict=True))
    seconds = [[record.seconds for record in step] for step in records]
    np.testing.assert_allclose(seconds, [[4.0, 4.0], [8.0, 8.0], [12.0, 12.0]], atol=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("equal")
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
@pytest.mark.usefixtures("equal")
def test_a_sweep_is_taken_up_again_from_its_store(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    runs = [dw.Run(plan) for plan in plans(steps=ROUNDS + 6)]
    saver = RunSaver(store)
    rounds, _ = carried_out(runs, on_publish=saver.save)
    for run in rounds.steps():
        if run is runs[0] and run.kept.taken == ROUNDS + 2:
            rounds.stop()
    assert [(run.status, len(run.history)) for run in runs] == [("stopped", ROUNDS + 2), ("stopped", ROUNDS + 1)]
    sweep = {"device": "cpu", "batch_size": 8, "store": store, "resume": True, "stacked": True, "progress": False}
    again = dw.sweep("ADAMW", TWO, "swiss_roll", ROUNDS + 6, **sweep)
    assert [run.key for run in again] == [run.key for run in runs]
    for run in again:
        assert_same(run, alone(run))


@pytest.mark.slow
@pytest.mark.usefixtures("equal")
def test_one_that_diverges_leaves_the_numbers_of_the_others():
    with pytest.warns(RunFailed, match="1 of 2 runs failed"):
        runs = dw.sweep("SGD", {"lr": [1e-3, 1e8]}, "swiss_roll", 30, device="cpu", stacked=True, progress=False)
    assert [run.status for run in runs] == ["done", "failed"]
    assert_same(runs[0], alone(runs[0]))


@pytest.mark.slow
@pytest.mark.usefixtures("equal")
def test_those_that_cannot_be_computed_together_train_in_turn_and_it_says_why(monkeypatch):
    monkeypatch.setattr("diffopt_widgets.tasks.registry._OWN", {})
    dw.register_task(LINE)
    over = [{"lr": 1e-3}, {"lr": 1e-2}, {"fused_back_pass": True}, {"task": "line"}, {"batch_size": 16}]
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
