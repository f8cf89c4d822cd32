"""What a bare machine must have for these measurements, and the rest out of a folder of wheels that travels along.

Only the standard library is needed here. `python packages.py prepare` fills the folder on a machine with a network;
`python packages.py install FOLDER` unpacks there what is not installed in the very version that was carried.
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
WHEELS = HERE / "wheels"
PINS = HERE.parents[1] / "binder" / "constraints.txt"

EXPECTED = {"torch": (2, 4), "numpy": (1, 26)}
"""What must be there already, since it belongs to the machine and its driver; with the least version."""
PYTHON = (3, 11)
"""As the versions are pinned for; pytest needs more packages before."""
CARRIED = (
    "adv_optm",
    "came-pytorch",
    "dadaptation",
    "iniconfig",
    "lion-pytorch",
    "markdown-it-py",
    "mdurl",
    "opt_einsum",
    "packaging",
    "platformdirs",
    "pluggy",
    "prodigy-plus-schedule-free",
    "prodigyopt",
    "Pygments",
    "pytest",
    "pytorch_optimizer",
    "rich",
    "schedulefree",
)
"""In Python alone, so that a wheel made on any machine fits."""
COMPILED = ("bitsandbytes",)
"""For Linux on x86-64, with a library for each CUDA from 11.8 on; 43 MB."""
NEEDED = ("pytest", "packaging", "rich", "platformdirs")
"""Without these nothing runs; without an optimizer's package its rows say what is missing."""


def main(arguments: list[str]) -> int:
    """Carry out one of the two commands."""
    match arguments:
        case ["prepare"]:
            prepare(WHEELS)
        case ["install", folder]:
            return install(WHEELS, Path(folder))
        case _:
            print(f"usage: {Path(__file__).name} prepare | install FOLDER", file=sys.stderr)
            return 2
    return 0


def prepare(folder: Path) -> None:
    """Fetch the wheels in the versions that are pinned, or build them where a package has none."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip"]
    pins = pinned(PINS)
    wanted = [f"{name}=={pins[canonical(name)]}" for name in CARRIED]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), *wanted], check=True)
    for name in COMPILED:
        platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (17, 24, 28)]
        wheel = f"{name}=={pins[canonical(name)]}"
        command = [*pip, "download", "-q", "--no-deps", "--only-binary=:all:", *platforms, "-d", str(folder), wheel]
        subprocess.run(command, check=True)
    size = sum(wheel.stat().st_size for wheel in folder.glob("*.whl"))
    print(f"{folder}: {len(list(folder.glob('*.whl')))} wheels, {size / 2**20:.0f} MiB")


def install(wheels: Path, folder: Path) -> int:
    """Unpack into a folder, which then goes on PYTHONPATH, what this machine has not. 1 where something must be done first."""
    troubles = missing()
    if troubles:
        print("This machine cannot run the measurements:", *troubles, sep="\n  ", file=sys.stderr)
        return 1
    there = carried(wheels)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (version, wheel) in there.items():
        if installed(name) != version:
            with zipfile.ZipFile(wheel) as file:
                file.extractall(folder)  # these wheels have neither scripts nor parts that go elsewhere
            print(f"{name} {version} from {wheel.name} (here: {installed(name) or 'not installed'})")
    absent = [name for name in (*CARRIED, *COMPILED) if not installed(name) and canonical(name) not in there]
    if absent:
        print(
            f"neither installed nor in {wheels}: {', '.join(absent)}.", "Rows that need them say so.", file=sys.stderr
        )
    needed = [name for name in NEEDED if name in absent]
    if needed:
        print(f"Nothing runs without {', '.join(needed)}: run `tests/gpu/check prepare` first.", file=sys.stderr)
    return bool(needed)


def missing() -> list[str]:
    """Give what this machine must have and has not, a sentence each."""
    found = []
    if sys.version_info < PYTHON:
        found.append(f"Python {'.'.join(map(str, PYTHON))} or later is needed; this is {sys.version.split()[0]}")
    for name, least in EXPECTED.items():
        words = f"{name} {'.'.join(map(str, least))} or later is needed"
        version = installed(name)
        if version is None:
            found.append(
                f"{words}, in the build for this machine's driver; {sys.executable} has none (PYTHON=… takes another)"
            )
        elif tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < least:
            found.append(f"{words}; {version} is installed")
    return found


def installed(name: str) -> str | None:
    """The version of a package; None when it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def carried(wheels: Path) -> dict[str, tuple[str, Path]]:
    """Versions and files of the wheels in a folder, by canonical name."""
    parts = ((wheel.name.split("-"), wheel) for wheel in sorted(wheels.glob("*.whl")))
    return {canonical(name): (version, wheel) for (name, version, *_), wheel in parts}


def pinned(path: Path) -> dict[str, str]:
    """The versions in a file of constraints, by canonical name."""
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text("utf-8"), re.MULTILINE)
    return {canonical(name): version for name, version in found}


def canonical(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
