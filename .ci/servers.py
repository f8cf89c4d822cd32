"""Start a notebook server as a person or Binder does, and look at what it serves, to whom, and on which address.

servers.py readme COMMAND     run the README's first command as a newcomer does, then what it starts in other ways
servers.py binder             run binder/start as Binder does

Each has an empty home folder and no setting of this machine's but those that reach the network. Where root runs this, an
ordinary user tries it too.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

INSTALL_SECONDS = 900
START_SECONDS = 180
NOTEBOOK = "notebooks/quickstart.ipynb"
ADDRESS = re.compile(r"http://\S+token=\w+(?=\n)")
# What pip may need to reach an index from here; a newcomer has the like, or needs none.
NETWORK = re.compile(r"^(PIP_|SSL_CERT_)|_proxy$", re.IGNORECASE)


def readme(command):
    """The whole command without any browser, as in a container; then its last part with a browser, and as another user."""
    install, _, start = command.rpartition(" && ")
    activate = install.split(" && ")[1]
    assert (activate, start) == (". .venv/bin/activate", "diffopt lab"), command
    with running(["bash", "-c", command]) as process:
        told(process, INSTALL_SECONDS)
    again = f". {Path.cwd()}/.venv/bin/activate && {start}"
    with browser() as (shown, env), running(["bash", "-c", again], env=env) as process:
        address = told(process, START_SECONDS)
        until(shown.exists, process, START_SECONDS)
        page = re.search(r"file://(\S+)", shown.read_text())
        text = Path(page[1]).read_text(encoding="utf-8") if page else shown.read_text()
        assert re.search(r"http://[^\s\"']+token=\w+", text)[0] == address
        print("    and the browser was shown it")
    if os.geteuid() == 0:
        with running(["bash", "-c", again], user="nobody") as process:
            told(process, START_SECONDS)


def told(process, seconds):
    """The address that the command prints, once it has; it must lead to the notebook, with the token, from here only."""
    until(lambda: ADDRESS.search(process.said.read_text()), process, seconds)
    said = process.said.read_text()
    address = ADDRESS.search(said)[0]
    base, path, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/(\S+)\?token=(\w+)", address).groups()
    assert path == f"lab/tree/{NOTEBOOK}", path
    assert ("runs as root" in said) == (process.user == "root"), said
    look(base, token)
    print(said[said.index("diffopt: ") :].replace(token, "…"))
    return address


def binder():
    """Binder gives the port and the token; whichever server it starts, the first page must be the quickstart."""
    token = "0123456789abcdef"
    for server in ("notebook", "lab", "server"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            free.close()
            base = f"http://127.0.0.1:{port}"
            command = ["binder/start", "jupyter", server, "--ip=127.0.0.1", f"--port={port}", "--no-browser"]
            command += [f"--IdentityProvider.token={token}"]
            path = {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin"}
            user = "nobody" if os.geteuid() == 0 else None  # Binder never is root
            with running(command, user=user, env=path) as process:
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
def running(command, *, user=None, env=()):
    """The command in an empty home folder; another user than this one runs it in a clone of their own."""
    account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clone, other = Path.cwd(), {}
        if account.pw_uid != os.geteuid():
            clone = home / "clone"
            shutil.copytree("notebooks", clone / "notebooks")
            shutil.copytree("binder", clone / "binder")
            for path in (home, *home.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)
            stack.enter_context(passable(Path.cwd(), Path(sys.base_prefix)))
            other = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        said = home / "said"
        given = {name: value for name, value in os.environ.items() if NETWORK.search(name)}
        given |= {"HOME": str(home), "PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"} | dict(env)
        with said.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(command, cwd=clone, env=given, stdout=out, start_new_session=True, **other)
        process.said, process.user = said, account.pw_name
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


@contextmanager
def passable(*paths):
    """Let other users pass through the folders above these, as they could where somebody else had installed them."""
    closed = [
        (folder, folder.stat().st_mode)
        for folder in {folder for path in paths for folder in (path, *path.parents)}
        if not folder.stat().st_mode & stat.S_IXOTH
    ]
    for folder, mode in closed:
        folder.chmod(mode | stat.S_IXOTH)
    try:
        yield
    finally:
        for folder, mode in closed:
            folder.chmod(mode)


@contextmanager
def browser():
    """A browser that only notes what it is shown: the file with that, and the environment that names the browser."""
    with tempfile.TemporaryDirectory() as name:
        program = Path(name) / "browser"
        program.write_text(f'#!/bin/sh\nprintf "%s" "$1" > {name}/showing && mv {name}/showing {name}/shown\n')
        program.chmod(0o755)
        yield Path(name) / "shown", {"BROWSER": f"{program} %s"}


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
