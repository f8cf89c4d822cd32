"""Searches by Optuna: what they propose, what they tell it, what ends early, and what is taken up."""

import itertools
import math
import signal
import sys

import pytest

import diffopt_widgets as dw
from diffopt_widgets.execution import search
from diffopt_widgets.execution.outcome import RunFailed
from diffopt_widgets.execution.search import Searched, is_pruned, objective, study_path
from diffopt_widgets.optimizers.factory import MissingBackend
from diffopt_widgets.store import RunSaver

WHY = "needs the extra diffopt-widgets[optuna]"
ADAMW = dw.RunPlan(dw.Settings("ADAMW"), "swiss_roll", 4)
RATES = {"lr": dw.Range(1e-4, 1e-1)}


@pytest.fixture
def optuna():
    pytest.importorskip("scipy", reason=WHY)
    return pytest.importorskip("optuna", reason=WHY)


def sweep(over, search="tpe", trials=3, settings="ADAMW", steps=4, **options):
    return dw.sweep(settings, over, "swiss_roll", steps, search=search, trials=trials, progress=False, **options)


def study_of(optuna, address, number=0):
    names = sorted(optuna.get_all_study_names(address))
    return optuna.load_study(study_name=names[number], storage=address)


def address(path):
    return f"sqlite:///{path}"


@pytest.mark.parametrize("kind", ["tpe", "gp", "qmc"])
def test_the_same_call_proposes_the_same_trials_and_another_seed_others(optuna, kind):
    plans = [[run.plan for run in sweep(RATES, kind, seed=seed)] for seed in (0, 0, 1)]
    assert plans[0] == plans[1]
    assert [plan.settings.lr for plan in plans[0]] != [plan.settings.lr for plan in plans[2]]
    assert all(1e-4 <= plan.settings.lr <= 1e-1 for plan in plans[0])
    assert len(plans[0]) == 3


@pytest.mark.slow
def test_a_search_learns_from_the_losses(optuna):
    runs = sweep({"lr": dw.Range(1e-8, 1e-2)}, trials=24)
    first, last = ([run.settings.lr for run in part] for part in (runs[:10], runs[-10:]))
    assert math.prod(last) > math.prod(first) * 1e5  # rates at which nothing is learned in four steps are left


def test_values_are_drawn_by_the_kind_of_their_option(optuna):
    over = {"lr": dw.Range(1e-4, 1e-1), "warmup": dw.Range(0, 0.5), "beta1": [0.5, 0.9], "amsgrad": [True, False]}
    plans = [run.plan for run in sweep(over, trials=4)]
    assert {type(plan.settings.lr) for plan in plans} == {float}
    assert all(0 <= plan.settings.warmup <= 0.5 for plan in plans)
    assert {plan.settings.options["beta1"] for plan in plans} <= {0.5, 0.9}
    assert {plan.settings.options["amsgrad"] for plan in plans} <= {True, False}


def test_options_of_some_optimizers_are_suggested_for_those(optuna, tmp_path):
    own = {"ADAMW": {"lr": dw.Range(1e-4, 1e-2)}, "PRODIGY": {"lr": [1.0], "d_coef": [0.5, 2.0]}}
    store = tmp_path / "runs.sqlite"
    runs = sweep({"optimizer": own, "schedule": ["CONSTANT", "COSINE"]}, trials=8, store=store)
    assert {run.settings.optimizer for run in runs} == {"ADAMW", "PRODIGY"}
    for trial in study_of(optuna, address(study_path(store))).trials:
        key = trial.params["optimizer"]
        names = {"ADAMW": {"ADAMW lr"}, "PRODIGY": {"PRODIGY lr", "d_coef"}}[key]
        assert set(trial.params) == {"optimizer", "schedule", *names}


def test_the_study_has_the_evaluation_loss_of_each_trial_mean_over_its_seeds(optuna, tmp_path):
    runs = sweep(RATES, "qmc", 2, seeds=2, study_storage=address(tmp_path / "study.db"))
    study = study_of(optuna, address(tmp_path / "study.db"))
    losses = [run.eval_after for run in runs]
    assert [trial.value for trial in study.trials] == [sum(losses[:2]) / 2, sum(losses[2:]) / 2]
    assert [trial.user_attrs["runs"] for trial in study.trials] == [
        [one.key for one in runs[i : i + 2]] for i in (0, 2)
    ]
    assert "evaluation" in study.user_attrs["measure"]
    assert [run.plan.seed for run in runs] == [0, 1, 0, 1]


