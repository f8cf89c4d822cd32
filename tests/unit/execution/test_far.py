"""Runs in other threads, processes and machines: their records come live, and a killed worker costs none of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from own_tasks import LINE

import diffopt_widgets as dw
from diffopt_widgets.execution import executors, reports
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.execution.executors import train_in_executor
from diffopt_widgets.execution.outcome import RunFailed
from diffopt_widgets.runs.space import vary

STEPS = 60
"""Steps of a run in whose middle a worker is killed."""


def runs_of(over, steps=5, task="swiss_roll"):
    return [dw.Run(plan) for plan in vary(dw.RunPlan(dw.Settings("ADAMW"), task, steps), over)]


def assert_as_alone(run):
    alone = dw.train(run.settings, run.plan.task, run.plan.steps, seed=run.plan.seed, progress=False)
    assert (run.status, run.eval_before, run.eval_after) == ("done", alone.eval_before, alone.eval_after)
    assert run.history.step.tolist() == [*range(1, run.plan.steps + 1)]
    assert run.history.names() == alone.history.names()
    for name in set(alone.history.names()) - {"seconds"}:
        np.testing.assert_array_equal(run.history.column(name), alone.history.column(name))


class Inline:
    """The least that is an executor: what is submitted is done at once. From `broken_from` on it is broken."""

    def __init__(self, broken_from=99):
        self.left = broken_from

    def submit(self, function, *arguments):
        future, self.left = Future(), self.left - 1
        if self.left < 0:
            future.set_exception(BrokenExecutor("power cut"))
            return future
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001  # as an executor does
            future.set_exception(error)
        return future


@pytest.mark.slow
@pytest.mark.parametrize("executor", [ThreadPoolExecutor(1), Inline()], ids=["threads", "a folder"])
def test_records_come_into_the_runs_that_were_given(executor, tmp_path):
    runs, seen = runs_of({"seed": [0, 1]}), []
    back = train_in_executor(
        runs, executor, tmp_path / "runs.sqlite", on_publish=lambda run: seen.append((run.key, run.status))
    )
    assert back is runs
    for run in runs:
        assert_as_alone(run)
        assert (run.key, "running") in seen
    assert [stored.status for stored in dw.RunStore(tmp_path / "runs.sqlite").list()] == ["done", "done"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "the folder of the reports is gone"


def report(run, attempt, rows, count, **changes):
    """A report with rows whose loss is their number."""
    step = np.arange(rows + 1, rows + count + 1)
    return reports.Report(run.key, attempt, ("all",), rows, step, {"loss": step.astype(float)}, changes)


def test_no_record_comes_twice_or_out_of_turn():
    (run,) = runs_of({"seed": [0]})
    run.begin()
    for part in (report(run, "a", 0, 3), report(run, "a", 0, 3), report(run, "b", 5, 2), report(run, "b", 0, 6)):
        reports.take(run, part)
    assert run.history.step.tolist() == run.history.column("loss").tolist() == [1, 2, 3, 4, 5, 6]


def test_a_worker_that_was_given_up_is_not_heard_any_more():
    (run,) = runs_of({"seed": [0]})
    place = executors._Place(Inline())
    sweep = executors._Sweep(place, "sweep", [run], lambda _: None)
    with contextlib.closing(place):
        for part in (report(run, "a", 0, 3), report(run, "b", 0, 2), report(run, "a", 3, 1, device="lost")):
            place.channel.send(part)
            sweep._hear()
    assert run.history.step.tolist() == [1, 2, 3]
    assert run.device == ""
    assert run.message == "Tried again: its process was ended after step 3"


def test_a_report_is_read_once_it_is_whole_and_once_only(tmp_path):
    (run,) = runs_of({"seed": [0]})
    channel = reports.FolderChannel(tmp_path)
    for rows in (0, 3):
        channel.send(report(run, "a", rows, 3))
    (folder,) = tmp_path.iterdir()
    (folder / ".a-000000003").write_bytes(b"half of a repo")  # its worker was killed
    assert [part.rows for part in channel.received()] == [0, 3]
    assert [*channel.received()] == []


def test_a_worker_that_does_not_see_the_folder_says_what_to_do(tmp_path):
    channel = reports.FolderChannel(tmp_path)
    channel.close()
    (run,) = runs_of({"seed": [0]})
    with pytest.raises(reports.RefusedJob, match="store in a folder that all machines share"):
        channel.send(report(run, "a", 0, 0))


def test_an_executor_that_ends_costs_nothing_of_what_was_trained():
    runs = runs_of({"seed": [0, 1]})
    with pytest.warns(RunFailed, match="ended before 1 of 2 runs did; what was trained is kept"):
        train_in_executor(runs, Inline(broken_from=1), None)
    assert_as_alone(runs[0])
    assert (runs[1].status, runs[1].message) == ("stopped", reports.NOT_STARTED)
    assert runs[1].can_continue


def test_workers_with_another_version_are_told_with_both(monkeypatch):
    original = reports.carry_out
    monkeypatch.setattr(executors, "carry_out", lambda _, job: original("9.9", job))
    with pytest.raises(RuntimeError, match=r"9\.9, and the executor's workers have version 0\.1\.0"):
        train_in_executor(runs_of({"seed": [0]}), Inline(), None)


def test_any_python_can_say_that_it_lacks_the_package():
    code = f"print([{executors._VERSION_IF_ANY}])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['']\n"
    assert eval(executors._VERSION_IF_ANY) == dw.__version__  # noqa: S307  # the workers do this


def test_what_is_no_executor_is_refused():
    for wrong in (ThreadPoolExecutor, object(), 2):
        with pytest.raises(dw.SettingsError, match="executor"):
            dw.sweep("ADAMW", {"seed": [0]}, "swiss_roll", 1, executor=wrong)


class Killer:
    """Kills a worker once it is in the middle of a run; says what there was then."""

    def __init__(self, find):
        self.find = find
        self.rows = 0

    def __call__(self, run):
        if not self.rows and 5 < len(run.history) < STEPS:
            self.rows = len(run.history)
            os.kill(self.find(), signal.SIGKILL)


def child():
    """The process of a pool of one."""
    (found,) = [one.pid for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("checkpoints", [0.0, 1e9], ids=["from its checkpoint", "from the start"])
def test_a_run_whose_process_is_killed_is_tried_again(monkeypatch, checkpoints):
    monkeypatch.setattr(executors, "CHECKPOINT_SECONDS", checkpoints)
    monkeypatch.setattr(executors, "CHECKPOINT_COST", 1.0)
    kill, messages = Killer(child), set()

    def see(run):
        messages.add(run.message)
        kill(run)

    (run,) = runs_of({"seed": [0]}, STEPS)
    train_in_executor([run], ProcessPoolExecutor(1), None, on_publish=see)
    assert kill.rows
    assert any(message.startswith("Tried again: its process was ended after step") for message in messages)
    assert_as_alone(run)


# ----------------------------------------------------------------------------------------------------------------- Dask


OF_DASK = pytest.mark.filterwarnings("ignore")  # its own, of sockets that it closes late


@pytest.fixture(scope="module")
def cluster():
    reason = "needs the extra diffopt-widgets[dask]"
    distributed = pytest.importorskip("distributed", reason=reason)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with cluster.get_client() as client:
        yield client


def busy(client):
    """The process of the worker that trains."""
    pids = client.run(lambda dask_worker: os.getpid() if dask_worker.state.executing else 0).values()
    return max(pids)


@pytest.mark.slow
@OF_DASK
def test_a_dask_worker_that_is_killed_costs_no_record(client, monkeypatch, tmp_path):
    monkeypatch.setattr(executors, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(executors, "CHECKPOINT_COST", 1.0)
    kill = Killer(lambda: busy(client))
    (run,) = runs_of({"seed": [0]}, STEPS)
    train_in_executor([run], client, tmp_path / "runs.sqlite", on_publish=kill)
    assert kill.rows
    assert_as_alone(run)
    stored = dw.RunStore(tmp_path / "runs.sqlite").load(run.key)
    assert stored.history.step.tolist() == run.history.step.tolist()


@pytest.mark.slow
@OF_DASK
def test_a_sweep_at_dask_takes_tasks_along_and_is_the_same_as_here(client, monkeypatch):
    monkeypatch.setattr("diffopt_widgets.tasks.registry._OWN", {})
    runs = dw.sweep("ADAMW", {"lr": [1e-3, 1e-2]}, LINE, 5, executor=client, progress=False)
    again = dw.sweep("ADAMW", {"lr": [1e-3]}, LINE, 5, executor=client.get_executor(), progress=False)
    for run in (*runs, *again):
        assert_as_alone(run)


@pytest.mark.slow
@OF_DASK
def test_dask_workers_with_another_version_are_told_before_anything_begins(client, monkeypatch):
    monkeypatch.setattr(dw, "__version__", "9.9")
    with pytest.raises(RuntimeError, match=r"diffopt-widgets 9\.9, and the executor's workers have version 0\.1\.0"):
        dw.sweep("ADAMW", {"lr": [1e-3]}, "swiss_roll", 5, executor=client, progress=False)


@pytest.mark.slow
@OF_DASK
def test_a_stopped_sweep_frees_its_dask_workers(client):
    runs = runs_of({"seed": [0, 1, 2]}, 100_000)

    pressed = []

    def press(_):
        if not pressed and all(len(run.history) for run in runs[:2]):
            pressed.append(1)
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        train_in_executor(runs, client, None, on_publish=press)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [run.status for run in runs] == ["stopped"] * 3
    assert busy(client) == 0
    assert [run.can_continue for run in runs] == [True] * 3
    steps = drive(runs[0])
    next(steps)
    steps.close()
