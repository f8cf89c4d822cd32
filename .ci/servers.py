"""Start a notebook server as a person or Binder does, and look at what it serves, to whom, and on which address.

servers.py readme COMMAND     run a command of the README until the browser that it opens has been shown a page
servers.py binder             run binder/start as Binder does
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

INSTALL_SECONDS = 900
START_SECONDS = 60
NOTEBOOK = "notebooks/quickstart.ipynb"


def readme(command):
    """The browser that is opened stands in for a person's: it keeps the page that it is given."""
    with tempfile.TemporaryDirectory() as name, running(["bash", "-c", command], Path(name)) as process:
        shown = Path(name) / "shown"
        until(shown.exists, process, INSTALL_SECONDS)
        page = re.search(r"file://(\S+)", shown.read_text())
        text = Path(page[1]).read_text(encoding="utf-8") if page else shown.read_text()
        url = re.search(r"http://[^\s\"']+token=\w+", text)[0]
        base, token = re.match(r"(http://127\.0\.0\.1:\d+|http://localhost:\d+)/.*token=(\w+)", url).groups()
        assert f"/lab/tree/{NOTEBOOK}" in url, url.replace(token, "…")
        look(base, token)
        print("the browser was shown", url.replace(token, "…"))


def binder():
    """Binder gives the port and the token; whichever server it starts, the first page must be the quickstart."""
    token = "0123456789abcdef"
    for server in ("notebook", "lab", "server"):
        with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            free.close()
            base = f"http://127.0.0.1:{port}"
            command = ["binder/start", "jupyter", server, "--ip=127.0.0.1", f"--port={port}", "--no-browser"]
            with running([*command, f"--IdentityProvider.token={token}"], Path(name)) as process:
                until(lambda: status(f"{base}/api/status?token={token}") == 200, process, START_SECONDS)  # noqa: B023
                look(base, token)
                landed = urllib.request.urlopen(f"{base}/?token={token}", timeout=30).url
                assert landed.split("?")[0] == f"{base}/lab/tree/{NOTEBOOK}", landed
                print("Binder's jupyter", server, "starts on", landed.split("?")[0])


def look(base, token):
    """The notebook is served to who has the token, refused to others, on the loopback interface only."""
    notebook = f"{base}/api/contents/{NOTEBOOK}"
    assert status(f"{base}/lab?token={token}") == 200
    assert status(f"{notebook}?token={token}") == 200
    assert status(notebook) == 403
    assert status(f"{notebook}?token=wrong") == 403
    port = int(base.rpartition(":")[2])
    assert listening(port) == {"0100007F"}, listening(port)


def status(url):
    try:
        return urllib.request.urlopen(url, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def listening(port):
    """The addresses, in the kernel's hexadecimal, on which this port is open."""
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    places = (row[1].split(":") for row in rows if row[3] == "0A")
    return {address for address, found in places if int(found, 16) == port}


@contextmanager
def running(command, folder):
    """The command with a browser that only notes what it is shown, and a Jupyter that root may start."""
    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {folder}/showing && mv {folder}/showing {folder}/shown\n')
    browser.chmod(0o755)
    (folder / "jupyter_server_config.json").write_text('{"ServerApp": {"allow_root": true}}')
    env = os.environ | {"BROWSER": f"{browser} %s", "JUPYTER_CONFIG_DIR": str(folder), "JUPYTER_DATA_DIR": str(folder)}
    process = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def until(condition, process, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            sys.exit(f"ended with {process.returncode} before it served anything")
        if time.monotonic() > end:
            sys.exit(f"nothing was served within {seconds} seconds")
        time.sleep(0.2)


if __name__ == "__main__":
    {"readme": readme, "binder": binder}[sys.argv[1]](*sys.argv[2:])
