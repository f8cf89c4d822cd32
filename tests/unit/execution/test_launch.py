"""`dw.launch`: one training in several processes gives the run that one process gives, live, and leaves none behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from own_tasks import FAILING, GATE, GATED, KILLED_LATER, LEAVING, NOTHING
from running import PATIENCE

import diffopt_widgets as dw
from diffopt_widgets.execution import ranks
from diffopt_widgets.execution.launch import ProcessesDiffer
from diffopt_widgets.execution.outcome import RunFailed

STEPS = 30
SHORT = {"steps": STEPS, "device": "cpu", "progress": False}


def launch(settings, task="swiss_roll", **options):
    return dw.launch(settings, task, **{"processes": 2, **SHORT, **options})


def processes():
    """The processes of a launch: torchrun's launcher and those that train."""
    return [one for one in psutil.Process().children(recursive=True) if ranks.__name__ in command(one)]


def command(process):
    try:
        return process.cmdline()
    except psutil.Error:  # it has ended
        return []


class Watching(dw.LivePlot):
    """A plot that notes how many rows it had each time it was drawn, and does something in the middle of the run."""

    def __init__(self, middle=lambda: None):
        super().__init__()
        self.rows, self.middle = [], middle

    def refresh(self, *, final=False):
        super().refresh(final=final)
        if (curves := self.curves()) and not final:
            self.rows.append(len(curves[0].history))
            if self.rows[-1] > 3:
                self.middle, middle = lambda: None, self.middle
                middle()


def assert_close(run, alone, *names, rtol=1e-4):
    assert run.status == alone.status == "done", run.message
    assert run.history.names() == alone.history.names()
    for name in names:
        np.testing.assert_allclose(run.history.column(name), alone.history.column(name), rtol=rtol, err_msg=name)
    np.testing.assert_allclose([run.eval_before, run.eval_after], [alone.eval_before, alone.eval_after], rtol=rtol)


@pytest.mark.slow
def test_two_processes_give_the_run_of_one_live(tmp_path, monkeypatch):
    listening, gate = [], tmp_path / "open"
    monkeypatch.setenv(GATE, str(gate))

    def look():
        gate.touch()  # whatever is seen, so that the run ends
        assert len(processes()) == 3
        found = [one for process in processes() for one in process.net_connections("inet")]
        listening.extend(one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN)

    options = {"batch_size": 31, "accumulation": 2, "grad_norm": True}  # which two cannot halve
    plot, settings = Watching(look), dw.Settings("ADAMW", lr=1e-3, schedule="COSINE")
    run = launch(settings, GATED, plot=plot, store=tmp_path / "runs.sqlite", **options)
    assert not processes()
    alone = dw.train(settings, GATED, **SHORT, **options)
    assert_close(run, alone, "loss", "lr", "applied_lr", "grad_norm")
    np.testing.assert_allclose(run.samples_after.values, alone.samples_after.values, atol=1e-3)
    assert 0.45 * alone.state_bytes < run.state_bytes < 0.6 * alone.state_bytes
    assert run.trained_with["machine"].endswith("in 2 processes")
    assert any(3 < rows < STEPS for rows in plot.rows), "drawn while it trained"
    assert plot.curves()[0].history is run.history
    assert set(listening) == {"127.0.0.1"}
    (stored,) = dw.RunStore(tmp_path / "runs.sqlite").list()
    assert (stored.id, stored.status) == (run.key, "done")


@pytest.mark.slow
def test_evaluations_on_the_way_leave_the_trained_weights():
    alone = dw.train("SCHEDULE_FREE_ADAMW", "swiss_roll", **SHORT | {"steps": 100})  # evaluates with others
    run = launch("SCHEDULE_FREE_ADAMW", steps=100)
    assert_close(run, alone, "loss")
    evaluated = [np.flatnonzero(np.isfinite(each.history.column("eval_loss"))) for each in (run, alone)]
    assert [each.tolist() for each in evaluated] == [[49, 99]] * 2


@pytest.mark.slow
def test_prodigy_needs_its_option_and_says_so():
    alone = dw.train("PRODIGY", "swiss_roll", **SHORT)
    run = launch(dw.Settings("PRODIGY", fsdp_in_use=True))
    assert_close(run, alone, "d", "loss", rtol=1e-3)
    assert "drifted" not in run.message
    with pytest.warns(ProcessesDiffer, match="Turn FSDP in use on"):
        run = launch("PRODIGY", "digits")  # whose last layer has weights of four dimensions, and a bias of one element
    assert "Its processes drifted apart: d ended at" in run.message


@pytest.mark.slow
def test_a_task_of_ones_own_is_trained_in_full_by_each_process_also_if_one_ends_when_the_run_has():
    assert_close(launch("ADAMW", LEAVING), dw.train("ADAMW", LEAVING, **SHORT), "loss")
    assert not processes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "words"),
    [
        (FAILING, "Process 2 of 2 failed: ValueError: out of ideas"),
        (KILLED_LATER, "Process 2 of 2 was ended by SIGKILL. Memory may be short: try fewer processes"),
    ],
    ids=["an error", "a kill"],
)
def test_a_process_that_fails_ends_the_run_in_words(task, words):
    with pytest.warns(RunFailed, match=words):
        run = launch("ADAMW", task)
    assert (run.status, run.message) == ("failed", f"{words}. 4 of 30 steps are recorded")
    assert run.history.step.tolist() == [1, 2, 3, 4]
    assert ("out of ideas" in run.trace) == (task is FAILING)
    assert not processes()


