"""The command `diffopt sweep`: ranges, what is refused in words, and a search from end to end."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffopt_widgets as dw
from diffopt_widgets.cli import sweep
from diffopt_widgets.cli.arguments import read_plan
from diffopt_widgets.cli.main import main
from diffopt_widgets.runs.typed_values import read_axis
from diffopt_widgets.training import stack

SMALL = ("--task", "swiss_roll", "--steps", "2")


@given(st.floats(1e-9, 1.0), st.floats(1.1, 1e6), st.integers(2, 99), st.sampled_from([None, True, False]))
def test_a_range_is_read_as_it_is_written(low, factor, points, log):
    words = {None: [], True: ["log"], False: ["linear"]}[log]
    text = ":".join([f"{low!r}..{low * factor!r}", *words, str(points)])
    assert sweep._ranges([f" lr = {text} "]) == ({"lr": dw.Range(low, low * factor, points, log)}, [])


@pytest.mark.parametrize("between", ["..", "...", "…", " .. ", " to "])
def test_the_ends_of_a_range_are_written_as_in_the_bench(between):
    assert sweep._ranges([f"lr=1e-4{between}1e-2"])[0]["lr"] == dw.Range(1e-4, 1e-2)
    rows = read_axis(dw.spec("ADAMW").lr, f"1e-4{between}1e-2")
    assert rows == dw.Range(1e-4, 1e-2)


def test_an_option_that_only_one_of_the_optimizers_has_can_be_given():
    for optimizers in ("ADAMW,PRODIGY", "PRODIGY,ADAMW"):
        _, over = read_plan(optimizers, {}, ["d_coef=0.5,2"])
        assert over == {"optimizer": optimizers.split(","), "d_coef": [0.5, 2.0]}
    with pytest.raises(dw.SettingsError, match="d_coef"):
        read_plan("ADAMW,LION", {}, ["d_coef=0.5,2"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "nothing is varied"),
        ("--over lr", "an option with its values"),
        ("--over lr=", "an option with its values"),
        ("--over lr=1e-2..1e-4", "the first end must be below the second"),
        ("--over lr=1e-4..", "must be numbers"),
        ("--over lr=log:1e-4..1e-2", "come first"),
        ("--over lr=a..b", "must be numbers"),
        ("--over lr=1e-4..1e-2:cubic", "'cubic'"),
        ("--over lr=0..1:log", "above 0"),
        ("--over lr=1..2 --over lr=3..4", "given twice"),
        ("--over lr=1e-4..1e-2 --lr 1", "another way"),
        ("--over lr=1e-4..1e-2 --set lr=1", "another way"),
        ("--over beta1=0.5..1.5", "beta1 = 1.5"),
        ("--over lrr=1e-4..1e-2", "Did you mean lr?"),
        ("--over lr=1,2 --search best", "grid, random, tpe, gp, qmc"),
        ("--over lr=1,2 --search tpe", "--trials 40"),
        ("--over lr=1,2 --search random --trials 0", "no number of trials"),
        ("--over lr=1,2 --trials 3", "every combination"),
        ("--over lr=1,2 --prune median", "only a search by Optuna"),
        ("--over lr=1,2 --search tpe --trials 3 --prune hope", '"median"'),
        ("--over lr=1,2 --search tpe --trials 3 --study-storage x.db", "sqlite:///study.db"),
        ("--over seed=0,1 --search tpe --trials 3", "seeds"),
        ("--over lr=1,2 --resume", "--store"),
        ("--over lr=1,2 --stacked maybe", "yes, no or auto"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_is_trained(tmp_path, capsys, words, said):
    assert main(["sweep", "ADAMW", *SMALL, *words.split(), "--out", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("o/*"))


@pytest.mark.slow
def test_more_than_a_thousand_runs_need_a_yes(tmp_path, capsys):
    for words in ("lr=1e-4..1e-2:1001", "lr=1e-4..1e-2 --search tpe --trials 1001"):
        assert main(["sweep", "ADAMW", *SMALL, "--out", str(tmp_path), "--over", *words.split()]) == 2
        assert re.search(r"1,001 runs, and would take about .*--yes", capsys.readouterr().err)


@pytest.mark.slow
def test_a_grid_writes_what_run_writes(tmp_path, capsys):
    words = ["sweep", "ADAMW", "PRODIGY", *SMALL, "--over", "lr=1e-3..1e-2:2", "--over", "d_coef=0.5"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".html", ".md"}
    assert "ADAMW has no option d_coef" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_says_how_gradients_were_computed(tmp_path, capsys):
    words = ["sweep", "ADAMW", *SMALL, "--over", "lr=1e-3,1e-2", "--out", str(tmp_path), "--stacked", "yes"]
    assert main(words) == 0
    assert "2 runs of swiss_roll: trained in turn, since they ended before" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_says_that_numbers_are_rounded_differently_and_does_not_warn_too(tmp_path, capsys, monkeypatch):
    original = stack.losses_and_gradients

    def rounded(trainings):
        return [(loss * 1.001, gradients) for loss, gradients in original(trainings)]

    monkeypatch.setattr(stack, "losses_and_gradients", rounded)
    words = ["sweep", "ADAMW", *SMALL, "--over", "lr=1e-3,1e-2", "--out", str(tmp_path), "--stacked", "yes"]
    assert main(words) == 0  # a warning would be an error here
    assert re.search(r"2 runs of swiss_roll: gradients computed together.*rounded differently", capsys.readouterr().out)


@pytest.mark.slow
def test_a_search_is_taken_up_with_more_trials(tmp_path, capsys):
    optuna = pytest.importorskip("optuna", reason="needs the extra diffopt-widgets[optuna]")
    store = tmp_path / "runs.sqlite"
    words = ["sweep", "SGD", *SMALL, "--over", "lr=1e-3..1e-1", "--search", "qmc", "--store", str(store)]
    assert main([*words, "--trials", "2", "--out", str(tmp_path)]) == 0
    assert main([*words, "--trials", "3", "--resume", "--out", str(tmp_path)]) == 0
    assert len(dw.RunStore(store).list()) == 3
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'runs.optuna.sqlite'}")
    assert study.n_trials == 3
    assert "evaluation" in json.dumps(study.user_attrs)


def test_without_optuna_the_command_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    words = ["sweep", "ADAMW", *SMALL, "--over", "lr=1,2", "--search", "tpe", "--trials", "2", "--out", str(tmp_path)]
    assert main(words) == 1
    assert 'pip install "diffopt-widgets[optuna]"' in capsys.readouterr().err
