"""Sweeps: runs that advance together, seeds, draws, and what is taken up from a store."""

import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from own_tasks import KILLED

import diffopt_widgets as dw
from diffopt_widgets.execution import rounds, sweeps
from diffopt_widgets.execution.driver import drive
from diffopt_widgets.execution.executors import train_in_executor
from diffopt_widgets.execution.outcome import RunFailed
from diffopt_widgets.execution.sweeps import train_together
from diffopt_widgets.runs.space import vary

OVER = {"optimizer": ["ADAMW", "PRODIGY"], "lr": [1e-3, 1e-2]}


def numbers(run):
    return {name: run.history.column(name).tolist() for name in run.history.names() if name != "seconds"}


def stopped_in(store):
    """A run of 12 steps that was stopped after a few, as the store has it."""
    run = dw.Run(dw.RunPlan(dw.Settings("PRODIGY"), "swiss_roll", 12))
    steps = drive(run, on_publish=sweeps.saver_for(store).save)
    for _ in range(5):
        next(steps)
    steps.close()
    assert 0 < len(run.history) < 12
    return run


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0.0, 0.1])
def test_runs_that_advance_together_give_the_numbers_that_they_give_alone(monkeypatch, turn):
    monkeypatch.setattr(rounds, "TURN_SECONDS", turn)
    runs = dw.sweep("ADAMW", OVER, "swiss_roll", 6, grad_norm=True, progress=False)
    for run in runs:
        alone = dw.train(run.settings, "swiss_roll", 6, grad_norm=True, progress=False)
        assert numbers(run) == numbers(alone)
        assert run.eval_after == alone.eval_after


@pytest.mark.slow
def test_curves_grow_side_by_side(monkeypatch):
    monkeypatch.setattr(rounds, "TURN_SECONDS", 0.0)
    runs = [dw.Run(plan) for plan in vary(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 4), {"lr": [1e-3, 1e-2]})]
    begun = []

    class Saver:
        def save(self, _):
            begun.append([one.status for one in runs])

    train_together(runs, saver=Saver(), progress=False)
    assert ["running", "running"] in begun
    assert [run.status for run in runs] == ["done", "done"]


@pytest.mark.slow
def test_no_more_advance_together_than_memory_is_meant_for(monkeypatch):
    monkeypatch.setattr(rounds, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(rounds, "MOST_WEIGHTS", 1)
    seen = []
    runs = [dw.Run(plan) for plan in vary(dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 3), {"lr": [1e-3, 1e-2]})]

    class Saver:
        def save(self, _):
            seen.append([one.status for one in runs].count("running"))

    train_together(runs, saver=Saver(), progress=False)
    assert max(seen) == 1
    assert [run.status for run in runs] == ["done", "done"]


@pytest.mark.slow
def test_one_run_that_fails_leaves_the_others():
    with pytest.warns(RunFailed, match="1 of 2 runs failed"):
        runs = dw.sweep("SGD", {"lr": [1e-3, 1e8]}, "swiss_roll", 30, progress=False)
    assert [run.status for run in runs] == ["done", "failed"]


@pytest.mark.slow
def test_a_sweep_is_taken_up_from_its_store(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    first = dw.sweep("ADAMW", {"lr": [1e-3]}, "swiss_roll", 4, store=store, progress=False)
    with pytest.warns(RunFailed):
        diverged = dw.sweep("SGD", {"lr": [1e8]}, "swiss_roll", 30, store=store, progress=False)
    again = dw.sweep("ADAMW", {"lr": [1e-3, 1e-2]}, "swiss_roll", 4, store=store, resume=True, progress=False)
    assert again[0].key == first[0].key
    assert again[0].history.step.tolist() == [1, 2, 3, 4]
    assert {run.status for run in again} == {"done"}
    assert len(store.list()) == 3
    with pytest.warns(RunFailed):
        repeated = dw.sweep("SGD", {"lr": [1e8]}, "swiss_roll", 30, store=store, resume=True, progress=False)
    assert [run.key for run in repeated] == [run.key for run in diverged]


@pytest.mark.slow
def test_a_stopped_run_of_the_store_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    run = stopped_in(store)
    (taken_up,) = dw.sweep("PRODIGY", {"seed": [0]}, "swiss_roll", 12, store=store, resume=True, progress=False)
    assert taken_up.key == run.key
    assert numbers(taken_up) == numbers(dw.train("PRODIGY", "swiss_roll", 12, progress=False))


@pytest.mark.slow
def test_a_sweep_is_taken_up_only_from_a_store_and_only_when_asked(tmp_path):
    with pytest.raises(dw.SettingsError, match="store"):
        dw.sweep("ADAMW", {"lr": [1e-3]}, "swiss_roll", 1, resume=True, progress=False)
    store = dw.RunStore(tmp_path / "runs.sqlite")
    for _ in range(2):
        dw.sweep("ADAMW", {"lr": [1e-3]}, "swiss_roll", 1, store=store, progress=False)
    assert len(store.list()) == 2


@pytest.mark.slow
def test_too_many_runs_are_refused_with_the_time_that_they_would_take():
    with pytest.raises(dw.SettingsError, match=r"10,000 runs, and would take about .* most=10000"):
        dw.sweep("ADAMW", {"lr": dw.Range(1e-4, 1e-2, points=100)}, "swiss_roll", 50, seeds=100)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"search": "tree"}, "search"),
        ({"search": "random"}, "trials"),
        ({"search": "random", "trials": 0}, "trials"),
        ({"trials": 3}, "trials"),
        ({"seeds": 0}, "seeds"),
        ({"resume": 1}, "resume"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options, named):
    with pytest.raises(dw.SettingsError, match=named):
        dw.sweep("ADAMW", {"lr": [1e-3, 1e-2]}, "swiss_roll", 1, **options)


