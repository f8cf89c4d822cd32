"""The command `diffopt`, as it is called."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from itertools import count

import pytest
from places import ROOT

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.run_options import RUN_OPTIONS
from diffopt_widgets.catalogue.schedules import TRAINING_OPTIONS
from diffopt_widgets.cli.arguments import read_plan
from diffopt_widgets.cli.main import main
from diffopt_widgets.runs.space import vary
from diffopt_widgets.tasks import list_tasks
from diffopt_widgets.training.loop import Training

SMALL = ("--task", "swiss_roll", "--steps", "2")


@pytest.mark.slow
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
    said = " ".join(out.split())
    assert re.search(r"Best: d_coef [\d.]+, evaluation loss [\d.]+; worst: d_coef [\d.]+, ", said)
    assert "How much seeds alone change is not known: all have seed 0." in said
    with (tmp_path / "new" / "prodigy-swiss_roll.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert {row["run"] for row in rows} == {"PRODIGY · d_coef 0.5", "PRODIGY · d_coef 1", "PRODIGY · d_coef 1.2"}
    assert all(float(row["applied_lr[unet]"]) > 0 for row in rows)
    page = (tmp_path / "new" / "prodigy-swiss_roll.html").read_text(encoding="utf-8")
    assert "d_coef 0.5" in page
    assert not re.search(r"<script[^>]+src=", page), "the figure must open without a network"


@pytest.mark.slow
def test_observations_follow_the_table_and_are_absent_where_there_is_nothing_to_say(tmp_path, capsys):
    for rate, seen in (("3e-6", True), ("1", False)):
        words = ["run", "PRODIGY", "--lr", rate, "--task", "swiss_roll", "--steps", "40", "--out", str(tmp_path)]
        assert main(words) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert ("note: d did not leave d0 (1e-6) in 40 steps: a learning rate of 3e-6 where 1 is meant" in said) == seen
        assert ("observ" in said or "note: d " in said) == seen


@pytest.mark.slow
def test_what_is_probably_not_meant_is_said_once_before_training(tmp_path, capsys):
    words = ["run", "--optimizer", "PRODIGY", "--set", "lr=1e-4,1e-3,1", *SMALL, "--out", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said.count("diffopt: note: This optimizer finds its own rate") == 1
    assert main(["run", "--optimizer", "PRODIGY", *SMALL, "--out", str(tmp_path)]) == 0
    assert "mind that" not in capsys.readouterr().err


@pytest.mark.slow
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


@pytest.mark.slow
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
    ("words", "faulty"),
    [
        # Texts that cannot be read, values of the plan and a task, all beside each other.
        (
            "--seed=-1 --set d_coef=x --set slice_p=y --steps 0 --task swiss_rol",
            ["d_coef = x", "seed = -1", "slice_p = y", "steps = 0", "task = swiss_rol"],
        ),
        ("--seed=-1 --warmup=-1 --set beta1=2", ["beta1 = 2", "seed = -1", "warmup = -1"]),
        # Each of the values to compare is looked at.
        ("--set d_coef=0.5,x,-1 --lr 1,2,-3", ["d_coef = -1", "d_coef = x", "lr = -3"]),
        # What cannot be understood hides nothing else.
        (
            "--preset mine --set d_coef --set beta1=2 --seed x",
            ["--set = d_coef", "beta1 = 2", "preset = mine", "seed = x"],
        ),
    ],
)
def test_every_fault_is_told_at_once_wherever_it_stands(words, faulty, tmp_path, capsys):
    assert main(["run", "--optimizer", "PRODIGY", *words.split(), "--out", str(tmp_path / "o")]) == 2
    lines = capsys.readouterr().err.removeprefix("diffopt: ").splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == faulty
    assert not (tmp_path / "o").exists()


def test_without_an_optimizer_the_rest_is_still_checked(capsys):
    assert main(["run", "--optimizer", "PRODIGI", "--seed=-1", "--schedule", "cosin", "--set", "d_coef=1"]) == 2
    lines = capsys.readouterr().err.removeprefix("diffopt: ").splitlines()
    assert [line.partition(" = ")[0] for line in lines] == ["optimizer", "schedule", "seed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--optimizer", "PRODIGI"], "Did you mean PRODIGY?"),
        (["--optimizer", "PRODIGY", "--set", "d_coef"], "NAME=VALUE"),
        (["--optimizer", "PRODIGY", "--lr", "fast"], "'fast' is not a number"),
        (["--optimizer", "PRODIGY", "--steps", "0"], "steps = 0"),
        (["--optimizer", "PRODIGY", "--preset", "mine"], "no such preset"),
        (["--optimizer", "PRODIGY", "--preset", "recomended"], "Did you mean recommended?"),
        (["--optimizer", "PRODIGY", "--schedule", "cosin"], "(did you mean COSINE?)"),
        (["--optimizer", "PRODIGY", "--task", "swissroll"], "(did you mean swiss_roll?)"),
        (["--optimizer", "PRODIGY", "--set", "self=1"], "self = 1: PRODIGY has no such option"),
        (["--optimizer", "PRODIGY", "--set", "settings=1"], "settings = 1: PRODIGY has no such option"),
        (["--optimizer", "PRODIGY", "--set", "optimizer=ADAM"], "Write --optimizer ADAM."),
        (["--optimizer", "PRODIGY", "--lr", "1", "--set", "lr=2"], "it is also given as 1"),
        (["--optimizer", "PRODIGY", "--set", "d_coef=1", "--set", "d_coef=2"], "several values: 1,2."),
        (["--optimizer", "PRODIGY", "--set", "d_coef=1, 1.0"], "1.0 stands there twice"),
        (["--optimizer", "PRODIGY", "--set", "beta3=0.9,none,"], "stands there twice"),
        (
            ["--optimizer", "ADAM", "--device", "cpu", "--set", "capturable=false,true"],
            "capturable = true: Capturable needs",
        ),
    ],
)
def test_wrong_input_is_named(words, message, tmp_path, capsys):
    assert main(["run", *words, "--out", str(tmp_path / "o")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
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
    assert "the loss was no longer a finite number" in capsys.readouterr().err
    assert (tmp_path / "sgd-swiss_roll.csv").exists()


def test_where_nothing_can_be_written_nothing_is_trained(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "in"):
        assert main(["run", "--optimizer", "PRODIGY", *SMALL, "--out", str(out)]) == 2
        said = capsys.readouterr()
        assert f"--out = {str(out)[:40]}" in said.err
        assert "a file is in its place" in said.err
        assert said.out == "", "a run was trained"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_leave_to_write(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main(["run", "--optimizer", "PRODIGY", *SMALL, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "Permission denied" in said.err
    assert said.out == ""


@pytest.mark.slow
def test_a_sweep_that_is_stopped_says_so_of_every_run_and_is_kept(tmp_path, capsys, monkeypatch, request):
    monkeypatch.setenv("COLUMNS", "200")
    backward, calls = Training.backward, count(1)

    def interrupted(self, step):
        if next(calls) == 7:  # the second of three runs is training
            signal.raise_signal(signal.SIGINT)
        return backward(self, step)

    monkeypatch.setattr(Training, "backward", interrupted)
    monkeypatch.setattr(
        "diffopt_widgets.execution.rounds.TURN_SECONDS", 1e9
    )  # the first run ends before the second begins
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    words = ["run", "--optimizer", "PRODIGY", "--set", "d_coef=0.5,1,2", "--task", "swiss_roll", "--steps", "4"]
    words += ["--out", str(tmp_path)]
    assert main(words) == 130
    said = capsys.readouterr()
    assert re.findall(r"d_coef (\S+) +(done|stopped|failed|waiting) ", said.out) == [
        ("0.5", "done"),
        ("1", "stopped"),
        ("2", "stopped"),
    ]
    assert "PRODIGY · d_coef 2: Not started: the sweep was stopped before its turn" in said.err
    with (tmp_path / "prodigy-swiss_roll.csv").open(encoding="utf-8") as file:
        assert {row["run"] for row in csv.DictReader(file)} == {"PRODIGY · d_coef 0.5", "PRODIGY · d_coef 1"}


@pytest.mark.slow
def test_the_tables_say_what_was_trained_and_what_the_loss_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ["run", "PRODIGY,ADAMW", "--seed", "3", "--batch-size", "32", "--dtype", "bfloat16", *SMALL]
    assert main([*words, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "swiss_roll · 2 steps · batch size 32 · seed 3 · bfloat16" in out
    assert "* training loss, mean over the last twentieth of the steps" in out
    assert re.search(r"^run +status +loss\*", out, re.MULTILINE)
    with (tmp_path / "prodigy-adamw-swiss_roll.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    said = {
        "task": "swiss_roll",
        "steps": "2",
        "batch_size": "32",
        "accumulation": "1",
        "seed": "3",
        "dtype": "bfloat16",
    }
    assert all(said.items() <= row.items() for row in rows)
    assert [row["optimizer"] for row in rows] == ["PRODIGY"] * 2 + ["ADAMW"] * 2


@pytest.mark.slow
def test_several_optimizers_may_stand_one_after_the_other(tmp_path, capsys):
    assert main(["run", "ADAMW", "rmsprop", *SMALL, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert re.findall(r"^(ADAMW|RMSPROP) +done", said.out, re.MULTILINE) == ["ADAMW", "RMSPROP"]
    assert said.err.count("note: rmsprop is taken as RMSPROP, the class of bitsandbytes") == 1
    for words in (["options", "TIGER", "LION"], ["options", "TIGER,LION"]):
        assert main(words) == 0
        out = capsys.readouterr().out
        assert re.findall(r"^(TIGER|LION) ", out, re.MULTILINE) == ["TIGER", "LION"]
    assert main(["options", "TIGER,LION", "--markdown", str(tmp_path / "pages")]) == 0
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["LION.md", "TIGER.md"]


def test_optimizers_that_stand_apart_are_told_how_to_stand(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["run", "ADAMW", "--steps", "1", "PRODIGY"])
    assert caught.value.code == 2
    assert "name the optimizers next to each other" in capsys.readouterr().err


@pytest.mark.slow
def test_names_of_runs_stay_on_one_line_in_80_columns(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ["run", "--optimizer", "PRODIGY", "--set", "d_coef=0.5,1.2", "--set", "beta2=0.99,0.999", *SMALL]
    assert main([*words, "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out.partition("run  ")[2]
    for name in ("d_coef 0.5, beta2 0.999", "d_coef 1.2, beta2 0.99"):
        assert re.search(rf"^{name} +done ", table, re.MULTILINE)


@pytest.mark.slow
def test_runs_of_several_tasks_are_named_after_all(tmp_path, capsys):
    words = ["run", "--optimizer", "ADAM", "--task", "swiss_roll,digits", "--steps", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    assert (tmp_path / "adam-swiss_roll-digits.csv").exists()


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


@pytest.mark.slow
def test_doctor_says_what_runs_here(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(key in out for key in list_optimizers())
    assert "bitsandbytes" in out
    assert re.search(r"(no\s+cuda|yes\s+cuda:0)", out)


@pytest.mark.slow
def test_doctor_tries_every_device_that_is_there(capsys, monkeypatch):
    import torch

    from diffopt_widgets.probe import doctor

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


def test_doctor_says_how_to_fix_a_missing_package(monkeypatch):
    from diffopt_widgets.optimizers import factory
    from diffopt_widgets.probe import doctor

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(factory.importlib, "import_module", missing)
    finding = doctor.try_optimizer("PRODIGY")
    assert finding.works is False
    assert finding.fix.startswith('pip install --upgrade "prodigyopt>=')
    assert "needs prodigyopt" in finding.words


@pytest.mark.slow
def test_torch_that_cannot_be_loaded_is_a_finding_and_no_traceback(tmp_path):
    reason = "libcudart.so.12: cannot open shared object file"
    (tmp_path / "torch.py").write_text(f"raise ImportError({reason!r})", encoding="utf-8")
    here = str(ROOT)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{here}", "COLUMNS": "200"}

    def diffopt(*words):
        call = f"import sys; from diffopt_widgets.cli.main import main; sys.exit(main({[*words]!r}))"
        return subprocess.run(
            [sys.executable, "-c", call], cwd=tmp_path, env=env, check=False, capture_output=True, text=True
        )

    doctor = diffopt("doctor")
    assert doctor.returncode == 1
    assert "Traceback" not in doctor.stderr
    assert re.search(rf"no +torch +cannot be imported: {reason}\s+→ pip install --force-reinstall torch", doctor.stdout)
    assert "they need torch, which cannot be imported" in doctor.stdout
    run = diffopt("run", "--optimizer", "ADAM", *SMALL)
    assert run.returncode == 1
    assert reason in run.stderr
    assert "Traceback" not in run.stderr
    assert diffopt("options", "ADAM").returncode == 0, "explaining needs no torch"


def test_torch_that_is_not_there_is_to_be_installed(monkeypatch):
    from diffopt_widgets.probe import doctor

    monkeypatch.setitem(sys.modules, "torch", None)  # as if nothing of that name were installed
    (finding,) = doctor.devices()
    assert (finding.name, finding.works, finding.fix) == ("torch", False, "pip install torch")
    assert doctor.accelerators() == ()


def test_help_explains_every_flag_and_choice(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    for option in (*TRAINING_OPTIONS, *(use.option for use in RUN_OPTIONS.values())):
        assert option.help in out
        assert all(choice in out for choice in option.choices)
    assert ", ".join(list_tasks()) in out


@pytest.mark.slow
def test_examples_of_the_help_can_be_run(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    examples = re.findall(r"^  diffopt (run .+)$", capsys.readouterr().out, re.MULTILINE)
    assert len(examples) > 2
    for example in examples:
        short = [] if "--steps" in example else SMALL  # a flag cannot be given twice
        assert main([*example.split(), *short, "--out", str(tmp_path)]) == 0, example


def test_the_command_alone_shows_what_there_is(capsys):
    assert main([]) == 2
    out = capsys.readouterr().out
    assert all(f"\n    {name} " in out for name in ("lab", "run", "options", "doctor", "probe"))


def test_lab_without_jupyterlab_says_how_to_get_it(monkeypatch, capsys):
    from diffopt_widgets.cli import lab as lab_server

    monkeypatch.setattr(lab_server, "find_spec", lambda name: None)
    assert main(["lab"]) == 2
    assert "To fix it: pip install jupyterlab" in capsys.readouterr().err


def test_lab_in_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["lab", "--folder", str(tmp_path / "no")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_lab_brings_the_quickstart_into_an_empty_folder(tmp_path):
    from diffopt_widgets.cli.lab import _quickstart

    notebook = _quickstart(tmp_path)
    assert notebook == tmp_path / "quickstart.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert any("diffopt_widgets" in "".join(cell["source"]) for cell in cells)
    notebook.write_text("my own", encoding="utf-8")
    assert _quickstart(tmp_path) == notebook
    assert notebook.read_text(encoding="utf-8") == "my own"


@pytest.mark.slow
def test_a_yes_or_no_of_the_run_may_stand_alone_or_be_compared(tmp_path):
    for number, given in enumerate((["--grad-norm"], ["--grad-norm", "false"], ["--grad-norm=true,false"])):
        out = tmp_path / str(number)
        command = ["run", "--optimizer", "ADAM", "--task", "swiss_roll", "--steps", "2", "--out", str(out), *given]
        assert main(command) == 0
        (table,) = out.glob("*.csv")
        assert ("grad_norm" in table.read_text(encoding="utf-8")) == (number != 1)


@pytest.mark.slow
def test_a_run_that_ended_far_above_where_it_began_is_told(tmp_path, capsys):
    words = ["run", "--optimizer", "DADAPT_ADAM", "--lr", "50", "--task", "swiss_roll", "--steps", "60"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert "far above where it began" in capsys.readouterr().err


TINY = ["--task", "swiss_roll", "--steps", "2"]


@pytest.mark.slow
def test_optimizers_may_stand_first_and_several_are_compared(tmp_path, capsys):
    assert main(["run", "adamw,Prodigy", *TINY, "--lr", "0.5", "--set", "beta1=0.8", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "ADAMW" in out
    assert "PRODIGY" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adamw-prodigy-swiss_roll.csv",
        "adamw-prodigy-swiss_roll.html",
        "adamw-prodigy-swiss_roll.md",
    ]
    plan, over = read_plan("adamw,Prodigy,PagedAdamW8bit", {"lr": "0.5", "seed": "1"}, ["beta1=0.8"])
    plans = vary(plan, over)
    assert [p.settings.optimizer for p in plans] == ["ADAMW", "PRODIGY", "ADAMW_8BIT"]
    assert {(p.settings.lr, p.settings.options["beta1"], p.seed) for p in plans} == {(0.5, 0.8, 1)}
    assert plans[2].settings.options["is_paged"] is True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "optimizer: none is named"),
        (["run", "ADAM", "--optimizer", "LION"], "it is given twice; to compare, write ADAM,LION"),
        (["run", "ADAM,adam"], "ADAM and adam are the same optimizer"),
        (["run", "ADAM,xx"], "optimizer = xx: there is no such optimizer"),
        (["run", "ADAM,PRODIGY", "--preset", "recommended"], "a preset belongs to one optimizer"),
        (["run", "ADAM,LION", "--set", "d_coef=1"], "d_coef = 1: ADAM has no such option"),
        (["run", "ADAM", "--lr", "0,01"], "Write 0.01 for one number, or 0.0,1.0 for two."),
        (["run", "ADAM", "--lr", "1,05"], "Write 1.05 for one number, or 1.0,5.0 for two."),
        (["run", "ADAM", "--set", "weight_decay=0,5"], "Write 0.5 for one number, or 0.0,5.0 for two."),
    ],
)
def test_what_cannot_be_compared_is_told(words, told, tmp_path, capsys):
    assert main([*words, *TINY, "--out", str(tmp_path / "o")] if len(words) > 1 else words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--lr", "1e-3", "--lr", "1e-2"],
        ["--grad-norm", "--grad-norm"],
        ["--seed", "0", "--seed=1"],
        ["--out", "a", "--out", "b"],
    ],
)
def test_a_flag_that_is_given_twice_is_refused(flags, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "ADAM", *flags])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"argument {flags[0]}: it is given twice" in err
    assert ("commas" in err) == (flags[0] in {"--lr", "--seed", "--grad-norm"})
    assert len(err.splitlines()) == 2


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"diffopt-widgets {dw.__version__}\n")


def test_the_page_of_a_class_outside_the_catalogue_is_written(tmp_path):
    assert main(["options", "torch.optim.RAdam", "--markdown", str(tmp_path)]) == 0
    assert "RAdam" in (tmp_path / "torch.optim.RAdam.md").read_text(encoding="utf-8")
    assert main(["options", "AdamW8bit", "--markdown", str(tmp_path)]) == 0
    assert (tmp_path / "ADAMW_8BIT.md").exists()


@pytest.mark.parametrize(
    "words", [["memory", "torch.optim:RAdam"], ["memory", "PRODIGY", "--lora", "4", "--set", "betas=0.9,0.99"]]
)
def test_memory_takes_the_same_names(words):
    assert main(words) == 0


def test_a_rank_of_no_lora_is_refused(capsys):
    assert main(["memory", "PRODIGY", "--lora", "100000000000000000000"]) == 2
    assert "from 1 to 100,000" in capsys.readouterr().err
