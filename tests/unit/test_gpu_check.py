"""The command that fills the GPU rows: its budget, what becomes of a stage that fails, and the page that shows the rows.

Stages of their own stand in for the real ones here, run by the real driver in real processes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from gpu import packages, take
from gpu.drive import Drive, collected
from gpu.rows import Log, Row
from gpu.stages import STAGES, TOTAL, Stage
from gpu.table import NOT_RUN, OPEN, render

GPU = Path(packages.__file__).parent
ROOT = GPU.parents[1]
MACHINE = {"gpu": "A GPU", "memory": "8 GiB", "torch": "2.13.0"}


# ---------------------------------------------------------------------------------------------------- the driver


class Made(Stage):
    """A stage whose tests lie in a folder of the test."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / f"test_{self.key}.py"


GOOD = "def test_it(rows):\n    rows.add('fine', 'as wanted', True)\n    assert rows.missed() == []\n"
CODES = {
    "misses": "def test_it(rows):\n    rows.add('reach', '3 of 2', False)\n    assert rows.missed() == []\n",
    "raises": "def test_it(rows):\n    raise ValueError('no such thing')\n",
    "needs": "def test_it_there(rows, cuda):\n    rows.add('there', 'run', True)\n",
    "long": (
        "def test_it(rows):\n"
        "    for name in rows.each(['first', 'second', 'third']):\n"
        "        rows.add(name, 'done', True)\n"
        "        if name == 'second':\n"
        "            rows.until = 0.0\n"
    ),
    "many": (
        "def test_it(rows):\n"
        "    for name in rows.each(['a', 'b']):\n"
        "        with rows.failing(name):\n"
        "            rows.add(name, str(1 / (name == 'b')), True)\n"
    ),
    "crashes": "import os\ndef test_it(rows):\n    rows.add('before', 'kept')\n    os.abort()\n",
    "loses": (
        "import sys\n"
        "def test_it(rows):\n"
        "    sys.modules[type(rows).__module__].gpu_answers = lambda: False\n"
        "def test_another(rows):\n"
        "    pass\n"
    ),
    "hangs": "import threading\ndef test_it(rows):\n    threading.Event().wait()\n",
    "broken": "import no_such_module_here\n",
    "good": GOOD,
}


ENDS = {
    "misses": [("reach", "missed", "3 of 2")],
    "raises": [("it", "failed", "ValueError: no such thing")],
    "needs": [("it there", "not run", "no CUDA device")],
    "long": [
        ("first", "met", "done"),
        ("second", "met", "done"),
        ("the rest", "cut", "time was up; left: third"),
    ],
    "many": [("a", "failed", "ZeroDivisionError: division by zero"), ("b", "met", "1.0")],
    "crashes": [("before", "seen", "kept"), ("the stage", "failed", "status -6")],
    "loses": [
        ("the GPU", "failed", "it answers no more; the next stage begins in a new process"),
        ("the stage", "failed", "status 3"),
    ],
    "hangs": [("the stage", "cut", "^killed: it took more than")],
    "broken": [("the stage", "failed", "broken")],
    "good": [("fine", "met", "as wanted")],
}
"""What, verdict and a regular expression for the words of each row of a stage."""


def of(log, key):
    """Return what, verdict and words of each row of a stage."""
    return [(row.what, row.verdict, row.value) for row in log.rows() if row.stage == key]


