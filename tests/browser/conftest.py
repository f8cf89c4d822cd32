"""A real JupyterLab and Notebook 7 in a real Chromium; nothing of one test process is another's.

Loading a page, starting a kernel and importing torch take longer than most tests. So each module has one page and one
kernel for each of the two applications, which `notebook` gives to one test after the other with other cells. A test in
which something else is tested, or which leaves more behind than can be taken away, asks for `fresh_notebook` or
`patched_page`.

With DIFFOPT_SCREENSHOTS naming a folder, `Notebook.screenshot` writes pictures there; with DIFFOPT_APP=notebook all tests
that do not choose run in Notebook 7.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from browser.lab_server import PATIENCE, Jupyter, started
from browser.notebook_page import Notebook
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

CHROMIUM_FLAGS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
APP = os.environ.get("DIFFOPT_APP", "lab")
WELL = pytest.StashKey[bool]()
"""Whether the body of a test has passed."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call":
        item.stash[WELL] = report.passed
    return report


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with started(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = "there is no Chromium. To fix it: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        browser = _launch(playwright, path)
        yield browser
        browser.close()


def _launch(playwright: Playwright, path: str) -> Browser:
    return playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)


@dataclass
class Warm:
    """The notebooks that the tests of one module have in turn, one for each application."""

    jupyter: Jupyter
    browser: Browser
    module: str
    opened: dict[str, Notebook] = field(default_factory=dict)

    def take(self, app: str, cells: Sequence[str], *look: Any) -> Notebook:
        """Return the notebook of an application, with these cells, theme, width and height."""
        if app in self.opened:
            self.opened[app].show(cells, *look)
        else:
            self.opened[app] = Notebook.made(self.jupyter, self.browser, f"{self.module}-{app}", app)
            self.opened[app].open(cells, *look)
        return self.opened[app]

    def give_back(self, app: str, *, well: bool) -> None:
        """Make a notebook ready for the next test; after a failure it is closed, since anything may be left in it."""
        clean = False
        try:
            if well:
                self.opened[app].clear()
                clean = not self.opened[app].page_errors
        finally:
            if not clean:
                self.opened.pop(app).close()


@pytest.fixture(scope="module")
def warm(jupyter: Jupyter, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Warm]:
    module = Warm(jupyter, browser, request.path.stem)
    yield module
    for found in module.opened.values():
        found.close()


@pytest.fixture
def notebook(warm: Warm, request: pytest.FixtureRequest) -> Iterator[Callable[..., Notebook]]:
    """Return a function that puts code cells into the module's notebook; afterwards no page error may have been left."""
    forget(warm.jupyter)
    apps: list[str] = []

    def give(
        cells: Sequence[str], *, app: str = APP, theme: str = "light", width: int = 1400, height: int = 1000
    ) -> Notebook:
        assert app not in apps, "another notebook beside the first one is asked for with fresh_notebook"
        apps.append(app)
        return warm.take(app, cells, theme, width, height)

    yield give
    given = [warm.opened[app] for app in apps]
    for app in apps:
        warm.give_back(app, well=request.node.stash.get(WELL, False))
    no_errors(given)


@pytest.fixture
def patched_page(notebook: Callable[..., Notebook], warm: Warm) -> Iterator[Callable[..., Notebook]]:
    """Return what `notebook` does, for a test that changes the page itself: it is loaded anew afterwards."""
    yield notebook
    for found in warm.opened.values():
        found.reload()


@pytest.fixture
def fresh_notebook(
    jupyter: Jupyter, browser: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Return a function that opens a notebook of code cells in a page and a kernel of its own, which end with the test.

    `prepare` gets the page before anything is loaded.
    """
    forget(jupyter)
    opened: list[Notebook] = []

    def open_notebook(
        cells: Sequence[str],
        *,
        app: str = APP,
        theme: str = "light",
        width: int = 1400,
        height: int = 1000,
        touch: bool = False,
        prepare: Callable[[Page], object] = lambda _: None,
    ) -> Notebook:
        name = f"{request.node.name.replace('[', '-').replace(']', '')}-{len(opened)}"
        opened.append(Notebook.made(jupyter, browser, name, app, touch=touch))
        prepare(opened[-1].page)
        opened[-1].open(cells, theme, width, height)
        return opened[-1]

    yield open_notebook
    for found in opened:
        found.close()
    no_errors(opened)


def forget(jupyter: Jupyter) -> None:
    """Remove what the forms of another test have remembered."""
    shutil.rmtree(jupyter.remembered, ignore_errors=True)


def no_errors(notebooks: Iterable[Notebook]) -> None:
    errors = [error for one in notebooks for error in one.page_errors]
    assert not errors, "\n\n".join(errors)
