"""A JupyterLab server of a test process's own: its port, settings, notebooks and kernels are nobody else's."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

PATIENCE = 60
"""Seconds for what takes one or two; a busy machine is not a failure."""
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
        """End all kernels: what they train would make others wait."""
        for kernel in self.get("/api/kernels"):
            self._ask("DELETE", f"/api/kernels/{kernel['id']}").close()

    def shut_down_kernel_of(self, notebook: str) -> None:
        """End the kernel of one notebook."""
        for session in self.get("/api/sessions"):
            if session["path"] == notebook:
                self._ask("DELETE", f"/api/sessions/{session['id']}").close()

    def _ask(self, method: str, path: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=PATIENCE)


@contextmanager
def started(home: Path, policy: str = "") -> Iterator[Jupyter]:
    """Run a server in this folder, and end it afterwards; its pages come with this Content-Security-Policy."""
    server = Jupyter(
        f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16), home / "root", home / "runtime", home / "diffopt"
    )
    server.root.mkdir()
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(_command(server), env=_environment(home, server, policy), stdout=log, stderr=log)
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


def _environment(home: Path, server: Jupyter, policy: str) -> dict[str, str]:
    """Nothing of the person's own Jupyter is read or written."""
    config = home / "config"
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    if policy:
        headers = {"headers": {"Content-Security-Policy": policy}}
        (config / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"tornado_settings": headers}}))
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