def alike(rows, expected):
    """Return whether the rows are the expected ones."""

    return len(rows) == len(expected) and all(
        row[:2] == wanted[:2] and re.search(wanted[2], row[2]) for row, wanted in zip(rows, expected, strict=True)
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.slow
def test_every_stage_ends_with_its_row_and_none_ends_the_others(tmp_path, monkeypatch):
    """All in one run of the driver, which takes a process of its own for each stage that dies."""
    stages = [Made(key, key, "", 1.0 if key == "hangs" else 60.0) for key in CODES]
    for stage in stages:
        object.__setattr__(stage, "folder", tmp_path)
        stage.file.write_text(CODES[stage.key])
    (tmp_path / "made.py").write_text(
        f"from gpu.stages import Stage\nSTAGES = [Stage(key, key, '', 60.0) for key in {list(CODES)!r}]\n"
    )
    conftest = (GPU / "conftest.py").read_text("utf-8")
    assert "import STAGES, Stage" in conftest
    own = conftest.replace("import STAGES, Stage", "import Stage\nfrom made import STAGES")
    (tmp_path / "conftest.py").write_text(own)
    log = Log(tmp_path / "rows.jsonl")
    monkeypatch.setattr("gpu.drive.HERE", tmp_path)
    monkeypatch.setattr("gpu.drive.GRACE", 0.5)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(tmp_path)]))
    Drive(log, tmp_path / "log.txt", time.time() + 500).all(stages)

    assert {key: of(log, key) for key in CODES if not alike(of(log, key), ENDS[key])} == {}
    assert list(dict.fromkeys(log.of("begin"))) == [key for key in CODES if key != "broken"]
    assert {row.device for row in log.rows() if row.stage == "needs"} == {"cuda"}
    page = render(collected(log, time.time()))
    assert NOT_RUN in page
    assert OPEN not in page


@pytest.mark.slow
def test_stages_without_time_are_cut_and_say_so(tmp_path):
    log = Log(tmp_path / "rows.jsonl")
    Drive(log, tmp_path / "log.txt", time.time() - 1).all(STAGES)
    assert [of(log, stage.key) for stage in STAGES] == [[("the stage", "cut", "no time was left for it")]] * len(STAGES)


def test_all_stages_fit_into_eight_minutes():
    assert TOTAL < 8 * 60
    assert [stage.key for stage in STAGES if not stage.file.exists()] == []
    assert {path.stem for path in GPU.glob("test_*.py")} == {stage.file.stem for stage in STAGES}


# ---------------------------------------------------------------------------------------------------- the ordinary run


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.slow
def test_without_a_gpu_they_are_left_out_and_when_asked_for_they_say_why():
    def run(*options):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "tests/gpu/test_paged.py"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout

    assert re.search(r"^\d+ deselected", run().splitlines()[-1])
    assert "no CUDA device" in run("-m", "gpu")


# ---------------------------------------------------------------------------------------------------- the page


def test_the_page_is_what_was_measured():
    text = take.PAGE.read_text("utf-8")
    assert take.page(text, json.loads(take.MEASURED.read_text("utf-8"))) == text, "run `tests/gpu/check take`"


@pytest.mark.slow
def test_the_command_makes_the_page_anew():
    before = take.PAGE.read_bytes()
    command = [str(GPU / "check"), "take"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": ""})
    assert take.PAGE.read_bytes() == before


def test_every_question_is_open_until_it_is_measured():
    page = render({})
    assert page.count(OPEN) == len(STAGES)
    assert all(stage.question in page for stage in STAGES)


def test_the_page_names_what_is_wrong_and_the_cpu_beside():
    rows = [
        Row("auto", "one", "cpu", "seen", "1 ms"),
        Row("auto", "one", "cuda", "met", "2 ms"),
        Row("auto", "two|halves", "cuda", "missed", "9 ms"),
    ]
    page = render({"machine": MACHINE, "began": "now", "seconds": 3, "rows": [vars(row) for row in rows]})
    assert "| 1 seen | 1 met, 1 missed: two\\|halves |" in page
    assert "| one | 1 ms | 2 ms |" in page
    assert "| two\\|halves |  | missed: 9 ms |" in page
    assert page.count(OPEN) == len(STAGES) - 1
    assert page.startswith("A GPU, 8 GiB, driver ?; torch 2.13.0. Begun now, took 3 s.")


def test_a_dry_run_is_not_taken(tmp_path, capsys):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"machine": {"python": "3.11"}, "rows": []}))
    before = take.PAGE.read_text("utf-8"), take.MEASURED.read_text("utf-8")
    assert take.main([str(path)]) == 1
    assert "without a GPU" in capsys.readouterr().err
    assert (take.PAGE.read_text("utf-8"), take.MEASURED.read_text("utf-8")) == before


