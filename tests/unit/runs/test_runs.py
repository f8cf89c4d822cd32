"""Runs and the session: start, pause, stop, divergence and errors; what was recorded stays."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch
from running import assert_same, until

import diffopt_widgets as dw
from diffopt_widgets.execution import driver, rounds
from diffopt_widgets.execution import session as session_module
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.execution.session import Session
from diffopt_widgets.records import StepRecord
from diffopt_widgets.runs.run import Run
from diffopt_widgets.runs.space import vary
from diffopt_widgets.settings.plan import RunPlan
from diffopt_widgets.settings.variations import name_by_difference


def plan(steps=40, **options):
    return RunPlan(dw.Settings("ADAMW", lr=1e-3, **options), task="swiss_roll", steps=steps)


def in_session(script):
    """Run `script(session, seen)` on an event loop; `seen` collects (status, steps so far)."""

    async def main():
        seen = []
        session = Session(lambda run: seen.append((run.status, len(run.history))))
        await script(session, seen)
        return seen

    return asyncio.run(main())


WAYS = {
    "waiting": (),
    "running": ("begin",),
    "paused": ("begin", "pause"),
    "stopped": ("begin", "stop"),
    "done": ("begin", "finish"),
    "failed": ("begin", "fail"),
}
STEPS = {
    "queue": lambda run: run.queue(),
    "begin": lambda run: run.begin(),
    "pause": lambda run: run.pause(),
    "unpause": lambda run: run.unpause(),
    "stop": lambda run: run.end("stopped"),
    "finish": lambda run: run.end("done"),
    "fail": lambda run: run.fail("it broke", "a traceback"),
}
ALLOWED = {
    "waiting": {"queue", "begin", "stop", "fail"},
    "running": {"pause", "stop", "finish", "fail"},
    "paused": {"unpause", "stop", "finish", "fail"},
    "stopped": {"stop", "fail"},  # after a step, and with nothing kept to go on with
    "done": {"fail"},
    "failed": {"fail"},
}


@pytest.mark.parametrize("status", WAYS)
def test_what_may_follow_each_status(status):
    for name, change in STEPS.items():
        run = Run(plan(), "one")
        run.set_up("cpu", ["all"])
        run.record([StepRecord(1, 0.1, 1.0, (1.0,), (1.0,))])
        for way in WAYS[status]:
            STEPS[way](run)
        assert run.status == status
        if name in ALLOWED[status]:
            change(run)
        else:
            with pytest.raises(RuntimeError, match=f"one is {status} and cannot become "):
                change(run)
            assert run.status == status


def test_a_run_changes_by_its_methods_alone():
    run = Run(plan())
    for field in fields(run):
        with pytest.raises(FrozenInstanceError):
            setattr(run, field.name, None)
    run.rename("mine")
    assert run.name == "mine"


def test_what_is_recorded_twice_is_kept_once():
    run = Run(plan())
    run.set_up("cpu", ["all"])
    records = [StepRecord(step, 0.1 * step, 1.0 / step, (1.0,), (1.0,)) for step in (1, 2, 3)]
    run.record(records[:2])
    run.record(records)
    assert run.history.step.tolist() == [1, 2, 3]


@pytest.mark.slow
def test_runs_are_carried_out_to_their_ends():
    runs = [Run(plan()), Run(plan())]

    async def script(session, seen):
        session.start(runs)
        await session.wait()

    seen = in_session(script)
    assert [run.status for run in runs] == ["done", "done"]
    assert [len(run.history) for run in runs] == [40, 40]
    assert seen[-1] == ("done", 40)


@pytest.mark.slow
def test_pause_holds_and_resume_goes_on_as_if_nothing_had_been(monkeypatch):
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 0)  # after each step it is told,
    monkeypatch.setattr(session_module, "SLICE_SECONDS", 0)  # and the loop asked whether to pause
    run, straight = Run(plan(120)), dw.train(plan().settings, task="swiss_roll", steps=120, progress=False)

    async def script(session, seen):
        session.start([run])
        await until(lambda: len(run.history) > 5)
        session.pause()
        await until(lambda: run.status == "paused")
        held = len(run.history)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(run.history) == held
        session.resume()
        await session.wait()

    in_session(script)
    assert run.status == "done"
    assert run.history.column("loss").tolist() == straight.history.column("loss").tolist()


@pytest.mark.slow
def test_stop_keeps_what_was_recorded_and_drops_what_waits():
    first, second = Run(plan(100_000)), Run(plan())

    async def script(session, seen):
        session.start([first])
        session.start([second])
        await until(lambda: len(first.history) > 5)
        session.stop()
        await session.wait()
        assert not session.busy

    in_session(script)
    assert (first.status, second.status) == ("stopped", "stopped")
    assert 5 < len(first.history) < 100_000
    assert first.history.step.tolist() == list(range(1, len(first.history) + 1))
    assert first.message.startswith("Stopped after")
    assert "Not started" in second.message


@pytest.mark.slow
@pytest.mark.parametrize("paused", [False, True])
def test_the_end_of_the_stopped_run_is_told_after_those_that_were_dropped(paused):
    first, *rest = [Run(plan(100_000)), Run(plan()), Run(plan())]
    told = []

    async def main():
        session = Session(lambda run: told.append((run, run.status, session.training)))
        session.start([first])
        session.start(rest)
        await until(lambda: len(first.history) > 5)
        if paused:
            session.pause()
            await until(lambda: first.status == "paused")
        told.clear()
        session.stop()
        await session.wait()

    asyncio.run(main())
    assert told[-1] == (first, "stopped", [])
    assert [one for one in told if one[0] is not first] == [(run, "stopped", [first]) for run in rest]


def test_runs_that_are_dropped_before_any_has_begun_are_told_too():
    told = []

    async def main():
        session = Session(lambda run: told.append(run.message))
        session.start([Run(plan()), Run(plan())])
        session.stop()
        await until(lambda: len(told) == 2)

    asyncio.run(main())
    assert told == ["Not started: stopped before its turn"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0.0, 0.1])
def test_runs_started_together_train_side_by_side_with_the_numbers_that_they_have_alone(monkeypatch, turn):
    monkeypatch.setattr(rounds, "TURN_SECONDS", turn)
    monkeypatch.setattr(session_module, "SLICE_SECONDS", 0)
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 0)
    runs = [Run(plan(6)), Run(RunPlan(dw.Settings("PRODIGY"), task="swiss_roll", steps=6)), Run(plan(6, beta1=0.5))]
    later = Run(plan(2))
    seen = []

    async def main():
        session = Session(lambda _: seen.append([run.status for run in (*runs, later)]))
        session.start(runs)
        session.start([later])
        await session.wait()

    asyncio.run(main())
    if not turn:
        assert ["running", "running", "running", "waiting"] in seen
    assert seen[-1] == ["done"] * 4
    assert not any("running" in at_once[:3] and at_once[3] == "running" for at_once in seen)
    for run in runs:
        assert_same(run, dw.train(run.settings, "swiss_roll", 6, progress=False))


@pytest.mark.slow
@pytest.mark.parametrize("paused", [False, True])
def test_one_run_is_stopped_alone_and_can_go_on_beside_the_others(paused):
    _, second, _ = runs = [Run(plan(100_000)) for _ in range(3)]
    later = Run(plan())

    async def script(session, seen):
        session.start(runs)
        session.start([later])
        await until(lambda: all(len(run.history) for run in runs))
        if paused:
            session.pause()
            await until(lambda: {run.status for run in runs} == {"paused"})
        session.stop_run(second)
        session.stop_run(later)
        assert later.status == "stopped"  # at once
        await until(lambda: second.ended)
        others = "paused" if paused else "running"
        assert [run.status for run in runs] == [others, "stopped", others]
        with pytest.raises(ValueError, match="not in progress here"):
            session.stop_run(second)
        taken = len(second.history)
        session.resume()
        session.start([second])
        await until(lambda: len(second.history) > taken)
        assert {run.status for run in runs} == {"running"}
        session.stop()
        await session.wait()

    in_session(script)
    assert [run.status for run in runs] == ["stopped"] * 3
    assert second.history.step.tolist() == list(range(1, len(second.history) + 1))


@pytest.mark.slow
def test_a_run_that_breaks_the_session_itself_leaves_the_others(monkeypatch, caplog):
    broken, other = Run(plan(3)), Run(plan(3))
    original = Run.begin
    monkeypatch.setattr(Run, "begin", lambda run: 1 / 0 if run is broken else original(run))

    async def script(session, seen):
        session.start([broken, other])
        await session.wait()

    in_session(script)
    assert (broken.status, broken.message, other.status) == ("failed", "The bench itself failed", "done")
    assert "failed" in caplog.text


@pytest.mark.slow
def test_stop_ends_a_paused_run():
    run = Run(plan(100_000))

    async def script(session, seen):
        session.start([run])
        await until(lambda: len(run.history) > 0)
        session.pause()
        await until(lambda: run.status == "paused")
        session.stop()
        await session.wait()

    in_session(script)
    assert run.status == "stopped"


@pytest.mark.slow
def test_a_new_run_can_start_after_a_stop():
    first, second = Run(plan(100_000)), Run(plan())

    async def script(session, seen):
        session.start([first])
        await until(lambda: len(first.history) > 0)
        session.stop()
        await session.wait()
        session.start([second])
        await until(lambda: second.ended)

    in_session(script)
    assert second.status == "done"


@pytest.mark.slow
def test_stop_means_the_runs_that_were_there_and_no_later_one():
    first, second, third = Run(plan(100_000)), Run(plan()), Run(plan())

    async def script(session, seen):
        session.start([first])
        session.stop()  # before it has begun
        session.start([second])
        await session.wait()
        session.pause()  # nothing to pause
        session.start([third])
        await session.wait()

    in_session(script)
    assert [run.status for run in (first, second, third)] == ["stopped", "done", "done"]


@pytest.mark.slow
def test_a_run_asked_for_right_after_stop_is_carried_out():
    first, second = Run(plan(100_000)), Run(plan())

    async def script(session, seen):
        session.start([first])
        await until(lambda: len(first.history) > 0)
        session.stop()
        session.start([second])
        await session.wait()

    in_session(script)
    assert (first.status, second.status) == ("stopped", "done")


@pytest.mark.slow
def test_an_evaluation_that_fails_is_told_and_the_next_run_has_its_turn(monkeypatch):
    from diffopt_widgets.training.loop import Training

    original = Training.evaluate
    calls = []

    def evaluate(self):
        calls.append(1)
        if len(calls) == 2:  # at the end of the first run
            raise RuntimeError("out of memory")
        return original(self)

    monkeypatch.setattr(Training, "evaluate", evaluate)
    first, second = Run(plan()), Run(plan())

    async def script(session, seen):
        session.start([first])
        session.start([second])  # which waits for it
        await session.wait()

    in_session(script)
    assert (first.status, second.status) == ("failed", "done")
    assert "out of memory" in first.message
    assert len(first.history) == 40


@pytest.mark.slow
def test_waiting_for_the_device_counts_as_training_time(monkeypatch):
    from diffopt_widgets.training import loop

    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 0)  # it waits after each step
    original = loop.fetch
    waits = []

    def slow(records):
        began = time.perf_counter()
        while time.perf_counter() - began < 0.03:
            pass
        waits.append(time.perf_counter() - began)
        return original(records)

    monkeypatch.setattr(loop, "fetch", slow)
    run = dw.train(plan().settings, task="swiss_roll", steps=12, progress=False)
    known = waits[:-2]  # the last records were taken before the last waits
    assert known
    assert run.seconds > sum(known)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (dw.Settings("SGD", lr=0.2), "learning rate 0.02"),
        (dw.Settings("PRODIGY", d_coef=2.0), "half of d_coef (1)"),
        (dw.Settings("DADAPT_SGD", lr=0.9), "third of the learning rate (0.3)"),
        (dw.preset("ADAFACTOR", "adaptive"), "turn relative_step off"),
    ],
)
def test_the_advice_after_a_divergence_fits_the_optimizer(settings, advice, monkeypatch):
    from diffopt_widgets.tasks.diffusion import Denoising

    original = Denoising.loss
    monkeypatch.setattr(Denoising, "loss", lambda self, *args: original(self, *args) * float("nan"))
    run = dw.train(settings, task="swiss_roll", steps=3, progress=False)
    assert run.status == "failed"
    assert advice in run.message


@pytest.mark.slow
def test_the_event_loop_answers_while_it_trains():
    run = Run(plan(300))
    ticks = []

    async def script(session, seen):
        session.start([run])
        while not run.ended:
            ticks.append(len(run.history))
            await asyncio.sleep(0)

    in_session(script)
    assert len(ticks) > 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_a_loss_that_is_not_finite_ends_the_run_with_advice_and_keeps_its_history():
    run = dw.train(dw.Settings("SGD", lr=1e20), task="swiss_roll", steps=200, progress=False)
    assert run.status == "failed"
    assert "rate is far too high: try a learning rate of 0.03" in run.message
    assert "the loss was no longer a finite number" in run.message
    assert 0 < len(run.history) <= 200


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
@pytest.mark.parametrize("looks", [0.0, 1e9], ids=["at every step", "once at the end"])
def test_a_history_ends_with_the_loss_that_broke_it_however_late_it_was_noticed(looks, monkeypatch):
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", looks)
    run = dw.train(dw.Settings("SGD", lr=1e20), task="swiss_roll", steps=40, progress=False)
    finite = np.isfinite(run.history.column("loss"))
    assert finite[:-1].all()
    assert not finite[-1]
    assert run.message.startswith(f"Failed at step {len(run.history)} of 40: the loss was no longer a finite number. ")
    assert run.best_loss == run.history.column("loss")[:-1].min()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_what_an_optimizer_raises_after_a_broken_loss_is_not_taken_for_the_cause(monkeypatch):
    monkeypatch.setattr(driver, "PUBLISH_SECONDS", 1e9)
    original, calls = torch.optim.SGD.step, []

    def step(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > 20:
            raise RuntimeError("the weights are no numbers")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    run = dw.train(dw.Settings("SGD", lr=1e20), task="swiss_roll", steps=23, progress=False)
    assert run.status == "failed"
    assert len(run.history) < 20
    assert run.message.startswith(f"Failed at step {len(run.history)} of 23: ")
    assert "RuntimeError" in run.trace


@pytest.mark.slow
def test_an_exception_inside_the_optimizer_ends_the_run_and_keeps_its_history(monkeypatch):
    original = torch.optim.AdamW.step
    calls = []

    def step(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > 7:
            raise RuntimeError("the kernel has no image for this device")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run = Run(plan())

    async def script(session, seen):
        session.start([run])
        await session.wait()

    in_session(script)
    assert run.status == "failed"
    assert "RuntimeError after 7 steps: the kernel has no image" in run.message
    assert "Traceback" in run.trace
    assert len(run.history) == 7


@pytest.mark.slow
def test_a_display_that_fails_does_not_end_the_training():
    run = Run(plan())

    async def main():
        def broken(_):
            raise ValueError("no page")

        session = Session(broken)
        session.start([run])
        await session.wait()

    asyncio.run(main())
    assert run.status == "done"


@pytest.mark.slow
def test_keyboard_interrupt_stops_train_and_keeps_the_history(monkeypatch):
    original = torch.optim.AdamW.step
    calls = []

    def step(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run = dw.train(dw.Settings("ADAMW"), task="swiss_roll", steps=50, progress=False)
    assert (run.status, len(run.history)) == ("stopped", 4)


def test_a_session_needs_an_event_loop():
    with pytest.raises(RuntimeError, match="use train"):
        Session(lambda run: None)


@pytest.mark.slow
def test_what_a_back_end_prints_or_logs_is_kept_with_the_run(capsys):
    settings = dw.Settings("DADAPT_ADAM", log_every=1, decouple=True, weight_decay=0.01)
    run = dw.train(settings, task="swiss_roll", steps=3, progress=False)
    assert run.status == "done", run.trace
    assert "d_hat" in run.output
    assert "d_hat" not in capsys.readouterr().out


@pytest.mark.slow
def test_closing_the_generator_stops_the_run():
    run = Run(plan(100))
    steps = drive(run)
    for _ in range(6):
        next(steps)
    steps.close()
    assert run.status == "stopped"
    assert len(run.history) == 5


@pytest.mark.slow
def test_a_sweep_gives_every_combination_named_by_what_differs():
    runs = dw.sweep(
        dw.Settings("PRODIGY"), {"d_coef": [0.5, 2.0], "beta1": [0.8, 0.9]}, task="swiss_roll", steps=2, progress=False
    )
    assert [run.name for run in runs] == [
        "PRODIGY · d_coef 0.5, beta1 0.8",
        "PRODIGY · d_coef 0.5, beta1 0.9",
        "PRODIGY · d_coef 2, beta1 0.8",
        "PRODIGY · d_coef 2, beta1 0.9",
    ]


def test_a_sweep_with_a_wrong_value_trains_nothing():
    with pytest.raises(dw.SettingsError, match="d_coef"):
        dw.sweep(dw.Settings("PRODIGY"), {"d_coef": [0.5, -1.0]}, task="swiss_roll", steps=2, progress=False)


@pytest.mark.slow
def test_a_sweep_in_processes_gives_the_same_runs():
    over = {"lr": [1e-3, 1e-2]}
    here = dw.sweep(dw.Settings("ADAMW"), over, task="swiss_roll", steps=5, progress=False)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        there = dw.sweep(dw.Settings("ADAMW"), over, task="swiss_roll", steps=5, executor=executor, progress=False)
    for a, b in zip(here, there, strict=True):
        assert a.history.column("loss").tolist() == b.history.column("loss").tolist()
        assert (a.name, b.status) == (b.name, "done")


_SWEEP = """
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
import torch
import diffopt_widgets as dw
def sweep():
    torch.set_num_threads(2)
    torch.rand(10**6).square().exp().sum()
    dw.train(dw.Settings("ADAMW"), "digits", 2, progress=False)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as executor:
        return dw.sweep(dw.Settings("ADAMW"), {"lr": [1e-3, 1e-2]}, "digits", 2, executor=executor, progress=False)
