"""A real JupyterLab and Notebook 7 in a real Chromium, driven from tests that wait on conditions only.

The server, its settings and its notebooks live in a temporary folder. With DIFFOPT_SCREENSHOTS naming a folder,
`Notebook.screenshot` writes pictures there; with DIFFOPT_APP=notebook all tests that do not choose run in Notebook 7.
"""

from __future__ import annotations

import ast
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, expect, sync_playwright

CHROMIUM_FLAGS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE = 60  # seconds for what takes one or two; a busy machine is not a failure
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


@dataclass(frozen=True)
class Jupyter:
    """A running server: its address, its token, its notebooks, its kernels' connection files and their forms' memory."""

    url: str
    token: str
    root: Path
    runtime: Path
    remembered: Path

    def get(self, path: str) -> Any:
        """Return what the server's REST interface answers."""
        with self._ask("GET", path) as answer:
            return json.load(answer)

    def shut_down_kernels(self) -> None:
        """End what the notebooks have left running: it would make those that come after wait."""
        for kernel in self.get("/api/kernels"):
            self._ask("DELETE", f"/api/kernels/{kernel['id']}").close()

    def _ask(self, method: str, path: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=PATIENCE)


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    home = tmp_path_factory.mktemp("jupyter")
    server = Jupyter(
        f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16), home / "root", home / "runtime", home / "diffopt"
    )
    server.root.mkdir()
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(_command(server), env=_environment(home, server), stdout=log, stderr=log)
        try:
            _until_it_answers(server, process, Path(log.name))
            yield server
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _command(server: Jupyter) -> list[str]:
    options = {
        "ServerApp.port": server.url.rpartition(":")[2],
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": server.root,
        "IdentityProvider.token": server.token,
        "ServerApp.allow_root": True,
        "LabApp.expose_app_in_browser": True,
        "JupyterNotebookApp.expose_app_in_browser": True,
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    return command + [f"--{name}={value}" for name, value in options.items()]


def _environment(home: Path, server: Jupyter) -> dict[str, str]:
    """Nothing of the person's own Jupyter is read or written."""
    config = home / "config"
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    return os.environ | {
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "DIFFOPT_CONFIG_DIR": str(server.remembered),
        "OMP_NUM_THREADS": "1",
    }


def _until_it_answers(server: Jupyter, process: subprocess.Popen[bytes], log: Path) -> None:
    end = monotonic() + PATIENCE
    while monotonic() < end:
        if process.poll() is not None:
            break
        try:
            server.get("/api/status")
        except urllib.error.URLError:
            sleep(0.1)  # between two questions, not instead of one
        else:
            return
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
class Notebook:
    """One notebook, open in a page: `page` is Playwright's, the rest saves looking inside JupyterLab."""

    jupyter: Jupyter
    page: Page
    path: Path
    url: str
    theme: str
    page_errors: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Load the page and wait until its kernel can work."""
        self.page.goto(self.url)
        self._until_ready()

    def reload(self) -> None:
        """Load the page anew, as F5 does; the kernel and its variables stay."""
        self.page.reload()
        self._until_ready()

    def _until_ready(self) -> None:
        self.page.wait_for_function(
            """() => {
              const panel = window.jupyterapp?.shell.currentWidget;
              const session = panel?.context?.sessionContext;
              return panel?.context?.isReady && session?.isReady && session.session?.kernel?.status === 'idle';
            }""",
        )
        self.page.evaluate(
            """async (theme) => {
              const app = window.jupyterapp;
              if (app.shell.collapseLeft) app.shell.collapseLeft();
              await app.commands.execute('apputils:change-theme', { theme });
            }""",
            THEMES[self.theme],
        )
        light = json.dumps(self.theme == "light")
        self.page.wait_for_function(f"document.body.dataset.jpThemeLight === {light!r}")

    def run_cell(self, index: int, *, wait: bool = True) -> None:
        """Run one cell; with `wait`, until it has ended. Fails with the error that the cell ended in."""
        before = self._cell(index, "cell.model.executionCount")
        self.page.evaluate(
            """([index]) => {
              const { content } = window.jupyterapp.shell.currentWidget;
              content.activeCellIndex = index;
              window.ran = window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            [index],
        )
        if not wait:
            return
        self.page.wait_for_function(
            """([index, before]) => {
              const { model } = window.jupyterapp.shell.currentWidget.content.widgets[index];
              return model.executionCount !== null && model.executionCount !== before && model.executionState === 'idle';
            }""",
            arg=[index, before],
        )
        self._raise_error_of(index)

    def run_all(self) -> None:
        """Run every code cell, from the top."""
        for index, kind in enumerate(self._cells("cell => cell.model.type")):
            if kind == "code":
                self.run_cell(index)

    def output_text(self, index: int) -> str:
        """Return what the cell shows below itself, as text."""
        return str(self.output(index).inner_text())

    def output(self, index: int) -> Any:
        """Return a Playwright locator for what the cell shows below itself."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputArea")

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook; returns what the file now holds."""
        self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        self.page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
        return nbformat.read(self.path, as_version=4)

    def eval_python(self, expression: str) -> Any:
        """Return the value of an expression in the notebook's own kernel; it must have a JSON form."""
        client = BlockingKernelClient(connection_file=str(self.jupyter.runtime / f"kernel-{self._kernel_id()}.json"))
        client.load_connection_file()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)  # a thread that starts late would fail
        try:
            wanted = {"value": f"__import__('json').dumps({expression})"}
            reply = client.execute(
                "", silent=True, store_history=False, user_expressions=wanted, reply=True, timeout=PATIENCE
            )
        finally:
            client.stop_channels()
        answer = reply["content"]["user_expressions"]["value"]
        if answer["status"] != "ok":
            raise AssertionError(f"{expression}: {answer['ename']}: {answer['evalue']}")
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def until_python(self, expression: str, *, seconds: float = PATIENCE) -> Any:
        """Wait until an expression in the kernel is true; returns its value."""
        end = monotonic() + seconds
        while not (value := self.eval_python(expression)):
            if monotonic() > end:
                raise AssertionError(f"after {seconds} seconds still not true: {expression}")
            self.page.wait_for_timeout(50)
        return value

    def screenshot(self, name: str) -> None:
        """Keep a picture of the page in the folder of DIFFOPT_SCREENSHOTS, if there is one."""
        if folder := os.environ.get("DIFFOPT_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def _kernel_id(self) -> str:
        """Of this notebook, whichever tab is in front."""
        kernel_of = """name => [...window.jupyterapp.shell.widgets('main')]
          .find(({ context }) => context?.path === name).context.sessionContext.session.kernel.id"""
        return str(self.page.evaluate(kernel_of, self.path.name))

    def _cells(self, function: str) -> list[Any]:
        return list(self.page.evaluate(f"window.jupyterapp.shell.currentWidget.content.widgets.map({function})"))

    def _cell(self, index: int, expression: str) -> Any:
        return self._cells(f"cell => {expression}")[index]

    def _raise_error_of(self, index: int) -> None:
        outputs = self._cell(index, "cell.model.outputs?.toJSON() ?? []")
        for output in outputs:
            if output["output_type"] == "error":
                raise AssertionError(f"cell {index}: {output['ename']}: {output['evalue']}")


@pytest.fixture
def notebook(jupyter: Jupyter, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Notebook]]:
    """Return a function that opens a notebook of the given code cells; afterwards no page error may have been left."""
    shutil.rmtree(jupyter.remembered, ignore_errors=True)  # what another test's form remembered
    opened: list[Notebook] = []
    numbers = count(1)

    def open_notebook(
        cells: Sequence[str],
        *,
        app: str = os.environ.get("DIFFOPT_APP", "lab"),
        theme: str = "light",
        width: int = 1400,
        height: int = 1000,
        touch: bool = False,
    ) -> Notebook:
        name = f"{request.node.name.replace('[', '-').replace(']', '')}-{next(numbers)}"
        path = jupyter.root / f"{name}.ipynb"
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=KERNEL), path)
        place = {"lab": f"lab/workspaces/{name}/tree/{path.name}", "notebook": f"notebooks/{path.name}"}[app]
        page = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch).new_page()
        page.set_default_timeout(1000 * PATIENCE)
        found = Notebook(jupyter, page, path, f"{jupyter.url}/{place}?token={jupyter.token}", theme)
        page.on("pageerror", lambda error: _keep(error.stack or error.message, found.page_errors))
        page.on("console", lambda message: _keep_printed(message, found.page_errors))
        opened.append(found)
        found.open()
        return found

    yield open_notebook
    errors = [error for one in opened for error in one.page_errors]
    for one in opened:
        one.page.context.close()
    jupyter.shut_down_kernels()
    assert not errors, "\n\n".join(errors)


def _keep(error: str, errors: list[str]) -> None:
    """Jupyter's own pages are not under test; a widget's module is loaded from a blob."""
    if "/static/" not in error or "blob:" in error:
        errors.append(error)


def _keep_printed(message: ConsoleMessage, errors: list[str]) -> None:
    """Anywidget and the widget manager catch what a widget throws and only print it."""
    if message.type == "error" and ("widget" in message.text.lower() or "blob:" in message.text):
        errors.append(message.text)