def test_a_run_without_an_evaluation_counts_with_its_last_training_losses(optuna):
    run = dw.train("ADAMW", "swiss_roll", 2, progress=False)
    assert objective(run) == run.eval_after != run.final_loss
    assert objective(dw.Run(run.plan, history=run.history)) == run.final_loss


def test_a_trial_that_diverges_is_infinitely_bad_and_never_the_best(optuna, tmp_path):
    with pytest.warns(RunFailed):
        runs = sweep({"lr": [1e-3, 1e8]}, trials=6, settings="SGD", steps=30, study_storage=address(tmp_path / "s.db"))
    study = study_of(optuna, address(tmp_path / "s.db"))
    assert {run.status for run in runs} == {"done", "failed"}
    for trial in study.trials:
        assert math.isinf(trial.value) == (trial.params["lr"] == 1e8)
        assert ("diverged at step" in trial.user_attrs["ended"]) == (trial.params["lr"] == 1e8)
    assert study.best_params == {"lr": 1e-3}


def test_a_combination_that_is_proposed_again_is_not_trained_again(optuna, tmp_path):
    runs = sweep({"lr": [1e-3, 1e-2]}, trials=9, study_storage=address(tmp_path / "s.db"))
    assert sorted(run.settings.lr for run in runs) == [1e-3, 1e-2]
    values = {run.settings.lr: run.eval_after for run in runs}
    trials = study_of(optuna, address(tmp_path / "s.db")).trials
    assert [trial.value for trial in trials] == [values[trial.params["lr"]] for trial in trials]
    assert len(trials) == 9


def test_values_that_do_not_go_together_are_a_failed_trial(optuna, tmp_path):
    over = {"nesterov": [True, False], "momentum": [0.0, 0.9]}
    runs = sweep(over, trials=12, settings="SGD", study_storage=address(tmp_path / "s.db"))
    assert all(run.settings.options["momentum"] or not run.settings.options["nesterov"] for run in runs)
    failed = [one for one in study_of(optuna, address(tmp_path / "s.db")).trials if one.state.name == "FAIL"]
    assert failed
    assert all(one.params == {"nesterov": True, "momentum": 0.0} for one in failed)
    with pytest.raises(dw.SettingsError, match="no combination can be trained"):
        sweep({"nesterov": [True], "momentum": [0.0]}, settings="SGD")


@pytest.mark.slow
@pytest.mark.parametrize("prune", ["median", "hyperband"])
def test_a_pruner_ends_trials_early(optuna, tmp_path, prune):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    runs = sweep({"lr": dw.Range(1e-8, 1e-2)}, "qmc", 12, steps=8, prune=prune, store=store)
    trials = study_of(optuna, address(study_path(store.path))).trials
    ends = [(run.status, search.is_pruned(run)) for run in runs]
    assert set(ends) == {("done", False), ("stopped", True)}
    assert [one.state.name == "PRUNED" for one in trials] == [pruned for _, pruned in ends]
    for run, trial in zip(runs, trials, strict=True):
        assert len(run.history) == (8 if run.status == "done" else max(trial.intermediate_values))
        assert run.kept is None
    again = sweep({"lr": dw.Range(1e-8, 1e-2)}, "qmc", 12, steps=8, prune=prune)
    if prune == "median":  # hyperband draws its brackets by the name of the study
        assert [(run.plan, len(run.history)) for run in again] == [(run.plan, len(run.history)) for run in runs]
    pruned = next(run for run in runs if run.status == "stopped")
    assert dw.resume(store.load(pruned.key), progress=False).history.column("loss").tolist() == (
        dw.train(pruned.settings, "swiss_roll", 8, progress=False).history.column("loss").tolist()
    )


@pytest.mark.slow
def test_the_wilcoxon_pruner_compares_seed_by_seed(optuna, tmp_path):
    storage = address(tmp_path / "s.db")
    runs = sweep({"lr": dw.Range(1e-8, 1e-2)}, "qmc", 8, seeds=6, prune="wilcoxon", study_storage=storage)
    trials = study_of(optuna, storage).trials
    pruned = [one for one in trials if one.state.name == "PRUNED"]
    assert pruned
    for trial in trials:
        own = [run for run in runs if run.key in trial.user_attrs["runs"]]
        trained = [run for run in own if run.status == "done"]
        assert [run.plan.seed for run in own] == list(range(6))
        assert own[: len(trained)] == trained
        assert all(is_pruned(run) and not len(run.history) for run in own[len(trained) :])
        assert list(trial.intermediate_values.values()) == [run.eval_after for run in trained]
        assert 4 <= len(trained) <= 6 - (trial in pruned)


