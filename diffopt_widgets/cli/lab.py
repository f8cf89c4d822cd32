"""Open JupyterLab on the quickstart notebook: with Jupyter's own token, on this machine only."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

QUICKSTART = "quickstart.ipynb"


def open_lab(folder: Path | None = None, *, port: int | None = None, browser: bool = True) -> int:
    """Start JupyterLab and wait for it; returns its exit status.

    The quickstart is opened from `folder` (or its `notebooks`), and copied there first where there is none yet. The
    server listens on the loopback interface only and asks for the token that it prints.

    Raises:
        FileNotFoundError: JupyterLab is not installed, the folder does not exist, or there is no quickstart to copy.
    """
    if find_spec("jupyterlab") is None:
        raise FileNotFoundError("JupyterLab is not installed. To fix it: pip install 'diffopt-widgets[lab]'")
    root = (folder or Path.cwd()).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}. To fix it: create it, or name another with --folder")
    notebook = _quickstart(root)
    command = [sys.executable, "-m", "jupyterlab", str(notebook), f"--ServerApp.root_dir={root}", "--ip=127.0.0.1"]
    command += [f"--port={port}"] if port is not None else []
    command += [] if browser else ["--no-browser"]
    try:
        return subprocess.run(command, cwd=root, check=False).returncode  # noqa: S603  # our own command line
    except KeyboardInterrupt:
        return 0


def _quickstart(root: Path) -> Path:
    for candidate in (root / "notebooks" / QUICKSTART, root / QUICKSTART):
        if candidate.exists():
            return candidate
    package = Path(__file__).parent.parent
    # A wheel has it inside the package; a clone that is installed editable has it beside.
    for source in (package / "notebooks" / QUICKSTART, package.parent / "notebooks" / QUICKSTART):
        if source.is_file():
            shutil.copyfile(source, root / QUICKSTART)
            return root / QUICKSTART
    raise FileNotFoundError(
        f"the package has no {QUICKSTART} to copy. To fix it: reinstall diffopt-widgets, or put a notebook of that "
        f"name into {root}"
    )
