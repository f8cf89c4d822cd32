"""What leaves the repository: the wheel's files, light imports, the README's claims, Binder's files."""

import json
import os
import re
import subprocess
import sys
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution, metadata, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LIGHT = ("torch", "plotly", "ipywidgets", "IPython", "bitsandbytes", "pandas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the names in a wheel built from this tree, without fetching anything."""
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    with zipfile.ZipFile(folder / built.stdout.strip().splitlines()[-1]) as archive:
        return set(archive.namelist())


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = ROOT / "diffopt_widgets"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
    }
    assert {"diffopt_widgets/py.typed", "diffopt_widgets/tasks/data/digits.npz"} <= wanted
    assert wanted <= wheel
    assert {path.suffix for path in package.rglob("static/*")} >= {".js", ".css", ".gz"}


def test_the_wheel_holds_the_quickstart_and_nothing_else_of_the_repository(wheel):
    assert "diffopt_widgets/notebooks/quickstart.ipynb" in wheel
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"diffopt_widgets"}


def test_importing_the_package_is_light():
    code = f"import sys, diffopt_widgets; print(*[name for name in {LIGHT!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == ""


def test_settings_need_no_torch():
    code = "import sys; sys.modules['torch'] = None\nimport diffopt_widgets as dw; print(dw.Settings('PRODIGY').lr)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "1.0"


@pytest.mark.slow
def test_every_public_name_can_be_imported():
    code = "import diffopt_widgets as dw\nfor name in dw.__all__: getattr(dw, name)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_the_command_is_installed():
    (command,) = [entry for entry in distribution("diffopt-widgets").entry_points if entry.group == "console_scripts"]
    assert (command.name, command.value) == ("diffopt", "diffopt_widgets.cli.main:main")


def test_code_comes_early_in_the_readme():
    fences = [number for number, line in enumerate(README.splitlines(), start=1) if line.startswith("```")]
    assert fences[0] <= 30


def test_the_readme_marks_its_two_commands():
    commands = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n(.+)\n```", README))
    assert set(commands) == {"lab", "test"}
    assert all("-c binder/constraints.txt" in command for command in commands.values())


def test_the_files_that_the_readme_links_exist():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_constraints_pin_every_dependency():
    pins = dict(line.split("==") for line in _lines(ROOT / "binder" / "constraints.txt"))
    pinned = {_canonical(name) for name in pins}
    wanted = {_canonical(Requirement(line).name) for line in requires("diffopt-widgets") or []} - {"diffopt-widgets"}
    assert wanted - pinned == set()
    assert pins["torch"] == "2.13.0"
    assert not [pin for pin in pins.values() if "+" in pin], "a local version cannot be found by others"


@pytest.mark.parametrize("python", ["3.10.0", "3.11.0", "3.12.0"])
def test_no_pin_needs_a_later_python_than_its_marker_says(python):
    """Debian 12 has Python 3.11.2: a pin that needs 3.11.5 ends the README's first command there."""
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    wrong = []
    for line in (ROOT / "binder" / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pin = Requirement(line) if line and not line.startswith("#") else None
        if pin and (pin.marker is None or pin.marker.evaluate(environment)):
            with suppress(PackageNotFoundError):  # an extra's, not installed here
                needed = metadata(pin.name).get("Requires-Python") or ""
                wrong += [f"{line} needs Python {needed}"] if not SpecifierSet(needed).contains(python) else []
    assert wrong == []


def test_binder_installs_from_the_same_pins():
    lines = _lines(ROOT / "binder" / "requirements.txt")
    assert "-c constraints.txt" in lines
    assert "-e .[lab]" in lines


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_binder_can_run_its_scripts(name):
    assert os.access(ROOT / "binder" / name, os.X_OK)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_keeps_only_the_outputs_that_are_checked_or_said_to_be_for_reading(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            kept = "".join(cell["source"]).startswith(("# NBVAL_CHECK_OUTPUT", "# NBVAL_IGNORE_OUTPUT"))
            assert bool(cell["outputs"]) == kept, cell["id"]


def _lines(path: Path) -> list[str]:
    """Return the lines of a requirements file that are neither empty nor a comment, without their markers."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
