"""The oldest and the newest supported versions of every dependency, and the supported versions of Python.

Each is tried in a virtual environment of its own, made by uv in a temporary folder. torch is taken as a CPU build from what
this machine's pip is told to look through, as `TORCH` names it: where there is no such build for a version of Python, the
parts of the package that need no torch are tried, and what needs it must say so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from operations import check
from places import ROOT, TESTS
from tried import Tried

TORCH = os.environ.get("DIFFOPT_TORCH", "torch==2.13.0+cpu")
SMOKE = (
    *("settings/test_settings.py", "catalogue/test_schedules.py", "optimizers/test_factory.py", "rates"),
    *("training", "execution/test_continue.py", "store/test_store.py", "watching/test_watch.py"),
    *("widgets/form", "widgets/plot/test_plot.py", "widgets/bench", "widgets/tables", "drawing/test_run_figures.py"),
)
"""Tests that touch each dependency, without slow cases."""
WITHOUT_TORCH = (
    "anywidget",
    "ipywidgets",
    "latex2mathml",
    "numpy",
    "packaging",
    "platformdirs",
    "plotly",
    "psutil",
    "rich",
)
TORCHLESS = """
import diffopt_widgets as dw
for key in dw.list_optimizers():
    settings = dw.Settings(key)
    assert dw.Settings.from_json(settings.to_json()) == settings
    compile(dw.export(settings), key, "exec")
history = dw.History(("a",))
history.extend_columns([1, 2], {"loss": [2.0, 1.0]})
plot = dw.LivePlot()
plot.add_run("a", "a", history)
assert plot.svg().startswith("<svg") and len(plot.figure().data)
try:
    run = dw.train("ADAMW", "swiss_roll", 1, progress=False)
    assert run.status == "failed"
    words = run.message
except ImportError as error:
    words = str(error)
print(f"{len(dw.list_optimizers())}|{words}")
"""


@contextmanager
def environment(python: str) -> Iterator[tuple[Path, Path]]:
    """Make a virtual environment, and give its Python and uv."""
    with tempfile.TemporaryDirectory() as folder:
        tools, made = Path(folder) / "tools", Path(folder) / "env"
        subprocess.run([sys.executable, "-m", "venv", tools], check=True)
        subprocess.run([tools / "bin" / "pip", "install", "-q", "uv"], check=True)
        subprocess.run([tools / "bin" / "uv", "venv", "-q", "--python", python, made], check=True)
        yield made / "bin" / "python", tools / "bin" / "uv"


def install(uv: Path, python: Path, *what: str) -> None:
    """Install into an environment, from the same places as this machine's pip."""
    where = [f"--find-links={place}" for place in os.environ.get("PIP_FIND_LINKS", "").split()]
    command = [uv, "pip", "install", "-q", "--python", python, *where, *what]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    check(done.returncode == 0, " ".join(map(str, command)), done.stderr[-2000:])
    installed = subprocess.run([uv, "pip", "freeze", "--python", python], check=True, capture_output=True, text=True)
    check("nvidia-" not in installed.stdout, "a CUDA build of torch was installed")


def smoke(python: Path) -> str:
    """Run the tests, on the source tree; return how many passed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    tests = [str(TESTS / "unit" / name) for name in SMOKE]
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not slow",
        "-o",
        "filterwarnings=default",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    check(done.returncode == 0, done.stdout[-6000:], done.stderr[-1000:])
    found = re.search(r"(\d+) passed", done.stdout)
    check(found, done.stdout[-300:])
    return found[1] if found else ""


def direct() -> list[str]:
    """Return what the package depends on, as pyproject.toml has it."""
    import tomllib  # Python 3.11 or newer

    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]


def resolved(resolution: str) -> Tried:
    """Install one end of every supported range beside the CPU build of torch, and run the tests."""
    with environment(sys.executable) as (python, uv):
        others = [requirement for requirement in direct() if not requirement.startswith("torch>")]
        install(uv, python, f"--resolution={resolution}", *others, TORCH)
        install(uv, python, "pytest", "hypothesis", "pandas", "ipykernel", "pytest-xdist", "nbformat")
        install(uv, python, "--no-deps", str(ROOT))  # its metadata name the versions that messages ask for
        passed = smoke(python)
        names = (
            "ipywidgets",
            "anywidget",
            "numpy",
            "plotly",
            "bitsandbytes",
            "pytorch_optimizer",
            "prodigyopt",
            "torch",
        )
        code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
        told = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True)
    end = "oldest" if resolution == "lowest-direct" else "newest"
    return Tried(
        f"the {end} supported version of every dependency but torch",
        int(passed),
        "these tests pass",
        told.stdout.strip(),
    )


def old_widgets() -> Tried:
    """Use ipywidgets 7.7.1 beside the newest of everything else."""
    with environment(sys.executable) as (python, uv):
        others = [requirement for requirement in direct() if not requirement.startswith("torch>")]
        install(uv, python, *others, TORCH, "ipywidgets==7.7.1")
        install(uv, python, "pytest", "hypothesis", "pandas", "ipykernel", "pytest-xdist", "nbformat")
        install(uv, python, "--no-deps", str(ROOT))  # its metadata name the versions that messages ask for
        passed = smoke(python)
    return Tried("ipywidgets 7.7.1, the rest as new as can be", int(passed), "these tests pass")


def pythons(versions: Iterable[str] = ("3.10", "3.12", "3.13")) -> Iterator[Tried]:
    """Try other versions of Python without torch, and that it is named where it is needed."""
    for version in versions:
        with environment(version) as (python, uv):
            wanted = [one for one in direct() if re.split(r"[<>=]", one)[0] in WITHOUT_TORCH]
            install(uv, python, *wanted)
            done = subprocess.run(
                [python, "-c", TORCHLESS],
                check=False,
                capture_output=True,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            check(done.returncode == 0, version, done.stderr[-3000:])
            check("|" in done.stdout, "training without torch is not refused:", done.stdout)
            count, message = done.stdout.strip().split("|")
            check("torch" in message, message)
        yield Tried(
            f"Python {version} without torch (no CPU build of it here)",
            1,
            f"settings, code and texts of {count} optimizers, plot and figure; training names what is missing",
        )
