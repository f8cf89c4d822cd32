"""One notebook in a page of JupyterLab or Notebook 7, driven by tests that wait on conditions only."""

from __future__ import annotations

import ast
import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import nbformat
from browser.lab_server import PATIENCE, Jupyter
from jupyter_client.blocking.client import BlockingKernelClient
from playwright.sync_api import TimeoutError as PageTimeoutError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

SHOW = """async ([path, theme]) => {
  const app = window.jupyterapp;
  const main = [...app.shell.widgets('main')];
  const panel = main.find(({ context }) => context?.path === path);
  for (const other of main) if (other !== panel) other.dispose();
  app.shell.activateById(panel.id);
  await panel.context.revert();
  panel.content.mode = 'command';
  panel.content.node.scrollTop = 0;
  localStorage.clear();
  sessionStorage.clear();
  await app.commands.execute('apputils:change-theme', { theme });
}"""
"""Show what the file of the notebook holds now, and nothing beside it."""

RESET = """
async def end_what_runs():
    import asyncio, os
    ours = f"{os.sep}diffopt_widgets{os.sep}", f"{os.sep}ipykernel_"  # the package, and the cells
    codes = {task: getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()}
    tasks = [task for task, code in codes.items() if code and any(part in code.co_filename for part in ours)]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)

await end_what_runs()
import ipywidgets
ipywidgets.Widget.close_all()
get_ipython().reset(new_session=False)
"""
"""Leave nothing in the kernel but what has been imported."""


