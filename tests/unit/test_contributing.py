"""What CONTRIBUTING.md and docs/architecture.md say of files, tasks and commands is so."""

import re
import shutil
import subprocess
import sys

import pytest
from places import ROOT

GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAP = (ROOT / "docs" / "architecture.md").read_text("utf-8")
QUOTED = re.compile(r"`([^`\n]+)`")
PACKAGE = ROOT / "diffopt_widgets"


def quoted(text):
    return dict.fromkeys(QUOTED.findall(text))


def test_every_path_of_the_guide_is_there():
    paths = [word for word in quoted(GUIDE) if "/" in word and not re.search(r" |NAME|^static/", word)]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("text", [GUIDE, MAP], ids=["CONTRIBUTING.md", "architecture.md"])
def test_every_link_leads_to_a_file(text):
    folder = ROOT if text is GUIDE else ROOT / "docs"
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert [link for link in links if not link.startswith("http") and not (folder / link).exists()] == []


def test_every_task_of_the_guide_is_in_the_justfile():
    tasks = set(re.findall(r"^(\w[\w-]*)(?: [^:=\n]*)?:(?!=)", (ROOT / "justfile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bjust ([a-z]+)", GUIDE))
    assert named >= {"quick", "full", "browser", "lint", "types", "js", "probe"}
    assert named <= tasks


def test_the_justfile_can_be_read():
    if (just := shutil.which("just")) is None:
        pytest.skip("just is not installed: it belongs to the extra dev")
    listed = subprocess.run([just, "--summary"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert {"quick", "slow", "browser", "full"} <= set(listed)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ENTRIES", "diffopt_widgets/catalogue/families/nadam.py"),
        ("FAMILIES", "diffopt_widgets/catalogue/__init__.py"),
        ("BREAKING", "tests/conformance/test_catalogue.py"),
        ("COMMANDS", "diffopt_widgets/cli/main.py"),
        ("WIDGETS", "tests/unit/widgets/page/test_pages.py"),
    ],
)
def test_the_lists_to_add_to_are_where_the_guide_says(name, path):
    assert f"`{name}`" in GUIDE
    assert re.search(rf"^{name}\b.* = ", (ROOT / path).read_text("utf-8"), re.MULTILINE)


def test_the_map_has_every_room_and_no_other():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    table = MAP.split("\n## Packages")[1].split("Imports go downwards")[0]
    named = set(re.findall(r"^\|[^|]*\| `(\w+)/", table, re.MULTILINE))
    assert named == rooms


def test_the_map_has_the_layers_that_are_checked():
    layers = (ROOT / "pyproject.toml").read_text("utf-8").split("layers = [")[1].split("]")[0]
    checked = [re.findall(r"\w+", line) for line in re.findall(r'"([^"]+)"', layers)]
    drawn = MAP.split("without exceptions:\n\n")[1].split("\n\n")[0]
    assert [re.findall(r"\w+", line.split("(")[0]) for line in drawn.splitlines()] == checked


@pytest.mark.slow
def test_the_command_can_be_run_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "diffopt_widgets", "options", "SGD"], capture_output=True, text=True, check=True
    )
    assert "SGD" in done.stdout
