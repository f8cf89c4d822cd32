"""The command `diffopt memory`."""

import re

import pytest

import diffopt_widgets as dw
from diffopt_widgets.cli.main import main
from diffopt_widgets.state_size.words import bytes_words


def told(capsys, *arguments):
    """Return the exit status, and the words of each line by what it begins with."""
    status = main(["memory", *arguments])
    lines = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines() if line.strip()]
    return status, {first: rest for first, *rest in lines}


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.slow
def test_one_optimizer_for_a_model(capsys):
    status, lines = told(capsys, "prodigy", "--model", "sd15", "--lora", "8", "--dtype", "bfloat16", "--layers", "all")
    size = dw.memory(dw.Settings("PRODIGY"), "sd15", lora=8, layers="all", dtype="bfloat16")
    assert status == 0
    assert "State for an SD 1.5 LoRA of rank 8" in lines
    assert "8,465,728 weights in bfloat16 in all linear and convolution layers of its UNet" in lines
    assert lines["PRODIGY"] == [bytes_words(size), f"{size / 8_465_728:.2f}"]


@pytest.mark.slow
def test_values_with_commas_are_compared(capsys):
    status, lines = told(capsys, "PRODIGY", "--full", "--set", "slice_p=1,11")
    assert status == 0
    assert lines["PRODIGY · slice_p 1"] == ["41 GB", "16.00"]
    assert lines["PRODIGY · slice_p 11"] == ["22 GB", "8.73"]


@pytest.mark.slow
def test_all_optimizers_are_compared_the_smallest_first(capsys):
    status, lines = told(capsys)
    assert status == 0
    keys = [key for key in lines if key in dw.list_optimizers()]
    assert set(keys) == set(dw.list_optimizers())
    each = [float(lines[key][-1]) for key in keys]
    assert each == sorted(each)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["PRODIGI"], "Did you mean PRODIGY?"),
        (["PRODIGY", "--lora", "0"], "rank is 0; it must be a whole number from 1"),
        (["PRODIGY", "--set", "d_coff=1"], "Did you mean d_coef?"),
        (["--set", "d_coef=1"], "no optimizer is named"),
    ],
)
def test_wrong_input_is_explained(capsys, arguments, words):
    assert main(["memory", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_missing_package_is_named(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lion_pytorch", None)
    assert main(["memory", "LION"]) == 1
    words = " ".join(capsys.readouterr().out.split())
    assert "LION needs lion-pytorch" in words
    assert "pip install --upgrade" in words


@pytest.mark.slow
def test_several_optimizers_or_values_are_named(capsys):
    status, lines = told(capsys, "ADAMW,LION")
    assert (status, {"ADAMW", "LION"} <= lines.keys()) == (0, True)
    status, lines = told(capsys, "ADAMW", "--set", "warmup=2,3")
    assert (status, {"ADAMW · warmup 2", "ADAMW · warmup 3"} <= lines.keys()) == (0, True)
