"""Whether an optimizer's package is there: told before a run, without importing it."""

import json
import subprocess
import sys
from importlib import metadata

import pytest
import torch

import diffopt_widgets as dw
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.optimizers import backends
from diffopt_widgets.optimizers.backends import package_trouble, troubles
from diffopt_widgets.widgets.form.form import Form
from diffopt_widgets.widgets.form.panel import menu

BACK_ENDS = {spec(key).target.partition(":")[0].partition(".")[0] for key in list_optimizers()}

LOOK = """
import json, sys
for name in {hidden!r}:
    sys.modules[name] = None  # as if nothing of that name were installed
import diffopt_widgets as dw
form = dw.Form({shown!r})
form.type("lr", "0.5")
loaded = sorted(name for name in {modules!r} if sys.modules.get(name))
menu = [entry for family in form.menu for entry in family["optimizers"]]
print(json.dumps([menu, str(form.trouble), form.settings.lr, form.errors, loaded]))
"""


def look(hidden, shown):
    """What the menu says in a process of its own in which modules cannot be found."""
    code = LOOK.format(hidden=hidden, shown=shown, modules=[*BACK_ENDS - {"diffopt_widgets"}, "torch"])
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_everything_is_there():
    assert troubles(map(spec, list_optimizers())) == {}
    assert not [entry for family in menu() for entry in family["optimizers"] if entry.keys() - {"key", "title"}]


@pytest.mark.slow
def test_what_is_missing_is_marked_with_its_fix_and_nothing_is_imported():
    found, trouble, lr, errors, loaded = look(["prodigyopt", "bitsandbytes"], "PRODIGY")
    marked = {entry["key"]: entry for entry in found if "mark" in entry}
    wanting = {key for key in list_optimizers() if spec(key).package in {"prodigyopt", "bitsandbytes"}}
    assert marked.keys() == wanting
    assert {entry["mark"] for entry in marked.values()} == {"not installed"}
    assert marked["PRODIGY"]["why"].startswith(
        'Prodigy cannot run here: prodigyopt is not installed. To fix it: pip install --upgrade "prodigyopt>=1.1.2"'
    )
    assert trouble.startswith("prodigyopt is not installed")
    assert (lr, errors) == (0.5, {}), "its settings are typed as ever"
    assert loaded == []


@pytest.mark.slow
def test_without_torch_none_can_run_and_all_can_be_looked_at():
    found, trouble, lr, errors, _ = look(["torch"], "PRODIGY")
    assert {entry["mark"] for entry in found} == {"not installed"}
    assert trouble.startswith("torch is not installed")
    assert (lr, errors) == (0.5, {})


def test_a_version_that_does_not_fit_is_named_with_those_that_do(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(backends.metadata, "version", lambda name: "0.9" if name == "prodigyopt" else real(name))
    form = Form("PRODIGY")
    assert form.trouble.mark == "other version"
    assert str(form.trouble).startswith("prodigyopt 0.9 is installed, and >=1.1.2 is needed. To fix it: pip install")
    assert [key for key, _ in form._missing] == ["PRODIGY"]
    monkeypatch.setattr(dw.build_optimizer.__globals__["importlib"], "import_module", lambda name: Old)
    with pytest.raises(dw.MissingBackend, match=r"PRODIGY needs prodigyopt.*0\.9 is installed"):
        dw.build_optimizer(dw.Settings("PRODIGY"), [torch.nn.Parameter(torch.ones(2))])


class Old:
    """A module whose class lacks arguments."""

    class Prodigy:
        def __init__(self, params, lr):
            """Take no other argument."""


@pytest.mark.filterwarnings("ignore::diffopt_widgets.execution.outcome.RunFailed")
def test_a_version_that_builds_and_cannot_step_is_named_too(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(backends.metadata, "version", lambda name: "0.49" if name == "bitsandbytes" else real(name))

    def step(self, closure=None):
        raise NotImplementedError("no kernel for this device")

    cls = type(dw.build_optimizer(dw.Settings("LION_8BIT"), [torch.nn.Parameter(torch.ones(3))]))
    monkeypatch.setattr(cls, "step", step)
    run = dw.train(dw.Settings("LION_8BIT"), "swiss_roll", 2, progress=False)
    assert run.status == "failed"
    assert "MissingBackend" in run.message
    assert "bitsandbytes 0.49 is installed, and >=0.50 is needed" in run.message
    assert "pip install --upgrade" in run.message
    monkeypatch.setattr(backends.metadata, "version", real)
    run = dw.train(dw.Settings("LION_8BIT"), "swiss_roll", 2, progress=False)
    assert "NotImplementedError" in run.message, "nothing is blamed on a version that fits"


def test_a_development_version_and_a_build_of_ones_own_fit(monkeypatch):
    for version in ("2.14.0.dev20260101+cu130", "2.13.0+cpu"):
        monkeypatch.setattr(backends.metadata, "version", lambda name, version=version: version)
        assert package_trouble("torch", "torch") is None


def test_a_package_without_metadata_is_there(monkeypatch):
    def gone(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(backends.metadata, "version", gone)
    monkeypatch.setattr(backends.metadata, "requires", gone)
    assert package_trouble("prodigyopt", "prodigyopt") is None
