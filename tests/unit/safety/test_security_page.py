"""SECURITY.md says what is so: each of its sentences that a test can hold is held here or in the tests beside this one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from places import ROOT

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
AUDIT = """
import json, os, sys
from pathlib import Path

written, reached = [], []
def audit(event, arguments):
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path, mode, flags = arguments
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (mode is None and flags & (os.O_WRONLY | os.O_RDWR)):
            written.append(os.fsdecode(path))
    elif event == "sqlite3.connect":
        written.append(str(arguments[0]))
    elif event in {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}:
        reached.append([event, repr(arguments[1:])])
        raise OSError("no network here")
    elif event in {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}:
        reached.append([event, repr(arguments)])
sys.addaudithook(audit)
"""
FLOW = """
import asyncio
import diffopt_widgets as dw
from diffopt_widgets.cli.main import main
from diffopt_widgets.widgets.form.exchange import read_settings

run = dw.train(dw.Settings("PRODIGY"), task="swiss_roll", steps=3, store="runs.sqlite", progress=False)
dw.RunStore("runs.sqlite").export(run.key, "table.csv")
read_settings(run.settings.to_json())
dw.export(run.settings)
dw.compare([run])
async def bench():
    opened = dw.lab(task="swiss_roll", steps=2)
    opened.form.type("lr", "0.5")
    opened.plot.to_html("page.html")
asyncio.run(bench())
main(["run", "LION", "--task", "swiss_roll", "--steps", "2"])
main(["options", "PRODIGY"])
print(json.dumps([written, reached]), file=sys.__stderr__)
"""


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """What a usual session writes and where it connects, as Python's own audit sees it."""
    folder = tmp_path_factory.mktemp("session")
    environment = {**os.environ, "DIFFOPT_CONFIG_DIR": str(folder / "config"), "HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-c", AUDIT + FLOW], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written, reached = json.loads(done.stderr.strip().splitlines()[-1])
    return folder, written, reached


@pytest.mark.slow
def test_nothing_is_sent_and_no_program_is_started(flow):
    assert flow[2] == []


@pytest.mark.slow
def test_only_what_the_page_names_is_written(flow):
    folder, written, _ = flow
    named = re.compile(
        r"(file://)?(/.*)?/?(config/(form\.json|\.form-\w+\.part)|runs\.sqlite(-journal)?(\?.*)?|table\.csv|page\.html|"
        r"diffopt-runs(/[\w.-]+(\.part)?)?)|/dev/null|.*/__pycache__/.*|.*\.pyc(\.\d+)?|/tmp/torchinductor.*"
        rf"|{re.escape(tempfile.gettempdir())}/\w{{8}}"  # tempfile looks whether it can write there
    )
    other = {str(path) for path in written if not named.fullmatch(str(path))}
    assert other == set()
    assert all(f"`{name}`" in PAGE for name in ("form.json", "to_html", "RunStore.export", "diffopt-runs"))
    held = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert held <= {"config", "runs.sqlite", "runs.sqlite-journal", "table.csv", "page.html", "diffopt-runs"}


def test_the_page_names_what_exists():
    for path in re.findall(r"\b(?:tests|binder)/[\w./]+\b", PAGE):
        assert (ROOT / path).is_file(), path
    recipes = (ROOT / "justfile").read_text("utf-8")
    for recipe in re.findall(r"`just (\w+)`", PAGE):
        assert re.search(rf"^{recipe}\b.*:", recipes, re.MULTILINE), recipe
    tried = Path(ROOT / "tests/faults/mutated_files.py").read_text("utf-8")
    assert "10_000" in tried


def test_no_page_of_ours_loads_anything_from_the_web():
    for path in (ROOT / "diffopt_widgets").rglob("static/*"):
        if path.suffix in {".js", ".css"}:
            text = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text("utf-8"), flags=re.DOTALL)
            assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(['\"]", text), (
                path
            )
