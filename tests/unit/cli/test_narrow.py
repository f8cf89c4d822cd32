"""Tables and help in terminals of 40 and 80 columns: no line is longer, no word is lost or broken."""

import os
import pty
import re
import subprocess
import sys

import pytest

from diffopt_widgets.cli.main import main
from diffopt_widgets.cli.terminal import findings_table, runs_table
from diffopt_widgets.probe.doctor import Finding
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings import Settings
from diffopt_widgets.settings.plan import RunPlan

pytestmark = pytest.mark.slow

WIDTHS = [40, 60, 70, 80]
HEADS = {"optimizer", "state", "bytes", "per", "weight", "option", "seen", "evidence", "run"}
COMMANDS = ("lab", "run", "sweep", "options", "memory", "doctor", "probe")


def words(text):
    return set(re.sub(r"[,…]", " ", text).split())


def printed(capsys, width, monkeypatch, *arguments):
    monkeypatch.setenv("COLUMNS", str(width))
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            main(list(arguments))
    else:
        assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["options"],
        ["memory", "SGD,ADAMW,MUON,PRODIGY_PLUS_SCHEDULE_FREE"],
        pytest.param(["memory"], marks=pytest.mark.slow),
        pytest.param(["probe", "SGD", "LION"], marks=pytest.mark.slow),
        pytest.param(["doctor"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_table_fits_and_keeps_every_word(arguments, width, capsys, monkeypatch):
    wide = printed(capsys, 300, monkeypatch, *arguments)
    narrow = printed(capsys, width, monkeypatch, *arguments)
    assert max(map(len, narrow.splitlines())) <= width
    assert "…" not in narrow
    assert words(wide) - words(narrow) <= HEADS


def shown(renderable, width, capsys):
    from diffopt_widgets.cli.terminal import console

    out = console()
    out.width = width
    out.print(renderable)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
def test_findings_with_a_fix(width, capsys):
    fix = 'pip install --upgrade "prodigy-plus-schedule-free>=2.0.1"'
    finding = Finding(
        "PRODIGY_PLUS_SCHEDULE_FREE", False, "it is not installed, and nothing else can do what it does", fix
    )
    text = shown(findings_table("Optimizers", [finding]), width, capsys)
    assert max(map(len, text.splitlines())) <= width
    assert words(f"no {finding.name} {finding.words} → {fix}") <= words(text) | {'"prodigy-plus-schedule-free>=2.0.1"'}


@pytest.mark.parametrize("width", WIDTHS)
def test_runs_with_long_names(width, capsys):
    runs = [
        Run(RunPlan(Settings("PRODIGY", d_coef=d)), name=f"PRODIGY · d_coef {d} · weight_decay 0.01 · seed {d:.0f}")
        for d in (1, 2)
    ]
    text = shown(runs_table(runs), width, capsys)
    assert max(map(len, text.splitlines())) <= width
    assert {"d_coef", "1", "2", "weight_decay", "seed", "waiting", "applied", "evaluation", "(last)"} <= words(text)


@pytest.mark.parametrize("width", range(40, 90, 5))
def test_runs_with_short_names(width, capsys):
    runs = [Run(RunPlan(Settings("PRODIGY", d_coef=d)), name=f"PRODIGY · d_coef {d}") for d in (0.5, 1)]
    text = shown(runs_table(runs), width, capsys)
    assert max(map(len, text.splitlines())) <= width
    assert {"(last)", "(largest)", "steps/s", "waiting"} <= words(text)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_fits_and_breaks_no_word(command, width, capsys, monkeypatch):
    arguments = [*([command] if command else []), "--help"]
    wide = printed(capsys, 300, monkeypatch, *arguments)
    narrow = printed(capsys, width, monkeypatch, *arguments)
    long = [line for line in narrow.splitlines() if len(line) > width]
    assert all(line.startswith("  diffopt ") for line in long), "only examples, which are copied, are not wrapped"
    assert words(wide) - words(narrow) == set()
    for code in re.findall(r"`[^`]*`", wide.replace("\n", " ")):
        assert " ".join(code.split()) in narrow, "a command stands in one line"


@pytest.mark.slow
def test_a_real_terminal_of_40_columns():
    import fcntl
    import struct
    import termios

    seen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}} | {"TERM": "xterm"}
    command = [sys.executable, "-m", "diffopt_widgets", "memory", "ADAMW"]
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal, env=clean)
    os.close(terminal)
    text = b""
    while True:
        try:
            part = os.read(seen, 10_000)
        except OSError:  # the end of a pty
            break
        if not part:
            break
        text += part
    assert process.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())
    lines = plain.replace("\r", "\n").splitlines()
    assert any("743 MB" in line for line in lines)
    assert max(map(len, lines)) <= 40