def test_a_result_is_taken_with_the_probe_only_when_that_is_whole(tmp_path, monkeypatch, capsys):
    from diffopt_widgets.catalogue import evidence as probed

    page, measured, table = tmp_path / "gpu.md", tmp_path / "measured.json", tmp_path / "evidence.json"
    page.write_text(take.PAGE.read_text("utf-8"))
    before = probed.write_table({"cpu": probed.table()["cpu"]})
    table.write_text(before, "utf-8")
    for module, name, path in ((take, "PAGE", page), (take, "MEASURED", measured), (probed, "TABLE", table)):
        monkeypatch.setattr(module, name, path)
    part = json.loads(before)["cpu"]
    result = {
        "machine": MACHINE,
        "began": "now",
        "seconds": 3,
        "rows": [vars(Row("auto", "one", "cuda", "met", "2 ms"))],
    }
    path = tmp_path / "result.json"
    some = {**part, "optimizers": dict(list(part["optimizers"].items())[:3])}
    path.write_text(json.dumps({**result, "probed": {"cuda": some}}))
    assert take.main([str(path)]) == 0
    assert "stays as it is" in capsys.readouterr().out
    assert table.read_text("utf-8") == before
    assert "| one |  | 2 ms |" in page.read_text("utf-8")
    assert "probed" not in json.loads(measured.read_text("utf-8"))
    path.write_text(json.dumps({**result, "probed": {"cuda": part}}))
    assert take.main([str(path)]) == 0
    taken = probed.read_table(table.read_text("utf-8"))
    assert list(taken) == ["cpu", "cuda"]
    assert taken["cuda"].findings == taken["cpu"].findings


# ---------------------------------------------------------------------------------------------------- the bare machine


def test_what_is_carried_is_all_that_the_optimizers_need():
    from diffopt_widgets.catalogue import list_optimizers, spec

    pins = packages.pinned(packages.PINS)
    carried = {packages.canonical(name) for name in (*packages.CARRIED, *packages.COMPILED)}
    backends = {packages.canonical(spec(key).package) for key in list_optimizers()}
    assert backends - carried == {"torch"}
    assert carried | set(packages.EXPECTED) <= pins.keys()
    assert {packages.canonical(name) for name in packages.NEEDED} <= carried


def wheel(folder, name, version):
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}/__init__.py", f"made = {version!r}\n")
        file.writestr(
            f"{name}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    return path


def test_only_what_is_not_installed_in_that_version_is_unpacked(tmp_path, capsys):
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    wheel(wheels, "made_up_backend", "1.2")
    wheel(wheels, "rich", packages.installed("rich"))
    wheel(wheels, "packaging", "0.1")
    assert packages.install(wheels, site) == 0
    assert sorted(path.name for path in site.iterdir() if path.suffix != ".dist-info") == [
        "made_up_backend",
        "packaging",
    ]
    assert "made-up-backend 1.2" in capsys.readouterr().out


def test_a_machine_without_torch_is_told_what_it_needs(tmp_path, monkeypatch, capsys):
    installed = packages.installed
    monkeypatch.setattr(packages, "installed", lambda name: None if name == "torch" else installed(name))
    assert packages.install(tmp_path, tmp_path / "site") == 1
    assert "torch 2.4 or later is needed" in capsys.readouterr().err
    monkeypatch.setattr(packages, "installed", lambda name: "2.3.1+cu121" if name == "torch" else None)
    assert packages.missing()[0] == "torch 2.4 or later is needed; 2.3.1+cu121 is installed"


def test_without_wheels_it_says_what_nothing_runs_without(tmp_path, monkeypatch, capsys):
    installed = packages.installed
    monkeypatch.setattr(packages, "installed", lambda name: None if name in {"rich", "prodigyopt"} else installed(name))
    assert packages.install(tmp_path, tmp_path / "site") == 1
    said = capsys.readouterr().err
    assert f"neither installed nor in {tmp_path}: prodigyopt, rich." in said
    assert "Nothing runs without rich: run `tests/gpu/check prepare` first." in said
