"""Kept answers: used only when nothing that they depend on has changed, and never in the way."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from diffopt_widgets.cli import kept
from diffopt_widgets.cli.kept import Kept, _digest
from diffopt_widgets.cli.main import main
from diffopt_widgets.probe.prober import Prober

QUESTION = ("memory", "an optimizer", "a model")
PACKAGES = ("prodigyopt",)


def folder():
    return Path(os.environ["DIFFOPT_CACHE_DIR"]) / "answers"


def the_file():
    (path,) = folder().glob("*")
    return path


def write(content):
    content.pop("digest", None)
    the_file().write_text(json.dumps({**content, "digest": _digest(content)}), encoding="utf-8")


def told(capsys, *arguments):
    status = main(list(arguments))
    assert status == 0
    return capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ of the two commands


def test_a_count_is_kept_and_said_to_be(capsys):
    first = told(capsys, "memory", "ADAMW")
    assert "computed" not in first
    second = told(capsys, "memory", "ADAMW")
    assert second.startswith(first)
    made = json.loads(the_file().read_text("utf-8"))["made"]
    assert " ".join(second.split()).endswith("has changed since. --fresh computes it again.")
    assert f"This was computed on {kept.datetime.fromisoformat(made).astimezone():%Y-%m-%d %H:%M}" in second


def test_fresh_counts_again_and_what_it_counts_is_kept(capsys):
    true = told(capsys, "memory", "ADAMW")
    content = json.loads(the_file().read_text("utf-8"))
    write({**content, "answer": 5_000_000})
    assert "5.0 MB" in told(capsys, "memory", "ADAMW")
    assert told(capsys, "memory", "ADAMW", "--fresh") == true
    assert told(capsys, "memory", "ADAMW").startswith(true)


def test_some_of_several_are_said_to_be_kept(capsys):
    told(capsys, "memory", "ADAMW")
    assert "1 of these 2 were computed" in " ".join(told(capsys, "memory", "ADAMW,SGD").split())


@pytest.mark.slow
def test_another_question_is_not_answered_by_it(capsys):
    told(capsys, "memory", "ADAMW")
    for other in (["--lora", "8"], ["--full"], ["--dtype", "bfloat16"], ["--model", "sd15"], ["--set", "amsgrad=true"]):
        assert "computed" not in told(capsys, "memory", "ADAMW", *other)


@pytest.mark.slow
def test_what_the_probe_saw_is_kept(capsys, monkeypatch):
    first = told(capsys, "probe", "SGD")

    def find(*_):
        raise AssertionError("nothing is tried again")

    with monkeypatch.context() as patched:
        patched.setattr(Prober, "find", find)
        second = told(capsys, "probe", "SGD")
        assert second.startswith(first)
        assert "This was computed on" in second
        with pytest.raises(AssertionError):
            main(["probe", "SGD", "--fresh"])
        write({**json.loads(the_file().read_text("utf-8")), "answer": "{}"})
        with pytest.raises(AssertionError):
            main(["probe", "SGD"])


@pytest.mark.parametrize("command", [["memory"], pytest.param(["probe"], marks=pytest.mark.slow)])
def test_a_class_outside_the_catalogue_may_change_under_its_name_and_is_not_kept(command, capsys):
    told(capsys, *command, "torch.optim:RAdam")
    assert not folder().exists()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["memory", "ADAMW"], ["probe", "SGD"]], ids=" ".join)
def test_a_kept_answer_needs_no_torch(arguments):
    script = f"import sys; from diffopt_widgets.cli.main import main; main({arguments}); print('torch' in sys.modules)"
    loaded = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        loaded.append(done.stdout.splitlines()[-1])
    assert loaded == ["True", "False"]


# ------------------------------------------------------------------------------------------------------ what it depends on


def test_a_change_of_anything_that_it_depends_on_ends_it():
    Kept().keep(QUESTION, PACKAGES, 5)
    content = json.loads(the_file().read_text("utf-8"))
    parts = set(content["depends"])
    assert {"python", "machine", "torch", "prodigyopt", "diffopt_widgets", "device", "switches"} <= parts
    for part in parts:
        write({**content, "depends": {**content["depends"], part: "another"}})
        assert Kept().recall(QUESTION, PACKAGES) is None, part
        write(content)
        assert Kept().recall(QUESTION, PACKAGES) == 5, part


def test_a_switch_of_torch_ends_it(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Kept().keep(QUESTION, PACKAGES, 5)
    assert Kept().recall(QUESTION, PACKAGES) == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert Kept().recall(QUESTION, PACKAGES) is None


def test_another_build_of_a_package_ends_it(tmp_path, monkeypatch):
    info = tmp_path / "something-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: something\nVersion: 1.0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = set()
    for record in ("a.py,sha256=x,1\n", "a.py,sha256=y,1\n"):
        (info / "RECORD").write_text(record, encoding="utf-8")
        kept._installed.cache_clear()
        seen.add(kept._installed("something"))
    assert len(seen) == 2


def test_a_change_of_our_own_code_ends_it(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "cli").mkdir(parents=True)
    monkeypatch.setattr(kept, "__file__", str(package / "cli" / "kept.py"))
    seen = set()
    for name, text in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.json", "{}"), ("b.json", "[]")):
        (package / name).write_text(text, encoding="utf-8")
        kept._own_files.cache_clear()
        seen.add(kept._own_files())
    kept._own_files.cache_clear()
    assert len(seen) == 4


def test_devices_do_not_share_it():
    Kept(device="cpu").keep(QUESTION, PACKAGES, 5)
    assert Kept(device="cuda").recall(QUESTION, PACKAGES) is None


# ------------------------------------------------------------------------------------------------- damage and other writers


@pytest.mark.slow
def test_no_flipped_bit_changes_an_answer():
    Kept().keep(QUESTION, PACKAGES, {"a": [1234567890, "words"]})
    whole = the_file().read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.integers(len(whole))] ^= 1 << draw.integers(8)
        the_file().write_bytes(damaged)
        assert Kept().recall(QUESTION, PACKAGES) in (None, {"a": [1234567890, "words"]})


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"5", b'"a"', b"{}", b'{"digest": 1}', b"\xff\xfe", b"[" * 200_000, b" " * 2_000_000],
    ids=lambda content: repr(content[:8]),
)
def test_a_file_that_is_not_ours_is_computed_and_replaced(content):
    Kept().keep(QUESTION, PACKAGES, 5)
    the_file().write_bytes(content)
    assert Kept().recall(QUESTION, PACKAGES) is None
    Kept().keep(QUESTION, PACKAGES, 6)
    assert Kept().recall(QUESTION, PACKAGES) == 6


def test_a_date_that_is_none_is_damage():
    Kept().keep(QUESTION, PACKAGES, 5)
    content = json.loads(the_file().read_text("utf-8"))
    for made in ("yesterday", 5, None, "0001-01-01T00:00:00+14:00"):
        write({**content, "made": made})
        assert Kept().recall(QUESTION, PACKAGES) in (None, 5)


def test_several_writers_and_readers_see_whole_answers_only():
    def work(number):
        Kept().keep(QUESTION, PACKAGES, [number] * 1000)
        seen = Kept().recall(QUESTION, PACKAGES)
        return seen is not None and len(set(seen)) == 1 and len(seen) == 1000

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(work, range(60)))
    assert [path.suffix for path in folder().iterdir()] == [".json"]


def test_old_answers_are_thinned_out(monkeypatch):
    monkeypatch.setattr(kept, "MOST_FILES", 10)
    for number in range(11):
        Kept().keep((*QUESTION, str(number)), PACKAGES, number)
    assert len(list(folder().iterdir())) == 6
    assert Kept().recall((*QUESTION, "10"), PACKAGES) == 10


# --------------------------------------------------------------------------------------------------- nowhere to keep it


def test_without_a_folder_that_can_be_written_everything_works(tmp_path, capsys, monkeypatch):
    before = told(capsys, "memory", "ADAMW")
    (tmp_path / "file").write_text("", encoding="utf-8")
    for place in (tmp_path / "file", Path("/proc/nowhere"), Path("relative")):
        monkeypatch.setenv("DIFFOPT_CACHE_DIR", str(place))
        for _ in range(2):
            assert told(capsys, "memory", "ADAMW") == before
    assert not Path("relative").exists()


def test_a_full_disk_leaves_nothing_behind(monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    Kept().keep(QUESTION, PACKAGES, 5)
    assert list(folder().iterdir()) == []


def test_without_a_home_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("DIFFOPT_CACHE_DIR")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/diffopt_widgets"))
    kept_answers = Kept()
    kept_answers.keep(QUESTION, PACKAGES, 5)
    assert kept_answers.recall(QUESTION, PACKAGES) is None
    assert not Path("~").exists()