def test_seeds_are_given_in_one_place():
    with pytest.raises(dw.SettingsError, match="twice"):
        dw.sweep("ADAMW", {"seed": [1, 2]}, "swiss_roll", 1, seeds=3)


@pytest.mark.slow
def test_a_random_sweep_trains_as_many_as_were_asked_for():
    over = {"lr": dw.Range(1e-4, 1e-2)}
    runs = dw.sweep("ADAMW", over, "swiss_roll", 2, search="random", trials=3, seeds=2, progress=False)
    assert len(runs) == 6
    assert len({run.settings.lr for run in runs}) == 3


@pytest.mark.slow
def test_many_runs_share_one_progress_bar(capsys):
    dw.sweep("ADAMW", {"lr": dw.Range(1e-4, 1e-2, points=13)}, "swiss_roll", 1)
    assert "13 runs ended, of" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_a_process_too(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    run = stopped_in(store)
    (taken_up,) = train_in_executor([store.load(run.key)], ThreadPoolExecutor(1), store)
    assert numbers(taken_up) == numbers(dw.train("PRODIGY", "swiss_roll", 12, progress=False))


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_a_killed_process_costs_only_its_own_run(tmp_path, monkeypatch):
    monkeypatch.setattr("diffopt_widgets.tasks.registry._OWN", {})
    store = dw.RunStore(tmp_path / "runs.sqlite")
    run = stopped_in(store)
    over = [{"seed": 0}, {"task": KILLED}]
    with pytest.warns(RunFailed, match="Its process, or one beside it, was ended"):
        whole, killed = dw.sweep(
            "PRODIGY", over, "swiss_roll", 12, store=store, resume=True, executor=ProcessPoolExecutor(1), progress=False
        )
    assert killed.status == "failed"
    assert whole.key == run.key
    assert numbers(whole) == numbers(dw.train("PRODIGY", "swiss_roll", 12, progress=False))


@pytest.mark.parametrize("over", [{"lr": [1e-3, 1e-3]}, [{"lr": 1e-2}, {"lr": 1e-2}], {"seed": [0, 0]}])
def test_the_same_run_twice_is_refused(over):
    with pytest.raises(dw.SettingsError, match="same run"):
        dw.sweep("ADAMW", over, "swiss_roll", 1)


@pytest.mark.parametrize("over", [[{"seed": 1}, {"seed": 2}], {"optimizer": {"ADAMW": {"seed": [1, 2]}}}])
def test_seeds_are_given_in_one_place_however_they_are_written(over):
    with pytest.raises(dw.SettingsError, match="twice"):
        dw.sweep("ADAMW", over, "swiss_roll", 1, seeds=2)


def test_seeds_may_be_an_array():
    runs = dw.sweep("ADAMW", {"lr": [1e-3]}, "swiss_roll", 1, seeds=np.arange(2), progress=False)
    assert [run.plan.seed for run in runs] == [0, 1]


@pytest.mark.slow
def test_one_damaged_run_of_a_store_is_trained_anew(tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    first = dw.sweep("ADAMW", {"lr": [1e-3, 1e-2]}, "swiss_roll", 2, store=store, progress=False)
    with closing(sqlite3.connect(store.path)) as file, file:
        file.execute("UPDATE chunks SET data = x'00' WHERE run = ?", (first[0].key,))
    with pytest.warns(RuntimeWarning, match="left out"):
        again = dw.sweep("ADAMW", {"lr": [1e-3, 1e-2]}, "swiss_roll", 2, store=store, resume=True, progress=False)
    assert again[0].key != first[0].key
    assert again[1].key == first[1].key
    assert [run.status for run in again] == ["done", "done"]


def test_what_a_run_went_on_with_is_told_beside_what_it_began_with():
    run = dw.Run(dw.RunPlan(dw.Settings("ADAMW")))
    run.set_up("cpu", ["all"], {"torch": "1", "machine": "small"})
    run.go_on_with("cpu", {"torch": "2", "machine": "small"})
    run.go_on_with("cpu", {"torch": "1", "machine": "small"})
    assert run.trained_with == {"torch": "1 and then 2", "machine": "small"}
    run.take_over({"trained_with": {**run.trained_with, "gradients": "together"}})
    run.go_on_with("cpu", {"torch": "2", "machine": "small"})
    assert run.trained_with == {"torch": "1 and then 2", "machine": "small", "gradients": "together"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.01, "1 second"), (60, "60 seconds"), (99.6, "1.7 minutes"), (5990, "1.7 hours"), (4e7, "463 days")],
)
def test_lengths_of_time_are_plain_numbers(seconds, words):
    assert sweeps.duration(seconds) == words
