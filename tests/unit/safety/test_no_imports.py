"""Nothing that is read from a file imports a module because the file names it."""

from __future__ import annotations

import json
import sqlite3
import sys

import pytest

import diffopt_widgets as dw
from diffopt_widgets.widgets.form.exchange import read_settings
from diffopt_widgets.widgets.form.form_file import FormFile

TRAP = "trap_that_nobody_imported"
NAMES = (f"{TRAP}:Adam", f"{TRAP}.Adam", f"{TRAP}.inner:Adam", f" {TRAP}:Adam ")


@pytest.fixture(autouse=True)
def trap(tmp_path, monkeypatch):
    """A module beside the file, as an attacker would put it there, that leaves a mark when it is imported."""
    mark = tmp_path / "imported"
    (tmp_path / f"{TRAP}.py").write_text(f"open({str(mark)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert TRAP not in sys.modules
    assert not mark.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_names_a_class_that_is_not_imported(name):
    text = json.dumps({"optimizer": name, "lr": 0.1})
    for read in (dw.Settings.from_json, read_settings):
        with pytest.raises(dw.SettingsError, match=f"{TRAP}.* is not imported here"):
            read(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_form_file_names_a_class_that_is_not_imported(name, tmp_path):
    path = tmp_path / "form.json"
    path.write_text(json.dumps({"optimizer": name, "own": {name: {"lr": "0.1"}}, "shared": {}}))
    draft = FormFile(path).recall()
    assert draft is None or draft.optimizer in dw.list_optimizers()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_run_names_a_class_that_is_not_imported(name, tmp_path):
    store = dw.RunStore(tmp_path / "runs.sqlite")
    run = dw.train(dw.Settings("ADAM"), task="swiss_roll", steps=2, store=store, progress=False)
    with sqlite3.connect(store.path) as connection:
        (about,) = connection.execute("SELECT about FROM runs").fetchone()
        changed = json.loads(about)
        changed["plan"]["settings"]["optimizer"] = name
        connection.execute("UPDATE runs SET about = ?", (json.dumps(changed),))
    connection.close()
    loaded = store.load(run.key)
    assert len(loaded.history) == 2
    assert f"{TRAP}" in loaded.message
    assert "is not imported here" in loaded.message


def test_a_class_of_a_module_that_the_catalogue_uses_needs_no_import():
    assert dw.Settings.from_json(dw.Settings("torch.optim:RAdam").to_json()).optimizer == "torch.optim:RAdam"
