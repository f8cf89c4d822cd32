"""What the commands say before their result: a line before anything slow is imported, and a bar in a terminal."""

import os
import pty
import subprocess
import sys

import pytest

from diffopt_widgets.cli.main import main
from diffopt_widgets.cli.waiting import waiting

IMPORTS = """
import os, sys
from diffopt_widgets.cli.main import main

class Watched:
    def __init__(self, stream): self.stream = stream
    def write(self, text):
        if text.strip():
            print("torch first: " if "torch" in sys.modules else "early: ", text, file=sys.__stderr__, flush=True)
            os._exit(0)
    def flush(self): pass
    def isatty(self): return False

{stream} = Watched({stream})
main({arguments})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "stream", "words"),
    [
        (["memory"], "sys.stderr", "Counting the state for an SDXL LoRA of rank 64 …"),
        (["probe", "SGD"], "sys.stderr", "Trying every option of each optimizer …"),
        (["doctor"], "sys.stdout", "Installed"),
    ],
)
def test_a_line_comes_before_torch_is_imported(arguments, stream, words):
    script = IMPORTS.format(stream=stream, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    out = done.stderr + done.stdout
    assert out.startswith("early: "), out
    assert words in out


def test_a_pipe_gets_one_line_on_the_error_stream_and_a_clean_table(capsys):
    assert main(["memory", "SGD"]) == 0
    out, err = capsys.readouterr()
    assert err == "Counting the state for an SDXL LoRA of rank 64 …\n"
    assert out.startswith("State for an SDXL LoRA of rank 64")


def test_a_terminal_gets_a_bar_with_what_is_being_done(capsys, monkeypatch):
    seen, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        with waiting("Counting", 3) as begins:
            print("a result")
            begins("ADAMW")
            begins("LION")
        text = ""
        while "Counting: LION" not in text:  # a terminal gives what it has so far
            text += os.read(seen, 100_000).decode()
    os.close(seen)
    assert "Counting" in text
    assert "Counting: ADAMW" in text
    assert "Counting: LION" in text
    assert "1/3" in text
    assert "a result" not in text
    assert capsys.readouterr().out == "a result\n"


def test_who_chooses_by_names_is_named_with_whose_names_they_are(capsys):
    assert main(["memory", "MUON"]) == 0
    assert "That of MUON depends on the names of the layers, here diffusers'." in capsys.readouterr().out
    main(["memory", "ADAMW"])
    assert "names" not in capsys.readouterr().out