@pytest.mark.slow
def test_what_fails_in_the_first_process_is_told_as_by_train():
    with pytest.warns(RunFailed):
        run = launch(dw.Settings("SGD", lr=1e6))
    with pytest.warns(RunFailed):
        alone = dw.train(dw.Settings("SGD", lr=1e6), "swiss_roll", **SHORT)
    assert (run.status, run.message, run.fix) == ("failed", alone.message, alone.fix)


@pytest.mark.slow
def test_a_run_that_fails_before_it_is_set_up_has_no_machine():
    with pytest.warns(RunFailed, match="build must return an object"):
        run = launch("ADAMW", NOTHING)
    assert (run.status, run.trained_with) == ("failed", {})


def test_processes_of_another_version_say_so(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"is installed, and this program has loaded version 0\.0\.7\. Start it again"
    ):
        ranks._train(tmp_path, "0.0.7", None, 0, 2)


def test_of_processes_that_failed_in_the_same_second_the_cause_is_told():
    def failed(code, second):
        return SimpleNamespace(exitcode=code, timestamp=second)

    ended = {0: failed(1, 8), 1: failed(-signal.SIGTERM, 7), 2: failed(-9, 7)}
    assert ranks._first(ended)[0] == 2
    assert ranks._first({**ended, 2: failed(1, 7)})[0] == 2


@pytest.mark.slow
def test_ctrl_c_stops_the_run_and_ends_all_processes():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    try:
        run = launch("ADAMW", plot=Watching(lambda: signal.raise_signal(signal.SIGINT)), steps=100_000)
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.status == "stopped"
    assert 3 < len(run.history) < 100_000
    assert run.eval_after is not None
    assert not run.can_continue
    assert not processes()


@pytest.mark.slow
def test_no_process_outlives_a_program_that_is_killed():
    code = "import diffopt_widgets as dw; dw.launch('ADAMW', 'swiss_roll', 10**6, device='cpu', progress=False)"
    program = subprocess.Popen([sys.executable, "-c", code])
    started, until = [], time.monotonic() + PATIENCE
    while len(started) < 3 and time.monotonic() < until:
        started = psutil.Process(program.pid).children(recursive=True)
    program.kill()
    program.wait()
    assert len(started) == 3
    _, alive = psutil.wait_procs(started, timeout=PATIENCE)
    assert not alive


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"processes": 0}, "processes = 0: must be a whole number, at least 1"),
        ({"processes": True}, "processes = true: must be a whole number"),
        ({"processes": "two"}, 'processes = "?two"?: must be a whole number'),
        ({"processes": 2.0}, "processes = 2: must be a whole number"),
        ({"processes": 5, "batch_size": 4}, "a batch has 4 examples. Choose at most 4, or a larger batch_size"),
        ({"processes": 4096, "batch_size": 5000}, "there (is|are) .* cores? here"),
        ({"plot": "here"}, "a plot is wanted, and this is a str"),
        ({"plot": dw.LivePlot}, "a plot is wanted"),
        ({"steps": 0}, "steps = 0"),
        ({"progress": 1}, "True or False is wanted"),
    ],
)
def test_wrong_arguments_are_answered_before_anything_starts(given, words, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(dw.SettingsError, match=words):
        launch("ADAMW", **given)


@pytest.mark.parametrize(
    ("here", "words"),
    [(False, "there is no device 'mps' here"), (True, r'FSDP cannot divide weights on mps\. Write device="cpu"')],
)
def test_a_device_that_fsdp_does_not_know_is_refused(here, words, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: here)
    with pytest.raises(dw.SettingsError, match=words):
        launch("ADAMW", device="mps")


def test_an_unknown_task_and_one_that_cannot_travel_are_answered_too():
    with pytest.raises(KeyError, match="there is no task 'chess'"):
        launch("ADAMW", "chess")
    local = dw.Task(key="local", title="", summary="", build=lambda *_: None)
    with pytest.raises(dw.SettingsError, match=r"cannot be sent .*Write its build as a function of a module"):
        launch("ADAMW", local)
    here = compile("def build(*_): ...", "a cell", "exec")
    names = {"__name__": "__main__"}
    exec(here, names)  # noqa: S102  # as a cell of a notebook does
    with pytest.raises(
        dw.SettingsError, match=r"its build, which is defined in this notebook or script\. Write its build"
    ):
        launch("ADAMW", dw.Task(key="mine", title="", summary="", build=names["build"]))


def test_gradients_that_are_freed_in_the_backward_pass_are_refused():
    with pytest.raises(dw.SettingsError, match=r"fused_back_pass = true: dw\.launch steps when the backward"):
        launch(dw.Settings("ADAMW", fused_back_pass=True))


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        dw.SettingsError, match=r'each process takes a GPU, and there is 1 GPU here. Or write device="cpu"'
    ):
        launch("ADAMW", device="cuda")


def test_a_torch_without_what_it_takes_is_named(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_gloo_available", lambda: False)
    with pytest.raises(dw.SettingsError, match="this build of torch has no gloo"):
        launch("ADAMW")
    monkeypatch.undo()
    monkeypatch.delattr("torch.distributed.fsdp.fully_shard")
    with pytest.raises(
        dw.SettingsError, match=r"has no fully_shard \(FSDP2\), which came with version 2.6. Use dw.train, or"
    ):
        launch("ADAMW")
