"""What the tests for a GPU share: which device they are on, where their rows go, and how much time is left.

Without a GPU they are left out; with `-m gpu` they are skipped, with the reason. `tests/gpu/check` runs them all, and with
`--dry`, where there is no GPU, on the CPU as far as that goes.
"""

from __future__ import annotations

import contextlib
import platform
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu.rows import NO_DEVICE, Log, Row, Verdict
from gpu.stages import STAGES, Stage

HERE = Path(__file__).parent
DEVICE_LOST = 3
"""The exit status after which a new process must go on: the GPU answers this one no more."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpu")
    group.addoption("--rows", type=Path, help="the file that rows are appended to")
    group.addoption("--dry", action="store_true", help="without a GPU, run on the CPU what can be")
    group.addoption("--until", type=float, default=float("inf"), help="when to be done, as time.time() tells it")
    group.addoption("--times", type=float, default=1.0, help="give each stage so many times as long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    own = [item for item in items if HERE in item.path.parents]
    for item in own:
        item.add_marker(pytest.mark.gpu)
    if torch.cuda.is_available() or config.getoption("--dry", default=False):
        return
    if "gpu" in str(config.getoption("markexpr")):
        for item in own:
            item.add_marker(pytest.mark.skip(reason=NO_DEVICE))
    elif own:
        items[:] = [item for item in items if item not in own]
        config.hook.pytest_deselected(items=own)


@dataclass
class Stand:
    """Where a stage stands: its rows so far, and when it must be over."""

    stage: Stage
    device: str
    log: Log | None
    until: float
    rows: list[Row] = field(default_factory=list)

    def add(self, what: str, value: str, ok: bool | None = None, *, device: str | None = None, **figures: Any) -> None:
        """Write down what was measured; `ok` says whether the reach is met, where there is one."""
        verdict: Verdict = "seen" if ok is None else "met" if ok else "missed"
        self.put(Row(self.stage.key, what, device or self.device, verdict, value, figures))

    def put(self, row: Row) -> None:
        """Write down a row as it is."""
        self.rows.append(row)
        if self.log:
            self.log.row(row)

    def fact(self, name: str, value: object) -> None:
        """Write down something else that the result is to hold."""
        if self.log:
            self.log.put(name, value)

    def missed(self) -> list[str]:
        """Give what did not reach what it should."""
        return [f"{row.what}: {row.value}" for row in self.rows if row.verdict == "missed"]

    def each(self, things: Any) -> Any:
        """Give one thing after the other while there is time, and write down which were left."""
        left = list(things)
        while left:
            if time.time() > self.until:
                words = f"time was up; left: {', '.join(map(str, left))}"
                self.put(Row(self.stage.key, "the rest", self.device, "cut", words, {"left": len(left)}))
                return
            yield left.pop(0)

    @contextlib.contextmanager
    def failing(self, what: str) -> Any:
        """Make a row of what one of many raises, and go on; where the GPU itself is lost, raise."""
        try:
            yield
        except Exception as error:
            self.put(Row(self.stage.key, what, self.device, "failed", words_of(error)))
            if not gpu_answers():
                raise


def words_of(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def name_of(item: pytest.Item) -> str:
    """What a test is about, in words."""
    return item.name.removeprefix("test_").replace("_", " ").replace("[", ": ").rstrip("]")


def gpu_answers() -> bool:
    """Whether the GPU, where there is one, still does what it is asked: after some errors it never does."""
    if not torch.cuda.is_available():
        return True
    try:
        torch.cuda.synchronize()
        return float(torch.ones(2, device="cuda").sum()) == 2.0
    except Exception:  # noqa: BLE001  # whatever it is, it does not answer
        return False


@pytest.fixture(scope="session", autouse=True)
def _machine(request: pytest.FixtureRequest) -> None:
    if path := request.config.getoption("--rows", default=None):
        Log(path).put("machine", machine())


def machine() -> dict[str, str]:
    """Name the machine and what is installed on it."""
    from diffopt_widgets.catalogue import list_optimizers
    from diffopt_widgets.probe.table import installed

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    found["torch build"] = str(torch.__version__)
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = properties.name
        found["memory"] = f"{properties.total_memory / 2**30:.0f} GiB"
        found["capability"] = f"{properties.major}.{properties.minor}"
        found["cuda"] = str(torch.version.cuda)
        with contextlib.suppress(Exception):  # it is not everywhere
            query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            found["driver"] = subprocess.run(
                query, capture_output=True, text=True, check=True, timeout=20
            ).stdout.split()[0]
    return found | {name: version for name, version in sorted(installed(list_optimizers()).items()) if name != "torch"}


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Any:
    """Give where the stage stands; its begin and end are written down too."""
    key = request.path.stem.removeprefix("test_")
    stage = next(stage for stage in STAGES if stage.key == key)
    path, until, times = (
        request.config.getoption(name, default=other)
        for name, other in (("--rows", None), ("--until", float("inf")), ("--times", 1.0))
    )
    log = Log(path) if path else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    stand = Stand(stage, device, log, min(time.time() + 0.9 * times * stage.seconds, until))
    stand.fact("begin", key)
    yield stand
    if not gpu_answers():
        stand.put(Row(key, "the GPU", device, "failed", "it answers no more; the next stage begins in a new process"))
        pytest.exit("the GPU answers no more", returncode=DEVICE_LOST)
    stand.fact("end", key)


@pytest.fixture
def device(rows: Stand) -> str:
    """Give the device to measure on: the GPU, or in a dry run the CPU."""
    return rows.device


@pytest.fixture
def cuda(rows: Stand, request: pytest.FixtureRequest) -> str:
    """Give the GPU, for what nothing but a GPU can show."""
    if rows.device == "cuda":
        return "cuda"
    what = name_of(request.node)
    rows.put(Row(rows.stage.key, what, "cuda", "not run", NO_DEVICE))
    return pytest.skip(NO_DEVICE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Make a row of what a test raises, beside the rows that it missed."""
    report = yield
    stand = getattr(item, "funcargs", {}).get("rows")
    if report.failed and call.excinfo is not None and isinstance(stand, Stand):
        told = call.excinfo.errisinstance(AssertionError) and stand.missed()
        if not told:
            stand.put(Row(stand.stage.key, name_of(item), stand.device, "failed", words_of(call.excinfo.value)))
    return report
