"""A sample of what `mutated_files.py` tries 10,000 times, and what is no file at all: pipes, folders, links in a circle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faults.mutated_files import READERS, SECONDS, plain

import diffopt_widgets as dw

SCRIPT = Path(__file__).parent / "mutated_files.py"
READS = {
    "store": (dw.RunStore, (dw.StoreError,)),
    "event file": (READERS["event file"].read, (FileNotFoundError, ValueError, OSError)),
    "form file": (READERS["form file"].read, ()),
}


def test_damaged_files_of_every_kind_give_a_value_or_a_plain_error():
    done = subprocess.run([sys.executable, SCRIPT, "80"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 2 + len(READERS)


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "circle", "endless"])
def test_what_is_no_ordinary_file_is_refused_at_once(name, kind, tmp_path):
    path = tmp_path / "events.out.tfevents.1"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "circle":
            path.symlink_to(path)
        case "endless":
            path.symlink_to("/dev/zero")
    read, errors = READS[name]
    signal.alarm(int(SECONDS))  # a reader that waits for a writer would wait for ever
    try:
        assert read(path) is None or not errors
    except errors as error:
        plain(error)
    finally:
        signal.alarm(0)