@dataclass
class Notebook:
    """One notebook, open in a page: `page` is Playwright's, the rest saves looking inside JupyterLab."""

    jupyter: Jupyter
    page: Page
    path: Path
    url: str
    theme: str = "light"
    page_errors: list[str] = field(default_factory=list)

    @classmethod
    def made(cls, jupyter: Jupyter, browser: Browser, name: str, app: str, *, touch: bool = False) -> Notebook:
        """Make a page of its own for a notebook of this name, which `write` makes and `open` shows."""
        path = jupyter.root / f"{name}.ipynb"
        place = {"lab": f"lab/workspaces/{name}/tree/{path.name}", "notebook": f"notebooks/{path.name}"}[app]
        page = browser.new_context(has_touch=touch).new_page()
        page.set_default_timeout(1000 * PATIENCE)
        made = cls(jupyter, page, path, f"{jupyter.url}/{place}?token={jupyter.token}")
        page.on("pageerror", lambda error: _keep(error.stack or error.message, made.page_errors))
        page.on("console", lambda message: _keep_printed(message, made.page_errors))
        return made

    def open(self, cells: Sequence[str], theme: str = "light", width: int = 1400, height: int = 1000) -> None:
        """Load the page with these code cells, and wait until its kernel can work."""
        self._write(cells, theme, width, height)
        self.page.goto(self.url)
        self._until_ready()

    def reload(self) -> None:
        """Load the page anew, as F5 does; the kernel and its variables stay."""
        self.page.reload()
        self._until_ready()

    def show(self, cells: Sequence[str], theme: str = "light", width: int = 1400, height: int = 1000) -> None:
        """Put other cells into the open notebook."""
        self._write(cells, theme, width, height)
        self.page.evaluate(SHOW, [self.path.name, THEMES[self.theme]])
        self._until_themed()

    def _write(self, cells: Sequence[str], theme: str, width: int, height: int) -> None:
        """Write a file of code cells without output, and make the page look as it is wanted."""
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=KERNEL), self.path)
        self.theme = theme
        self.page.set_viewport_size({"width": width, "height": height})

    def clear(self) -> None:
        """Take everything out of the page and the kernel, as a test leaves them, but what takes long to load."""
        self.show([])
        self._execute(RESET)
        self.page.mouse.move(0, 0)
        self.page.context.clear_permissions()

    def close(self) -> None:
        """Close the page and end the kernel."""
        self.page.context.close()
        self.jupyter.shut_down_kernel_of(self.path.name)

    def _until_ready(self) -> None:
        self.page.wait_for_function(
            """() => {
              const panel = window.jupyterapp?.shell.currentWidget;
              const session = panel?.context?.sessionContext;
              return panel?.context?.isReady && session?.isReady && session.session?.kernel?.status === 'idle';
            }""",
        )
        self.page.evaluate("window.jupyterapp.shell.collapseLeft?.()")
        self.change_theme(self.theme)

    def change_theme(self, theme: str) -> None:
        """Make the page light or dark."""
        self.theme = theme
        change = "async theme => void await window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
        self.page.evaluate(change, THEMES[theme])
        self._until_themed()

    def restart(self) -> None:
        """Restart the kernel, as the menu does."""
        self.page.evaluate("void (window.restarted = window.jupyterapp.commands.execute('kernelmenu:restart'))")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.page.evaluate("window.restarted")

    def _until_themed(self) -> None:
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
        clean = "!window.jupyterapp.shell.currentWidget.context.model.dirty"
        end = monotonic() + PATIENCE
        while True:  # what an output still changes while it is saved makes the notebook dirty again
            self.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
            with contextlib.suppress(PageTimeoutError):
                self.page.wait_for_function(clean, timeout=5_000)
                break
            assert monotonic() < end, "the notebook changes all the time, so it is never saved"
        return nbformat.read(self.path, as_version=4)

    def eval_python(self, expression: str) -> Any:
        """Return the value of an expression in the notebook's own kernel; it must have a JSON form."""
        answer = self._execute("", value=f"__import__('json').dumps({expression})")["user_expressions"]["value"]
        if answer["status"] != "ok":
            raise AssertionError(f"{expression}: {answer['ename']}: {answer['evalue']}")
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def _execute(self, code: str, **wanted: str) -> Any:
        """Execute code in the kernel, beside the page; returns the kernel's reply, with the expressions that are wanted."""
        client = BlockingKernelClient(connection_file=str(self.jupyter.runtime / f"kernel-{self._kernel_id()}.json"))
        client.load_connection_file()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)  # a thread that starts late would fail
        try:
            reply = client.execute(
                code, silent=True, store_history=False, user_expressions=wanted, reply=True, timeout=PATIENCE
            )
        finally:
            client.stop_channels()
        answer = reply["content"]
        if answer["status"] != "ok":
            raise AssertionError(f"{code}: {answer['ename']}: {answer['evalue']}")
        return answer

    def until_python(self, expression: str, *, seconds: float = PATIENCE) -> Any:
        """Wait until an expression in the kernel is true; returns its value."""
        end = monotonic() + seconds
        while not (value := self.eval_python(expression)):
            if monotonic() > end:
                raise AssertionError(f"after {seconds} seconds still not true: {expression}")
            self.page.wait_for_timeout(50)
        return value

    def sidebar(self, *, shown: bool) -> None:
        """Open or close the sidebar of JupyterLab, which takes room from the notebook."""
        change = "expandLeft" if shown else "collapseLeft"
        self.page.evaluate(f"window.jupyterapp.shell.{change}?.()")

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


def opened_elsewhere(file: nbformat.NotebookNode, fresh_notebook: Callable[..., Notebook]) -> Notebook:
    """Open the same file where nothing of it is trusted and no kernel knows its widgets."""
    copy = fresh_notebook(["pass"] * len(file.cells))
    copy.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    content = nbformat.read(copy.path, as_version=4)
    for cell, kept in zip(content.cells, file.cells, strict=True):
        cell.outputs = list(kept.outputs)
        cell.metadata.pop("trusted", None)
    nbformat.write(content, copy.path)
    copy.reload()
    return copy


def _keep(error: str, errors: list[str]) -> None:
    """Jupyter's own pages are not under test; a widget's module is loaded from a blob."""
    if "/static/" not in error or "blob:" in error:
        errors.append(error)


def _keep_printed(message: ConsoleMessage, errors: list[str]) -> None:
    """Anywidget and the widget manager catch what a widget throws and only print it."""
    if message.type == "error" and ("widget" in message.text.lower() or "blob:" in message.text):
        errors.append(message.text)
