"""The command `diffopt`, as it is called."""

import csv
import re

import pytest

from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.cli import main


def test_run_compares_writes_a_figure_and_a_table(tmp_path, capsys):
    status = main(
        [
            *("run", "--optimizer", "PRODIGY", "--set", "d_coef=0.5,1.0,1.2", "--schedule", "COSINE"),
            *("--task", "swiss_roll", "--steps", "20", "--out", str(tmp_path / "new")),
        ]
    )
    assert status == 0
    out = capsys.readouterr().out
    for name in ("d_coef 0.5", "d_coef 1", "d_coef 1.2"):
        assert name in out
    with (tmp_path / "new" / "prodigy-swiss_roll.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert {row["run"] for row in rows} == {"PRODIGY · d_coef 0.5", "PRODIGY · d_coef 1", "PRODIGY · d_coef 1.2"}
    assert all(float(row["applied_lr[unet]"]) > 0 for row in rows)
    page = (tmp_path / "new" / "prodigy-swiss_roll.html").read_text(encoding="utf-8")
    assert "d_coef 0.5" in page
    assert not re.search(r"<script[^>]+src=", page), "the figure must open without a network"


def test_run_reports_every_wrong_value_and_trains_nothing(tmp_path, capsys):
    status = main(
        ["run", "--optimizer", "PRODIGY", "--set", "d_coef=-1", "--set", "betas=3", "--out", str(tmp_path / "o")]
    )
    assert status == 2
    err = capsys.readouterr().err
    assert "d_coef = -1" in err
    assert "betas" in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer", "PRODIGI"], "Did you mean PRODIGY?"),
        (["--optimizer", "PRODIGY", "--set", "d_coef"], "NAME=VALUE"),
        (["--optimizer", "PRODIGY", "--lr", "fast"], "'fast' is not a number"),
        (["--optimizer", "PRODIGY", "--steps", "0"], "steps = 0"),
        (["--optimizer", "PRODIGY", "--preset", "mine"], "no such preset"),
    ],
)
def test_wrong_input_is_named(words, message, tmp_path, capsys):
    assert main(["run", *words, "--out", str(tmp_path / "o")]) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_diverges_is_reported_and_still_written(tmp_path, capsys):
    words = [
        "run",
        "--optimizer",
        "SGD",
        "--lr",
        "1e20",
        "--task",
        "swiss_roll",
        "--steps",
        "50",
        "--out",
        str(tmp_path),
    ]
    assert main(words) == 1
    assert "stopped being a finite number" in capsys.readouterr().err
    assert (tmp_path / "sgd-swiss_roll.csv").exists()


@pytest.mark.parametrize("key", list_optimizers())
def test_options_prints_every_option_with_its_help(key, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert main(["options", key.lower()]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for use in spec(key).uses:
        assert use.name in out
        assert use.option.help in out


def test_options_without_a_key_lists_all(capsys):
    assert main(["options"]) == 0
    out = capsys.readouterr().out
    assert all(key in out for key in list_optimizers())


def test_doctor_says_what_runs_here(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(key in out for key in list_optimizers())
    assert "bitsandbytes" in out
    assert re.search(r"(no\s+cuda|yes\s+cuda:0)", out)


def test_doctor_says_how_to_mend_a_missing_package(monkeypatch):
    from diffopt_widgets.training import doctor, factory

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(factory.importlib, "import_module", missing)
    finding = doctor.try_optimizer("PRODIGY")
    assert finding.works is False
    assert finding.mend == "pip install --upgrade prodigyopt"
    assert "needs prodigyopt" in finding.words


def test_lab_without_jupyterlab_says_how_to_get_it(monkeypatch, capsys):
    from diffopt_widgets import lab_server

    monkeypatch.setattr(lab_server, "find_spec", lambda name: None)
    assert main(["lab"]) == 2
    assert "pip install 'diffopt-widgets[lab]'" in capsys.readouterr().err


def test_lab_in_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["lab", "--folder", str(tmp_path / "no")]) == 2
    assert "there is no folder" in capsys.readouterr().err
