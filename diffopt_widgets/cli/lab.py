"""JupyterLab on the quickstart notebook: with Jupyter's own token, and on this machine only unless told otherwise."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import socket
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from diffopt_widgets.cli.arguments import Commands

JUPYTER_HINT = ". Jupyter's own options go after --, as in: diffopt lab -- --ServerApp.base_url=/bench"
QUICKSTART = "quickstart.ipynb"
LOOPBACK = "127.0.0.1"
# Browsers that `webbrowser` takes in a terminal where there is no other. JupyterLab shows nothing in them.
TEXT_BROWSERS = {"www-browser", "links", "elinks", "lynx", "w3m"}


def add_command(commands: Commands) -> None:
    """Add the command to the others."""
    lab = commands.add_parser(
        "lab",
        help="open JupyterLab on the quickstart notebook",
        usage="diffopt lab [-h] [--folder FOLDER] [--ip ADDRESS] [--port NUMBER] [--no-browser] [-- JUPYTER-OPTION ...]",
        description="Open JupyterLab on the quickstart notebook, which is copied into the folder where there is none yet. "
        "Unless told otherwise the server can be reached from this machine only and asks for a token; the address that "
        "it prints has it. Ctrl-C ends it.",
        epilog="In a container, publish the port and let the server listen on every network:\n\n"
        "  diffopt lab --ip 0.0.0.0 --port 8888\n",
    )
    lab.add_argument("--folder", type=Path, metavar="FOLDER", help="Where your notebooks are. (default: this folder)")
    lab.add_argument(
        "--ip",
        metavar="ADDRESS",
        help="Address to listen on; 0.0.0.0 lets other machines reach it. (default: 127.0.0.1, this machine only)",
    )
    lab.add_argument(
        "--port",
        type=_port,
        metavar="NUMBER",
        help="Port to listen on. (default: 8888, or a free one where it is in use)",
    )
    lab.add_argument("--no-browser", action="store_true", help="Print the address and do not open a browser.")
    lab.add_argument(
        "jupyter",
        nargs="*",
        metavar="JUPYTER-OPTION",
        help="Options after -- are passed on to Jupyter; `diffopt lab -- --help` lists them.",
    )
    lab.set_defaults(command=run, hint=JUPYTER_HINT)


def run(arguments: argparse.Namespace) -> int:
    """Start JupyterLab and wait until it ends; returns the exit status."""
    if arguments.jupyter and not arguments.jupyter[0].startswith("-"):
        raise OSError(
            f"{arguments.jupyter[0]!r} is not an option. To fix it: name a folder with --folder{JUPYTER_HINT}"
        )
    return open_lab(
        arguments.folder,
        ip=arguments.ip,
        port=arguments.port,
        browser=not arguments.no_browser,
        options=arguments.jupyter,
    )


def open_lab(
    folder: Path | None = None,
    *,
    ip: str | None = None,
    port: int | None = None,
    browser: bool = True,
    options: Sequence[str] = (),
) -> int:
    """Start JupyterLab, print its address, and wait until it ends; returns 0.

    The quickstart is opened from `folder` (or its `notebooks`), and copied there first where there is none yet. The
    server listens on `ip`, by default on the loopback interface only. `options` are passed on to Jupyter, and win
    over what is set here.

    Raises:
        FileNotFoundError: JupyterLab is not installed, the folder does not exist, or there is no quickstart to copy.
        OSError: The server cannot listen on this address and port.
        SystemExit: Jupyter refuses an option or cannot start; it has said why, and the status is Jupyter's.
    """
    if find_spec("jupyterlab") is None:
        raise FileNotFoundError("JupyterLab is not installed. To fix it: pip install jupyterlab")
    root = (folder or Path.cwd()).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}. To fix it: create it, or name another with --folder")
    _check_address(ip, port)
    _check_jupyter_folders()

    from jupyter_core.application import NoStart
    from jupyterlab.labapp import LabApp

    arguments = [str(_quickstart(root)), f"--ServerApp.root_dir={root}"]
    if ip is not None or not any(option.split("=")[0] in {"--ip", "--ServerApp.ip"} for option in options):
        arguments.append(f"--ip={ip or LOOPBACK}")
    if port is not None:
        arguments.append(f"--port={port}")
    try:
        # Jupyter's configuration files and options win over these three.
        server = LabApp.initialize_server(
            [*arguments, *options],
            allow_root=True,  # what root should know is said in _announcement
            log_level="WARN",  # a first start logs 40 lines, and the address would be lost among them
            **({} if port is None else {"port_retries": 0}),
        )
        asked = browser and server.open_browser
        server.open_browser = asked and _has_browser(server.browser)
        if hasattr(server, "io_loop"):  # --generate-config has none; start() answers it
            # Runs once the port is open, and after Jupyter has written its own lines.
            server.io_loop.add_callback(lambda: print(*_announcement(server, asked=asked), sep="\n", flush=True))
        server.start()
    except NoStart:  # an option asked for something else, which is done
        pass
    except OSError as error:
        raise OSError(f"JupyterLab could not start: {error}") from error
    return 0


def _check_jupyter_folders() -> None:
    """Raise an OSError that names the folder of Jupyter's own that cannot be written; Jupyter would show a traceback first."""
    from jupyter_core.paths import jupyter_config_dir, jupyter_data_dir, jupyter_runtime_dir

    for folder in map(Path, (jupyter_config_dir(), jupyter_data_dir(), jupyter_runtime_dir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise OSError(
                f"Jupyter needs the folder {folder}, which cannot be written: {error.strerror or error}. To fix it: set "
                "JUPYTER_CONFIG_DIR, JUPYTER_DATA_DIR and JUPYTER_RUNTIME_DIR, or HOME, to folders that you can write to"
            ) from error


def _check_address(ip: str | None, port: int | None) -> None:
    """Raise an OSError that says what to do where no server can listen; Jupyter's own would be a traceback."""
    place = ip if ip is not None else LOOPBACK
    try:
        if not place:
            raise socket.gaierror  # Jupyter reads it as "every network", which an empty variable of a shell does not mean
        _bind("" if place == "*" else place, port or 0)
    except (OSError, UnicodeError) as error:
        code = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        if code == errno.EADDRINUSE:
            raise OSError(
                f"port {port} is in use on {place}. To fix it: leave --port out and a free one is used, name another, or "
                "end the program that uses it"
            ) from error
        if code == errno.EACCES:
            raise OSError(
                f"this user may not open port {port}. To fix it: name one from 1024 to 65535, or leave --port out"
            ) from error
        raise OSError(
            f"--ip {place!r} is not an address of this machine. It may be 127.0.0.1 (reached from this machine only), "
            "0.0.0.0 (reached from every network), or a name or address that this machine has. To fix it: name one of "
            "these, or leave --ip out"
        ) from error


def _bind(ip: str, port: int) -> None:
    """Bind the port as Jupyter will, and let it go; raises the error of the last address if none can be had."""
    failed = None
    for family, kind, protocol, _, place in socket.getaddrinfo(
        ip or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            with socket.socket(family, kind, protocol) as opened:
                if os.name == "posix":  # elsewhere it means that a port in use may be taken
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                opened.bind(place)
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                raise
            failed = error
        else:
            return
    if failed:
        raise failed


def _has_browser(name: str) -> bool:
    """Say whether Jupyter can open a browser that shows JupyterLab; `name` is its option, empty for the default."""
    try:
        browser = webbrowser.get(name or None)
    except webbrowser.Error:
        return False
    return bool(name) or Path(getattr(browser, "name", "")).name not in TEXT_BROWSERS


def _announcement(server: ServerApp, *, asked: bool) -> Iterator[str]:
    """Yield the lines that say where the server is, who can reach it and what it asks for, for any configuration."""
    if server.sock:
        return  # no browser opens such an address; Jupyter has said how to reach it
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    local = _is_loopback(server.ip)
    if server.identity_provider.token:
        generated = server.identity_provider.token_generated
        asks = f"asks for {'the token in the address' if generated else 'the token that you configured'}"
    else:
        asks = "asks for a login" if server.identity_provider.auth_enabled else "asks for NO token and no password"
    reach = "this machine only" if local else "other machines"
    yield f"diffopt: JupyterLab runs{' as root' * root}. It can be reached from {reach}, and {asks}."
    if root and not local:
        yield (
            "diffopt: warning: whoever gets in from another machine can do all that root can. Safer: start it as an "
            "ordinary user, or without --ip."
        )
    address = _address(server)
    if server.open_browser:
        yield f"diffopt: a browser opens this address: {address}"
    else:
        none = "no browser was found here; " * asked
        yield f"diffopt: {none}open this address in a browser: {address}"
        host = urlsplit(address).hostname
        if local:
            yield (
                f"diffopt: if your browser is on another machine, forward the port: ssh -L {server.port}:{host}:{server.port} "
                "THIS-MACHINE. In a container: publish the port, and start with --ip 0.0.0.0."
            )
    if not local and _is_loopback(urlsplit(address).hostname or ""):
        yield "diffopt: from another machine, write the name or address of this one in place of that in the address."
    yield "diffopt: Ctrl-C ends it."


def _address(server: ServerApp) -> str:
    """Return the address of the notebook, with the token if Jupyter made it."""
    everywhere = server.ip in {"", "0.0.0.0", "::"}  # noqa: S104  # compared, not listened on
    base = urlsplit(server.local_url if everywhere and not server.custom_display_url else server.public_url)
    path = f"{server.base_url}lab"
    if server.file_to_run and Path(server.file_to_run).is_relative_to(server.root_dir):
        path += f"/tree/{quote(Path(server.file_to_run).relative_to(server.root_dir).as_posix())}"
    provider = server.identity_provider
    query = urlencode({"token": provider.token}) if provider.token and provider.token_generated else ""
    return base._replace(path=path, query=query, fragment="").geturl()


def _is_loopback(ip: str) -> bool:
    """Say whether all that this address or name stands for can be reached from this machine only."""
    if not ip:
        return False
    try:
        addresses = socket.getaddrinfo(ip, None)
    except OSError:  # a name that only others know
        return False
    return all(ip_address(str(place[0]).split("%")[0]).is_loopback for *_, place in addresses)


def _quickstart(root: Path) -> Path:
    for candidate in (root / "notebooks" / QUICKSTART, root / QUICKSTART):
        if candidate.exists():
            return candidate
    package = Path(__file__).parent.parent
    # A wheel has it inside the package; a clone that is installed editable has it beside.
    for source in (package / "notebooks" / QUICKSTART, package.parent / "notebooks" / QUICKSTART):
        if source.is_file():
            try:
                shutil.copyfile(source, root / QUICKSTART)
            except OSError as error:
                raise OSError(
                    f"the quickstart notebook cannot be written into {root}: {error.strerror or error}. To fix it: name "
                    "a folder that you can write to with --folder"
                ) from error
            return root / QUICKSTART
    raise FileNotFoundError(
        f"the package has no {QUICKSTART} to copy. To fix it: reinstall diffopt-widgets, or put a notebook of that "
        f"name into {root}"
    )


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a port. It may be a whole number from 1 to 65535, or 0 for any free one"
        )
    return port
