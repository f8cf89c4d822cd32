"""What a real Jupyter server keeps of the live plot for a page that was closed while a cell trains, and what it replays.

The server holds a kernel's messages for a page whose connection broke, until that page comes back or another comes. Here
a plot gets ten rows at each of 6,000 updates, as many as ten minutes bring, and nobody listens.
Run: python tests/benchmarks/bench_lost_page.py
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

UPDATES = 6_000
CODE = """
import time
from pathlib import Path
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.records import History, StepRecord

def records(start):
    return [
        StepRecord(s, 0.1 * s, 1 / s, (1 - 1e-9 * s,) * 2, (1e-3 + 1e-9 * s,) * 2, d=2e-3 + 1e-9 * s, d_hat=1e-3 / s)
        for s in range(start, start + 10)
    ]

history, plot = History(("text_encoder", "unet")), LivePlot()
plot.add_run("a", "a run", history, schedule=True)
"""
TRAIN = f"""
while not Path("page_is_gone").exists():
    time.sleep(0.1)
for _ in range({UPDATES}):
    history.extend(records(len(history) + 1))
    plot.refresh(final=True)
    time.sleep(0.005)  # twenty times as fast as in earnest
Path("trained").touch()
"""


class Server:
    """A Jupyter server in a folder of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--ServerApp.allow_root=True"]
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.address.rpartition(":")[2],
            "ServerApp.root_dir": home,
            "IdentityProvider.token": "token",
        }
        self.process = subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env=os.environ | {name: str(home / name.lower()) for name in names},
            stderr=subprocess.DEVNULL,
        )

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What its REST interface answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.address}{path}", data, {"Authorization": "token token"}, method=method
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    async def start_kernel(self) -> str:
        """Start one as soon as the server answers; its id."""
        while True:
            try:
                return str(self.ask("POST", "/api/kernels", {"name": "python3", "path": ""})["id"])
            except urllib.error.URLError:
                await asyncio.sleep(0.1)

    def memory(self) -> float:
        """Resident memory of its process, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(dict(line.split(":", 1) for line in status.splitlines())["VmRSS"].split()[0]) / 1024


class Page:
    """A page's connection to a kernel; opened twice, it is the same page that comes back."""

    def __init__(self, server: Server, kernel: str) -> None:
        self.session = uuid4().hex
        url = f"ws://{server.address}/api/kernels/{kernel}/channels?session_id={self.session}"
        self.request = HTTPRequest(url, headers={"Authorization": "token token"})

    async def open(self) -> WebSocketClientConnection:
        """Connect."""
        return await websocket_connect(self.request, max_message_size=2**30)

    def cell(self, code: str) -> str:
        """The message that runs a cell."""
        header = {"msg_id": uuid4().hex, "msg_type": "execute_request", "username": "", "session": self.session}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header | {"date": "", "version": "5.3"}, "content": content, "channel": "shell"}
        return json.dumps(message | {"parent_header": {}, "metadata": {}, "buffers": []})


async def measure(server: Server, home: Path) -> None:
    """Print what the server's memory grows by, and what comes when the page does."""
    page = Page(server, await server.start_kernel())
    connection = await page.open()
    await connection.write_message(page.cell(CODE))
    while '"execute_reply"' not in str(await connection.read_message()):
        pass
    await connection.write_message(page.cell(TRAIN))
    connection.close()
    await asyncio.sleep(1)
    before = server.memory()
    (home / "page_is_gone").touch()
    while not (home / "trained").exists():
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    after = server.memory()
    connection = await page.open()
    sizes: list[int] = []
    while True:
        try:
            message = await asyncio.wait_for(connection.read_message(), 5)
        except asyncio.TimeoutError:
            break
        sizes.append(len(message or ""))
    each = sum(sizes) / len(sizes)
    print(f"{UPDATES:,} updates: the server grew by {after - before:.1f} MB")
    print(
        f"{len(sizes):,} messages of {each:,.0f} bytes came when the page did; all would be {UPDATES * each / 1e6:.1f} MB"
    )


def main() -> None:
    """Measure, and leave nothing running."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            asyncio.run(measure(server, Path(folder)))
        finally:
            server.process.terminate()
            server.process.wait()


if __name__ == "__main__":
    main()
