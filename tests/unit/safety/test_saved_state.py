"""What a saved notebook holds of the widgets is what they show: no folder, no secret, nothing typed that is not in sight."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import ipywidgets
import pytest
import torch
from displays import saved, shown

import diffopt_widgets as dw
from diffopt_widgets.runs.run import Run
from diffopt_widgets.widgets.page.folders import without_folders

TOKEN = "secret-token-of-the-server"  # noqa: S105  # of nothing
TYPED = "0.12345678987"
"""Typed into the form of an optimizer that is not shown any more."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home of a person whose name nobody should learn, with the notebook in it."""
    folder = tmp_path / "alice-of-wonderland"
    (folder / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.setenv("JUPYTER_TOKEN", TOKEN)
    monkeypatch.setenv("DIFFOPT_CONFIG_DIR", str(folder / "config"))
    monkeypatch.chdir(folder / "work")
    return folder


def broken(self, closure=None):
    raise FileNotFoundError(f"there is no {Path.home() / 'data' / 'weights.bin'}")


@pytest.mark.slow
def test_a_saved_bench_tells_nothing_but_what_it_shows(home, monkeypatch):
    monkeypatch.setattr(torch.optim.RAdam, "step", broken)

    async def script():
        ipywidgets.Widget.close_all()
        bench = dw.lab(dw.Settings("PRODIGY"), task="swiss_roll", steps=1, store=home / "work" / "runs.sqlite")
        with shown() as outputs:
            bench._ipython_display_()
            bench.form.type("d_coef", TYPED)
            bench.form.choose("LION")
            plans = [dw.RunPlan(dw.Settings(name), "swiss_roll", steps=1) for name in ("LION", "torch.optim:RAdam")]
            bench.start([Run(plan) for plan in plans])
            await bench.wait()
            table = dw.RunStoreTable(home / "work" / "runs.sqlite")
            table._ipython_display_()
            table.send_state()
            held = saved(outputs)
        assert bench.runs[1].status == "failed"
        assert str(home) in bench.runs[1].trace + bench.runs[1].message  # Python itself knows it
        return json.dumps(ipywidgets.Widget.get_manager_state(), default=repr), json.dumps(held, default=repr)

    state, outputs = asyncio.run(script())
    assert "weights.bin" in state
    for kept in (state, outputs):
        for secret in (home.name, str(Path(torch.__file__).parent), str(Path(dw.__file__).parent), TOKEN, TYPED):
            assert secret not in kept, (secret, kept[max(0, kept.find(secret) - 300) : kept.find(secret) + 100])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("{home}{sep}a{sep}b.txt is damaged", "~{sep}a{sep}b.txt is damaged"),
        ("'{home}{sep}work{sep}runs.sqlite'", "'runs.sqlite'"),
        ("{home}", "~"),
        ("It is in {home}.", "It is in ~."),
        *((f"{{home}}{more}{{sep}}x", f"{{home}}{more}{{sep}}x") for more in ("a", ".old", "-2", "@b", "é")),
        ("{sep}mnt{home}{sep}a", "{sep}mnt{home}{sep}a"),
        ("nothing", "nothing"),
    ],
)
def test_a_path_is_written_from_where_one_is(home, text, kept):
    names = {"home": str(home), "sep": os.sep}
    assert without_folders(text.format(**names)) == kept.format(**names)
