"""Ctrl-C in `dw.train` and `dw.sweep`: it takes effect after the step, so that the run can go on, and it ends a loop."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from running import assert_same

import diffopt_widgets as dw

STEPS = 6


@pytest.fixture(autouse=True)
def _handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def press(monkeypatch):
    """Presses Ctrl-C in the middle of chosen steps, once the weights have moved, so many times."""
    original, presses, calls = torch.optim.AdamW.step, {}, []

    def step(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        calls.append(1)
        for _ in range(presses.get(len(calls), 0)):
            signal.raise_signal(signal.SIGINT)
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    return presses


def train(**options):
    return dw.train(dw.Settings("ADAMW", schedule="COSINE"), "swiss_roll", STEPS, **{"progress": False, **options})


@pytest.mark.slow
def test_the_step_is_finished_and_the_run_goes_on_as_if_it_had_not_been_stopped(press, capsys):
    press[3] = 1
    run = train(progress=True)
    assert (run.status, len(run.history), run.can_continue) == ("stopped", 3, True)
    assert "stopped after 3 of 6 steps; dw.resume(run) goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same(dw.resume(run, progress=False), train())


def test_a_second_one_does_not_wait_for_the_step(press, capsys):
    press[3] = 2
    run = train(progress=True)
    assert (run.status, len(run.history), run.can_continue) == ("stopped", 2, False)
    assert "it cannot go on" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("at", [3, STEPS], ids=["within", "last step"])
def test_it_ends_a_loop_and_the_run_is_there(press, at):
    press[at] = 1
    runs = []

    def loop():
        for _ in range(3):
            runs.append(train())  # noqa: PERF401  # the loop that a user writes

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert [len(run.history) for run in runs] == [at]
    assert train().status == "done"


def test_it_ends_a_sweep_whose_other_runs_can_be_trained_later(press):
    press[3] = 1
    runs = dw.sweep(dw.Settings("ADAMW"), {"lr": [1e-3, 1e-2]}, "swiss_roll", STEPS, progress=False)
    assert sum(len(run.history) for run in runs) == 3
    assert [(run.status, run.can_continue) for run in runs] == [("stopped", True)] * 2


def test_a_sweep_with_an_executor_returns_its_runs_too(press):
    press[3] = 1
    with ThreadPoolExecutor(1) as executor:
        stopped, waiting = dw.sweep(
            dw.Settings("ADAMW"), {"lr": [1e-3, 1e-2]}, "swiss_roll", 100_000, progress=False, executor=executor
        )
    assert stopped.status == waiting.status == "stopped"
    assert 3 <= len(stopped.history) < 100_000
    assert len(waiting.history) == 0
    assert stopped.can_continue
    assert waiting.can_continue
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


_SCRIPT = """
import signal, sys
from concurrent.futures import ProcessPoolExecutor
import diffopt_widgets as dw
from diffopt_widgets.execution.driver import drive
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ProcessPoolExecutor(2) as executor:
        over = {"steps": [200_000, 2, 200_001]}
        runs = dw.sweep("ADAMW", over, "swiss_roll", executor=executor, store=sys.argv[1], progress=False)
    long, short, waiting = runs
    print(long.status, short.status, waiting.status)
    print(0 < len(long.history) < 200_000, long.can_continue, waiting.can_continue)
    steps = drive(long)
    next(steps)
    print(long.status)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C of a terminal reaches a group of processes only on Unix")
def test_a_sweep_in_processes_returns_runs_that_can_go_on(tmp_path):
    script, path = tmp_path / "script.py", tmp_path / "runs.sqlite"
    script.write_text(_SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, path], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    store = dw.RunStore(path)
    while process.poll() is None and sum(run.steps > 1 for run in store.list()) < 3:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert out.splitlines() == ["stopped done stopped", "True True True", "running"]


def test_a_handler_of_the_users_own_is_called(press):
    calls = []
    signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    press[3] = 1
    assert len(train().history) == 3
    assert calls == [1]