@pytest.mark.parametrize("prune", [None, "median"])
def test_an_interrupted_search_is_taken_up_as_if_it_had_not_been(optuna, tmp_path, monkeypatch, prune):
    whole = sweep(RATES, trials=6, steps=8, prune=prune)
    store = dw.RunStore(tmp_path / "runs.sqlite")
    save, saves = RunSaver.save, itertools.count(1)

    def then_interrupted(saver, run):
        save(saver, run)
        if next(saves) == 10:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunSaver, "save", then_interrupted)
    first = dw.sweep("ADAMW", RATES, "swiss_roll", 8, search="tpe", trials=6, prune=prune, store=store, progress=False)
    assert any(run.status == "stopped" for run in first)
    monkeypatch.undo()
    done = {run.key for run in first if run.status == "done"}
    taken_up = sweep(RATES, trials=6, steps=8, prune=prune, store=store, resume=True)
    assert [run.plan for run in taken_up] == [run.plan for run in whole]
    assert [run.eval_after for run in taken_up] == [run.eval_after for run in whole]
    assert done <= {run.key for run in taken_up}
    more = sweep(RATES, trials=7, steps=8, prune=prune, store=store, resume=True)
    assert [run.key for run in more][:6] == [run.key for run in taken_up]
    assert len(more) == 7
    anew = sweep(RATES, trials=1, steps=8, prune=prune, store=store)
    assert anew[0].key not in {run.key for run in more}
    assert len(optuna.get_all_study_names(address(study_path(store.path)))) == 2


@pytest.mark.parametrize(
    ("over", "options", "words"),
    [
        ({}, {}, "nothing is varied"),
        ([{"lr": 1e-3}], {}, "one by one"),
        ({"lr": dw.Range(-1.0, 1e-2)}, {}, "lr = -1"),
        ({"beta1": [0.9, 1.5]}, {}, "beta1 = 1.5"),
        ({"d_coef": [0.5]}, {}, "d_coef"),
        ({"task": ["digits", "swiss_roll"]}, {}, "task"),
        ({"seed": [0, 1]}, {}, "seeds=5"),
        (RATES, {"trials": None}, "trials=40"),
        (RATES, {"trials": 0}, "trials=40"),
        (RATES, {"trials": 10**400}, "trials=40"),
        (RATES, {"prune": "hope"}, "median"),
        (RATES, {"prune": "wilcoxon", "seeds": 3}, "at least 5 seeds"),
        (RATES, {"search": "best"}, "tpe"),
        (RATES, {"search": "grid", "trials": None, "prune": "median"}, "prune"),
        (RATES, {"study_storage": "study.db"}, "sqlite:///study.db"),
        (RATES, {"study_storage": "nothing://here"}, "cannot be kept there"),
        (RATES, {"trials": 1001}, "1,001 runs, and would take"),
        (RATES, {"resume": True}, "store"),
        ({"optimizer": {"ADAMW": {}, "PRODIGY": {"d_coef": [0.5, 1.0]}}}, {"search": "gp"}, 'search="tpe"'),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_is_trained(optuna, over, options, words):
    with pytest.raises(dw.SettingsError) as caught:
        sweep(over, **{"trials": 3, **options})
    assert words in str(caught.value)


def test_without_optuna_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingBackend, match=r'pip install "diffopt-widgets\[optuna\]"'):
        sweep(RATES)


def test_a_study_is_found_again_by_what_it_searches_and_by_nothing_else():
    def name(over, trials=5, **options):
        return Searched(ADAMW, over, "tpe", trials, **{"seeds": 1, **options}).name

    over = {"lr": dw.Range(1e-4, 1e-2)}
    assert name(over) == name(over, 9)
    changed = [name({"lr": dw.Range(1e-4, 1e-3)}), name(over, seeds=2), name(over, prune="median")]
    changed += [name({**over, "optimizer": ["ADAMW", "LION"]}), name({"lr": [1e-4, 1e-2]})]
    assert len({name(over), *changed}) == 6
