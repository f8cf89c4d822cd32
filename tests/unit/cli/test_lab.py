"""`diffopt lab`, with the real JupyterLab: what it says about its address is what its server does."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from places import ROOT

from diffopt_widgets.cli.lab import _is_loopback
from diffopt_widgets.cli.main import main

START_SECONDS = 120
DIFFOPT = (sys.executable, "-c", "import sys; from diffopt_widgets.cli.main import main; sys.exit(main())")
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def lab(home: Path, *arguments: str, **env: str):
    """Yield what `diffopt lab` prints until it can be used, started as by a newcomer: an empty home and no settings."""
    bare = {"HOME": str(home), "PATH": str(home / "bin"), "PYTHONPATH": str(ROOT)}
    command = [*DIFFOPT, "lab", "--folder", str(home), *arguments]
    with (home / "said").open("w") as out, (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=bare | env, stdout=out, stderr=log)
    try:
        until(lambda: process.poll() is not None or "Ctrl-C" in (home / "said").read_text())
        assert process.poll() is None, (home / "log").read_text()
        yield (home / "said").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def until(condition):
    end = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.05)


def program(path: Path, shown: Path) -> Path:
    """Make a browser that only notes the address that it is given."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho \"$1\" > '{shown}.part' && /bin/mv '{shown}.part' '{shown}'\n")
    path.chmod(0o755)
    return path


def address_in(said: str) -> str:
    return re.search(r"in a browser: (\S+)|opens this address: (\S+)", said).group(0).split()[-1]


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_without_a_browser_it_prints_the_address_as_any_user(tmp_path):
    program(tmp_path / "bin" / "w3m", tmp_path / "shown")  # a terminal's browser is none for JupyterLab
    with lab(tmp_path, TERM="xterm") as said:
        address = address_in(said)
        page, token = address.split("?token=")
        base = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/lab/tree/quickstart\.ipynb", page)[1]
        assert status(address) == 200
        assert status(f"{base}/api/contents/quickstart.ipynb?token={token}") == 200
        assert status(f"{base}/api/contents/quickstart.ipynb") == 403
        assert "no browser was found here" in said
        assert ("runs as root" in said) == AS_ROOT
        assert "from this machine only, and asks for the token in the address" in said
        assert "warning" not in said
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", int(base.rpartition(":")[2])), timeout=60)
    assert not (tmp_path / "shown").exists()


@pytest.mark.slow
def test_a_browser_is_shown_the_address_that_is_printed(tmp_path):
    shown = tmp_path / "shown"
    browser = program(tmp_path / "bin" / "browser", shown)
    with lab(tmp_path, "--", "--ServerApp.use_redirect_file=False", BROWSER=f"{browser} %s") as said:
        until(shown.exists)
        assert "a browser opens this address" in said
        opened, token = shown.read_text().strip().split("?token=")
        assert token == address_in(said).split("?token=")[1]
        assert opened.startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_an_address_open_to_others_is_called_that_and_a_chosen_token_is_not_printed(tmp_path):
    chosen = "a-token-of-my-own"
    options = ("--", "--ServerApp.base_url=/bench", f"--IdentityProvider.token={chosen}")
    with lab(tmp_path, "--ip=0.0.0.0", "--port=0", "--no-browser", *options) as said:
        address = address_in(said)
        port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/bench/lab/tree/quickstart\.ipynb", address)[1])
        for host in ("127.0.0.1", "127.0.0.2"):
            contents = f"http://{host}:{port}/bench/api/contents/quickstart.ipynb"
            assert status(contents) == 403
            assert status(f"{contents}?token={chosen}") == 200
        assert "from other machines, and asks for the token that you configured" in said
        assert "in place of that in the address" in said
        assert ("warning: whoever gets in" in said) == AS_ROOT
        assert "no browser was found" not in said, "none was asked for"
        assert chosen not in said


@pytest.mark.slow
def test_no_token_and_an_address_after_the_dashes_are_told_as_they_are(tmp_path):
    options = ("--", "--ServerApp.ip=0.0.0.0", "--IdentityProvider.token=", "--no-browser")
    with lab(tmp_path, *options) as said:
        assert "from other machines, and asks for NO token" in said
        assert status(address_in(said)) == 200


@pytest.mark.slow
def test_an_option_that_jupyter_refuses_is_refused_in_its_words(tmp_path):
    command = [*DIFFOPT, "lab", "--folder", str(tmp_path), "--", "--ServerApp.allow_root=perhaps"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    assert ended.returncode == 1
    assert "Bad config" in ended.stderr
    assert "perhaps" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("port", ["abc", "70000", "-1", "1.5"])
def test_a_port_that_is_none(port, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["lab", f"--port={port}"])
    assert (
        f"argument --port: '{port}' is not a port. It may be a whole number from 1 to 65535" in capsys.readouterr().err
    )


def test_a_port_in_use(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["lab", "--folder", str(tmp_path), "--port", str(port)]) == 2
    err = capsys.readouterr().err
    assert f"port {port} is in use on 127.0.0.1" in err
    assert "To fix it: leave --port out" in err
    assert list(tmp_path.iterdir()) == [], "nothing is copied where nothing is started"


@pytest.mark.parametrize("ip", ["nonsense.invalid", "192.0.2.1", "", "1.2.3.4.5", "a" * 70])
def test_an_address_that_is_not_this_machines(ip, tmp_path, capsys):
    assert main(["lab", "--folder", str(tmp_path), "--ip", ip]) == 2
    err = capsys.readouterr().err
    assert f"--ip {ip!r} is not an address of this machine" in err
    assert "127.0.0.1 (reached from this machine only)" in err


def test_an_option_of_jupyters_before_the_dashes(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["lab", "--allow-root"])
    assert "unrecognized arguments: --allow-root. Jupyter's own options go after --" in capsys.readouterr().err


def test_a_notebook_is_not_an_option(capsys):
    assert main(["lab", "mine.ipynb"]) == 2
    assert "'mine.ipynb' is not an option. To fix it: name a folder with --folder" in capsys.readouterr().err


def test_a_name_that_nobody_here_can_resolve_is_not_taken_for_this_machine_alone():
    assert not _is_loopback("bench-proxy.invalid")
    assert _is_loopback("127.0.0.1")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/sys").is_dir(), reason="a folder in which not even root can write")
def test_a_folder_that_cannot_be_written_is_told_by_its_path(capsys):
    assert main(["lab", "--folder", "/sys"]) == 2
    err = capsys.readouterr().err
    assert "the quickstart notebook cannot be written into /sys: " in err
    assert "with --folder" in err


@pytest.mark.parametrize("name", ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"])
def test_a_folder_of_jupyters_that_cannot_be_written_is_told_by_its_path(name, tmp_path, capsys, monkeypatch):
    for other in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(other, str(tmp_path / other))
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv(name, str(tmp_path / "file" / "folder"))
    assert main(["lab", "--folder", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert f"Jupyter needs the folder {tmp_path / 'file' / 'folder'}, which cannot be written: " in err
    assert name in err
    assert not (tmp_path / "quickstart.ipynb").exists()
