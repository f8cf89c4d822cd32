"""The command `diffopt`, as it is called."""

import csv
import json
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


def test_a_rule_between_options_looks_at_the_varied_values(tmp_path, capsys):
    words = ["run", "--optimizer", "SGD", "--set", "nesterov=true", "--set", "momentum=0.5,0.9"]
    words += ["--task", "swiss_roll", "--steps", "3,5", "--out", str(tmp_path)]
    assert main(words) == 0, capsys.readouterr().err
    with (tmp_path / "sgd-swiss_roll.csv").open(encoding="utf-8") as file:
        names = {row["run"] for row in csv.DictReader(file)}
    assert len(names) == 4
    assert sum("momentum 0.5" in name for name in names) == sum("momentum 0.9" in name for name in names) == 2


def test_a_varied_value_that_breaks_a_rule_is_reported(tmp_path, capsys):
    words = [
        "run",
        "--optimizer",
        "SGD",
        "--set",
        "nesterov=true",
        "--set",
        "momentum=0.5,0",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(words) == 2
    assert "momentum" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("kept", ["html", "csv"])
def test_a_former_run_is_kept(kept, tmp_path, capsys):
    (tmp_path / f"prodigy-swiss_roll.{kept}").write_text("a former run", encoding="utf-8")
    words = ["run", "--optimizer", "PRODIGY", "--task", "swiss_roll", "--steps", "2", "--out", str(tmp_path)]
    for number in (2, 3):
        assert main(words) == 0
        assert f"prodigy-swiss_roll-{number}.html" in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / f"prodigy-swiss_roll.{kept}").read_text(encoding="utf-8") == "a former run"
    made = {f"prodigy-swiss_roll-{number}.{end}" for number in (2, 3) for end in ("html", "csv")}
    assert {path.name for path in tmp_path.iterdir()} == made | {f"prodigy-swiss_roll.{kept}"}


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


def test_doctor_tries_every_device_that_is_there(capsys, monkeypatch):
    import torch

    from diffopt_widgets.training import doctor

    monkeypatch.setenv("COLUMNS", "200")
    main(["doctor"])
    out = capsys.readouterr().out
    assert "Optimizers on the CPU" in out
    assert ("Optimizers on the GPU (cuda)" in out) == torch.cuda.is_available()
    assert ("Optimizers on the GPU (mps)" in out) == torch.backends.mps.is_available()
    # A device that computes nothing stands for a GPU on which optimizers fail.
    monkeypatch.setattr(doctor, "accelerators", lambda: ("meta",))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    table = out[out.index("Optimizers on the GPU (meta)") :]
    assert all(re.search(rf"no\s+{key}\s", table) for key in list_optimizers())
    assert "or train it with device cpu" in " ".join(table.split())


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


def test_lab_brings_the_quickstart_into_an_empty_folder(tmp_path):
    from diffopt_widgets.lab_server import _quickstart

    notebook = _quickstart(tmp_path)
    assert notebook == tmp_path / "quickstart.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert any("diffopt_widgets" in "".join(cell["source"]) for cell in cells)
    notebook.write_text("my own", encoding="utf-8")
    assert _quickstart(tmp_path) == notebook
    assert notebook.read_text(encoding="utf-8") == "my own"
