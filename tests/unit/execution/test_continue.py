"""A stopped run goes on to its planned end, bit for bit as if it had not been stopped."""

import asyncio
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from running import PATIENCE, assert_same, go_on, until

import diffopt_widgets as dw
from diffopt_widgets.execution import driver
from diffopt_widgets.execution import session as session_module
from diffopt_widgets.execution.driver import drive, run_to_end
from diffopt_widgets.execution.session import Session
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.plan import RunPlan

STEPS = 12


def plan(key="ADAMW", steps=STEPS, **options):
    rates = {"ADAMW": 1e-3, "ADAMW_8BIT": 1e-3, "SCHEDULE_FREE_SGD": 0.1}
    given = {"lr": rates[key]} if key in rates else {}
    return RunPlan(dw.Settings(key, schedule="COSINE", **given), task="swiss_roll", steps=steps, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "accumulation"),
    [
        *[("PRODIGY", 1), ("PRODIGY", 3), ("ADAMW_8BIT", 1), ("ADAMW_8BIT", 2), ("DADAPT_ADAM", 1), ("ADAFACTOR", 1)],
        *[("SCHEDULE_FREE_ADAMW", 1), ("SCHEDULE_FREE_SGD", 2), ("PRODIGY_PLUS_SCHEDULE_FREE", 1)],
        ("AdEMAMix_8BIT", 1),
        ("ADABELIEF", 1),
        ("ADOPT", 1),
        ("CAME_8BIT", 1),
    ],
)
def test_it_goes_on_bit_for_bit(key, accumulation):
    asked = plan(key, accumulation=accumulation, grad_norm=True) if key != "ADAFACTOR" else plan(key, grad_norm=True)
    run, straight = Run(asked), run_to_end(Run(asked), progress=False)
    for steps in (3, 0, 5):
        go_on(run, steps)
        assert run.status == "stopped"
        assert run.can_continue
    assert len(run.history) == 8
    assert_same(run_to_end(run, progress=False), straight)


@pytest.fixture(scope="module")
def straight():
    return run_to_end(Run(plan()), progress=False)


@pytest.mark.slow
@settings(max_examples=12)
@given(stops=st.lists(st.integers(0, STEPS - 1), max_size=4))
def test_wherever_it_is_stopped_and_however_often(straight, stops):
    run = Run(plan())
    for stop in sorted(stops):
        go_on(run, stop - len(run.history))
    assert len(run.history) == max(stops, default=0)
    assert_same(run_to_end(run, progress=False), straight)


@pytest.mark.slow
def test_seconds_go_on_too():
    run = Run(plan())
    go_on(run, 5)
    before = run.seconds
    run_to_end(run, progress=False)
    assert run.seconds > before > 0
    assert (np.diff(run.history.column("seconds")) > 0).all()


def in_session(script):
    async def main():
        session = Session(lambda run: None)
        await script(session)
        await asyncio.wait_for(session.wait(), PATIENCE)

    asyncio.run(main())


@pytest.mark.slow
def test_a_session_takes_up_a_stopped_run_again_and_again(monkeypatch):
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 0)
    monkeypatch.setattr(session_module, "SLICE_SECONDS", 0)  # it can be stopped after each step
    asked = plan("PRODIGY", steps=120)
    run = Run(asked)
    lengths = []

    async def script(session):
        for _ in range(2):
            come_to = len(run.history)
            session.start([run])
            assert run.status == "waiting"
            await until(lambda come_to=come_to: len(run.history) > come_to)
            session.stop()
            await session.wait()
            assert run.status == "stopped"
            lengths.append(len(run.history))
        session.start([run])

    in_session(script)
    assert 0 < lengths[0] < lengths[1] < 120
    assert_same(run, run_to_end(Run(asked), progress=False))


@pytest.mark.slow
def test_a_run_stopped_before_its_turn_can_be_started():
    first, second = Run(plan(steps=100_000)), Run(plan())

    async def script(session):
        session.start([first])
        session.start([second])
        await until(lambda: len(first.history) > 0)
        session.stop()
        await session.wait()
        assert second.status == "stopped"
        assert second.can_continue
        session.start([second])

    in_session(script)
    assert second.status == "done"
    assert "Not started" not in second.message


@pytest.mark.slow
def test_a_stopped_run_that_waits_and_is_dropped_can_still_go_on(straight):
    run, other = Run(plan()), Run(plan(steps=100_000))
    go_on(run, 4)
    said = run.message

    async def script(session):
        session.start([other])
        session.start([run])
        await until(lambda: len(other.history) > 0)
        session.stop()

    in_session(script)
    assert (run.status, run.message, run.can_continue) == ("stopped", said, True)
    assert_same(run_to_end(run, progress=False), straight)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_what_is_over_does_not_go_on():
    done = run_to_end(Run(plan()), progress=False)
    failed = dw.train(dw.Settings("SGD", lr=1e20), task="swiss_roll", steps=50, progress=False)
    for run in (done, failed):
        assert not run.can_continue
        assert run.kept is None
        with pytest.raises(ValueError, match=f"is {run.status} and cannot go on"):
            drive(run)

    async def script(session):
        fresh = Run(plan())
        with pytest.raises(ValueError, match="is done and cannot go on"):
            session.start([fresh, done])
        assert fresh.status == "waiting"
        assert not session.busy
        with pytest.raises(ValueError, match="waiting already"):
            session.start([fresh, fresh])
        session.start([fresh])
        with pytest.raises(ValueError, match="waiting already"):
            session.start([fresh])

    in_session(script)


def test_stopping_after_the_last_step_is_being_done():
    run = Run(plan())
    go_on(run, STEPS)
    assert (run.status, len(run.history), run.kept) == ("done", STEPS, None)
    assert "Stopped" not in run.message


def test_a_pickled_run_leaves_its_model_behind():
    run = Run(plan())
    go_on(run, 4)
    copy = pickle.loads(pickle.dumps(run))
    assert run.can_continue
    assert not copy.can_continue
    assert copy.history.column("loss").tolist() == run.history.column("loss").tolist()
    assert "Training" not in repr(run)


@pytest.mark.slow
def test_a_step_broken_off_in_the_middle_cannot_go_on(monkeypatch):
    original = torch.optim.AdamW.step
    calls = []

    def step(self, *args, **kwargs):
        calls.append(1)
        result = original(self, *args, **kwargs)
        if len(calls) == 5:
            raise KeyboardInterrupt  # the weights have moved, the schedule has not
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run = run_to_end(Run(plan()), progress=False)
    assert (run.status, len(run.history), run.can_continue) == ("stopped", 4, False)


def test_a_loss_that_is_not_finite_is_noticed_when_it_is_stopped_too(monkeypatch):
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 1e9)  # nothing is looked at before the stop
    run = Run(RunPlan(dw.Settings("SGD", lr=1e20), task="swiss_roll", steps=50))
    go_on(run, 10)
    assert (run.status, run.can_continue) == ("failed", False)
    assert "the loss was no longer a finite number" in run.message
