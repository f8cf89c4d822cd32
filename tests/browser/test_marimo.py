"""The form in marimo, which runs a cell again when a widget that it uses has changed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from time import monotonic, sleep

import pytest
from browser.lab_server import PATIENCE
from playwright.sync_api import expect

NOTEBOOK = """import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    import diffopt_widgets as dw
    form = mo.ui.anywidget(dw.Form(dw.Settings("PRODIGY", schedule="COSINE")))
    form
    return dw, form, mo

@app.cell
def _(form, mo):
    mo.md(f"chosen: {form.settings!r}; {len(form.value)} traits")
"""


@pytest.fixture
def address(tmp_path):
    """Where marimo serves the notebook as an app."""
    marimo = shutil.which("marimo")
    if marimo is None:
        missing = "marimo is not installed. To fix it: pip install marimo"
        pytest.fail(missing) if os.environ.get("DIFFOPT_NEEDS_MARIMO") else pytest.skip(missing)
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [marimo, "run", "notebook.py", "--headless", "--no-token", f"--port={port}"]
    environment = os.environ | {"DIFFOPT_CONFIG_DIR": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            end = monotonic() + PATIENCE
            while monotonic() < end and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                except OSError:
                    sleep(0.1)  # between two questions, not instead of one
                else:
                    break
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_a_cell_that_reads_the_form_runs_after_each_change(address, browser):
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error.stack))
    page.goto(address)
    said = page.get_by_text("chosen: Settings(")
    expect(said).to_contain_text("Settings('PRODIGY', lr=1.0, schedule='COSINE')")
    rate = page.locator("[data-name=lr] input[type=text]")
    assert rate.evaluate("input => getComputedStyle(input).borderTopWidth") == "1px"  # without Jupyter's colours too
    rate.fill("0.5")
    expect(said).to_contain_text("Settings('PRODIGY', lr=0.5, schedule='COSINE')")
    page.get_by_label("Optimizer", exact=True).select_option("LION")
    expect(said).to_contain_text("Settings('LION', lr=0.0001, schedule='COSINE')")
    page.close()
    assert not errors
