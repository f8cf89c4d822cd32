"""What all tests share: torch on one thread, marks by folder, the browser's tests apart, and `--unmarked-slow`."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
import torch

TESTS = Path(__file__).parent
BROWSER = TESTS / "browser"
MARKS = ("browser", "faults", "gpu")
"""A test in a folder of this name has this mark."""
SLOW_SECONDS = 0.5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--unmarked-slow", action="store_true", help=f"list cases over {SLOW_SECONDS} s that are not marked slow"
    )


def pytest_configure(config: pytest.Config) -> None:
    # With -n: a process has whole files, for what they share is made once, and takes from another's when it has no more.
    if config.getoption("dist", "no") == "load":
        config.option.dist = "worksteal"
    # Several times faster for models of this size, and the same numbers on every machine.
    torch.set_num_threads(1)
    # A slow machine is not a wrong answer.
    hypothesis.settings.register_profile("patient", hypothesis.settings(), deadline=None)
    hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person's own is read or written, and nothing is remembered from test to test."""
    folder = tmp_path_factory.getbasetemp() / "configuration" / uuid.uuid4().hex  # made when something is written there
    monkeypatch.setenv("DIFFOPT_CONFIG_DIR", str(folder))
    monkeypatch.setenv("DIFFOPT_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setattr(
        "diffopt_widgets.tasks.registry._OWN", {}
    )  # the tasks that a test gives to `dw.train` or registers


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the browser's tests unless they are asked for by path: Playwright keeps an event loop running in the thread."""
    if collection_path != BROWSER:
        return None
    asked = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    return None if any(path == BROWSER or BROWSER in path.parents for path in asked) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folders = item.path.relative_to(TESTS).parts[:-1] if TESTS in item.path.parents else ()
        for name in set(folders) & set(MARKS):
            item.add_marker(name)


# ---------------------------------------------------------------------------------------------------- --unmarked-slow

PROCESSOR = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep what a case takes of the processor, its children's time too: that does not depend on what else runs."""
    item.stash[PROCESSOR] = _processor()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    before, item.stash[PROCESSOR] = item.stash[PROCESSOR], _processor()
    report.user_properties = [*report.user_properties, ("processor", item.stash[PROCESSOR] - before)]
    return report


def _processor() -> float:
    return sum(os.times()[:4])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--unmarked-slow"):
        return
    taken: Counter[str] = Counter()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if isinstance(report, pytest.TestReport) and not {"slow", *MARKS} & set(report.keywords):
            # Without it are the package's own examples, which stand outside the folder of these hooks.
            taken[report.nodeid] += dict(report.user_properties).get("processor", 0.0)
    terminalreporter.section(f"over {SLOW_SECONDS} s and not marked slow")
    for name, seconds in taken.most_common():
        if seconds > SLOW_SECONDS:
            terminalreporter.write_line(f"{seconds:6.2f}  {name}")
