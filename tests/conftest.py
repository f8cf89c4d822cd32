"""What all tests share: torch on one thread, and the browser's tests last, or with `-n 2` beside the others."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import torch

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

BROWSER = Path(__file__).parent / "browser"


def pytest_configure() -> None:
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick answers first; and Playwright keeps an event loop running in this thread until the session ends."""
    items.sort(key=lambda item: BROWSER in item.path.parents)
    for item in items:
        if BROWSER in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With `-n 2`, all tests with a browser go to one process and all others to the other.

    Playwright's event loop would be in the way of others, and two browsers in that of one another.
    """
    from xdist.scheduler import LoadScopeScheduling

    class BrowserApart(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "browser" if nodeid.startswith("tests/browser/") else "python"

    return BrowserApart(config, log)
