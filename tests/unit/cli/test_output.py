"""What `diffopt` writes and prints: nothing is overwritten, and what cannot be printed costs no training."""

import csv
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from diffopt_widgets.catalogue import list_optimizers
from diffopt_widgets.cli import run as command
from diffopt_widgets.cli.main import main
from diffopt_widgets.training.loop import Training

POSIX = pytest.mark.skipif(os.name != "posix", reason="streams and signals of POSIX")
STEPS = 4


def words(folder, steps=STEPS):
    return ["run", "--optimizer", "ADAMW", "--task", "swiss_roll", "--steps", str(steps), "--out", str(folder)]


def rows(folder, name="adamw-swiss_roll"):
    assert (folder / f"{name}.html").stat().st_size > 10_000
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return len(list(csv.DictReader(file)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# -------------------------------------------------------------------------------------------------- nothing overwritten


def test_names_are_claimed_by_one_run_each(tmp_path):
    with ThreadPoolExecutor(8) as executor:
        claimed = list(
            executor.map(lambda _: tuple(command._claimed_paths(tmp_path, "a", (".csv", ".html"))), range(60))
        )
    assert len(set(claimed)) == 60
    assert len(names(tmp_path)) == 120
    assert all(table.stem == page.stem for table, page in claimed)


def test_a_figure_of_another_origin_is_left_alone(tmp_path):
    (tmp_path / "adamw-swiss_roll.html").write_text("mine", encoding="utf-8")
    assert main(words(tmp_path)) == 0
    assert (tmp_path / "adamw-swiss_roll.html").read_text(encoding="utf-8") == "mine"
    assert rows(tmp_path, "adamw-swiss_roll-2") == STEPS
    assert names(tmp_path) == ["adamw-swiss_roll-2.csv", "adamw-swiss_roll-2.html", "adamw-swiss_roll.html"]


@pytest.mark.parametrize("name", ["README.md", "PRODIGY.md"])
def test_the_reference_replaces_its_own_pages_only(tmp_path, capsys, name):
    assert main(["options", "--markdown", str(tmp_path)]) == 0
    assert main(["options", "--markdown", str(tmp_path)]) == 0
    (tmp_path / name).write_text("# My project\n", encoding="utf-8")
    (tmp_path / "ADAMW.md").unlink()
    capsys.readouterr()
    assert main(["options", "--markdown", str(tmp_path)]) == 2
    assert str(tmp_path / name) in capsys.readouterr().err
    assert (tmp_path / name).read_text(encoding="utf-8") == "# My project\n"
    assert len(names(tmp_path)) == len(list_optimizers()) + 1, "nothing else was written"


# ------------------------------------------------------------------------------------------------ what cannot be written


def diffopt(arguments, stdout, **environment):
    call = f"import sys; from diffopt_widgets.cli.main import main; sys.exit(main({arguments!r}))"
    return subprocess.run(
        [sys.executable, "-c", call],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("bar", ["", "1"], ids=["no bar", "bar"])
def test_a_reader_that_leaves_costs_nothing(tmp_path, bar):
    reading, writing = os.pipe()
    os.close(reading)
    done = diffopt(words(tmp_path), writing, FORCE_COLOR=bar)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(tmp_path) == STEPS


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("arguments", [["options"], ["memory", "ADAMW"]], ids=" ".join)
def test_a_reader_that_leaves_ends_other_commands_quietly(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = diffopt(arguments, writing)
    os.close(writing)
    assert "Error" not in done.stderr
    assert done.returncode in {0, 1}  # rich, which prints the tables, ends the process with 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("bar", ["", "1"], ids=["no bar", "bar"])
def test_a_full_disk_for_the_output_costs_nothing(tmp_path, bar):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = diffopt(words(tmp_path), full, FORCE_COLOR=bar)
    assert "No space left" in done.stderr
    assert f"wrote {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr
    assert rows(tmp_path) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_our_characters_is_no_error(tmp_path, encoding):
    arguments = [*words(tmp_path), "--set", "beta2=0.99,0.999"]
    done = diffopt(arguments, subprocess.PIPE, PYTHONIOENCODING=encoding, FORCE_COLOR="1")
    assert done.returncode == 0, done.stderr
    assert "0.999" in done.stdout
    assert rows(tmp_path) == 2 * STEPS


def test_a_full_disk_for_the_files_leaves_no_half_and_names_the_path(tmp_path, capsys, monkeypatch):
    def full(figure, path):  # as `write_html` is called
        path.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diffopt_widgets.drawing.figures.write_html", full)
    assert main(words(tmp_path)) == 1
    said = capsys.readouterr()
    assert "ADAMW" in said.out
    assert f"{tmp_path / 'adamw-swiss_roll.html'} was not written: No space left on device" in said.err
    assert names(tmp_path) == ["adamw-swiss_roll.csv"]


def test_an_error_of_the_system_is_told_by_its_path(capsys, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / "PRODIGY.md"))

    monkeypatch.setattr(Path, "write_text", refuse)
    assert main(["options", "PRODIGY", "--markdown", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"diffopt: {tmp_path / 'PRODIGY.md'}: Permission denied\n"


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_stops_after_the_step_and_the_files_are_written(tmp_path, capsys, monkeypatch, name):
    backward, calls = Training.backward, count(1)

    def signalled(self, step):
        if next(calls) == 3:
            signal.raise_signal(getattr(signal, name))
        return backward(self, step)

    monkeypatch.setattr(Training, "backward", signalled)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main([*words(tmp_path), "--store", str(tmp_path / "runs.sqlite")]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert rows(tmp_path) == 3
    assert "the same command with --resume goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