"""


def _script(tmp_path, end):
    path = tmp_path / "script.py"
    path.write_text(_SWEEP + end)
    return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only some systems fork")
def test_a_sweep_in_processes_after_a_training_with_threads_comes_to_its_end(tmp_path):
    done = _script(tmp_path, 'if __name__ == "__main__":\n    print([run.status for run in sweep()])')
    assert done.stdout == "['done', 'done']\n", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only some systems fork")
def test_a_script_whose_processes_cannot_import_it_says_what_to_write(tmp_path):
    done = _script(tmp_path, "sweep()")
    assert 'put the sweep below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_run_can_be_pickled_and_made_into_a_frame():
    run = dw.train(dw.Settings("PRODIGY"), task="swiss_roll", steps=3, progress=False)
    copy = pickle.loads(pickle.dumps(run))
    frame = copy.to_frame()
    assert list(frame.index) == [1, 2, 3]
    assert {"loss", "d", "applied_lr[unet]"} <= set(frame.columns)


def test_names_say_what_differs():
    plans = [plan(), plan(weight_decay=0.5), RunPlan(dw.Settings("SGD"), task="swiss_roll", steps=40)]
    assert name_by_difference(plans[:2]) == ["ADAMW · weight_decay 0.01", "ADAMW · weight_decay 0.5"]
    assert name_by_difference(plans) == ["ADAMW · weight_decay 0.01", "ADAMW · weight_decay 0.5", "SGD"]


def test_the_optimizer_itself_can_be_varied_and_keeps_what_means_the_same():
    base = RunPlan(dw.Settings("ADAMW", lr=4e-3, schedule="COSINE", weight_decay=0.5, foreach=True), task="swiss_roll")
    adamw, adamw_8bit, prodigy, sgd = (
        p.settings for p in vary(base, {"optimizer": ("ADAMW", "ADAMW_8BIT", "PRODIGY", "SGD")})
    )
    assert adamw == base.settings
    assert adamw_8bit == dw.Settings("ADAMW_8BIT", lr=4e-3, schedule="COSINE", weight_decay=0.5)
    assert prodigy == dw.Settings("PRODIGY", schedule="COSINE", weight_decay=0.5)  # its rate is a factor on d
    assert sgd == dw.Settings("SGD", lr=4e-3, schedule="COSINE", weight_decay=0.5, foreach=True)
    back = RunPlan(dw.Settings("PRODIGY", lr=0.7))
    assert [p.settings.lr for p in vary(back, {"optimizer": ("DADAPT_ADAM", "ADAMW")})] == [0.7, 1e-3]


def test_what_is_varied_beside_the_optimizer_wins_and_must_exist():
    base = RunPlan(dw.Settings("ADAMW", lr=4e-3))
    both = vary(base, {"optimizer": ("SGD", "ADAMW"), "lr": (0.1, 0.2), "seed": (3,)})
    assert [(p.settings.optimizer, p.settings.lr, p.seed) for p in both] == [
        ("SGD", 0.1, 3),
        ("SGD", 0.2, 3),
        ("ADAMW", 0.1, 3),
        ("ADAMW", 0.2, 3),
    ]
    with pytest.raises(dw.SettingsError, match="d_coef"):
        vary(base, {"optimizer": ("LION", "ADAMW"), "d_coef": (0.5,)})
    with pytest.raises(dw.SettingsError, match="no such optimizer"):
        vary(base, {"optimizer": ("ADAMX",)})


def test_runs_of_several_optimizers_are_named_by_what_is_not_the_same_in_all():
    base = RunPlan(dw.Settings("ADAMW", lr=4e-3, schedule="COSINE"))
    over = {"optimizer": ("ADAMW", "ADAMW_8BIT")}
    assert name_by_difference(vary(base, over)) == ["ADAMW", "ADAMW_8BIT"]
    over = {"optimizer": ("ADAMW", "PRODIGY")}
    assert name_by_difference(vary(base, over)) == ["ADAMW · lr 0.004", "PRODIGY"]
    over = {"optimizer": ("ADAMW", "SGD"), "lr": (0.1, 0.2)}
    assert name_by_difference(vary(base, over)) == [
        "ADAMW · lr 0.1",
        "ADAMW · lr 0.2",
        "SGD · lr 0.1",
        "SGD · lr 0.2",
    ]


def test_a_run_of_another_optimizer_takes_nothing_from_a_name():
    pair = vary(RunPlan(dw.Settings("PRODIGY"), task="swiss_roll"), {"d_coef": (1.0, 0.5)})
    assert name_by_difference(pair) == ["PRODIGY · d_coef 1", "PRODIGY · d_coef 0.5"]
    assert name_by_difference([*pair, RunPlan(dw.Settings("SGD"), task="swiss_roll")]) == [
        "PRODIGY · d_coef 1",
        "PRODIGY · d_coef 0.5",
        "SGD",
    ]
    assert name_by_difference([*pair, RunPlan(dw.Settings("SGD"), steps=20)]) == [
        "PRODIGY · d_coef 1, swiss_roll, steps 300",
        "PRODIGY · d_coef 0.5, swiss_roll, steps 300",
        "SGD · digits, steps 20",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("values", [np.logspace(-4, -2, 2), (1e-4, 1e-2), (10.0**n for n in (-4, -2))])
def test_values_to_try_may_be_an_array_or_whatever_can_be_listed(values):
    runs = dw.sweep(dw.Settings("ADAMW"), {"lr": values}, "swiss_roll", 1, progress=False)
    assert [run.settings.lr for run in runs] == [1e-4, 1e-2]
