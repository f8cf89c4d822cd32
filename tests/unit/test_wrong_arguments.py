"""Every public function, given a wrong object for each argument, takes it or says in its own words what is wanted.

An error that Python or a package raises from inside (an AttributeError of a NoneType) names nothing that a caller wrote. So the
last frame of each error must be a `raise` of this package.
"""

from __future__ import annotations

import contextlib
import functools
import io
import linecache
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets

import diffopt_widgets as dw

HOME = str(Path(dw.__file__).parent)
SETTINGS = dw.Settings("ADAMW")
PLAIN = {
    "None": None,
    "True": True,
    "0": 0,
    "-4": -4,
    "3.7": 3.7,
    "nan": float("nan"),
    "inf": float("inf"),
    "10**400": 10**400,
    "empty text": "",
    "text": "nothing of this name",
    "odd text": "a\0b",
    "long text": "x" * 5000,
    "bytes": b"x",
    "empty list": [],
    "list of a number": [1],
    "list of texts": ["a", "b"],
    "list of None": [None],
    "empty tuple": (),
    "empty dict": {},
    "dict": {"lr": 1e-3},
    "dict of a list": {"lr": []},
    "dict of numbers": {1: 2},
    "object": object(),
    "class": int,
    "function": len,
    "array": np.ones(3),
}


@functools.cache
def things():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    run = dw.train(SETTINGS, "swiss_roll", 1, progress=False)
    return {
        **PLAIN,
        "tensor": weight,
        "model": torch.nn.Linear(2, 2),
        "optimizer": torch.optim.SGD([weight], lr=0.1),
        "settings": SETTINGS,
        "plan": dw.RunPlan(SETTINGS),
        "run": run,
        "history": run.history,
        "spec": dw.spec("PRODIGY"),
    }


def run():
    return things()["run"]


def waiting():
    return dw.Run(dw.RunPlan(SETTINGS, task="swiss_roll", steps=1))


def with_weights():
    return [torch.nn.Parameter(torch.ones(2, 2))]


def optimizer():
    return torch.optim.SGD(with_weights(), lr=0.1)


def streamed(*args, **kwargs):
    return list(dw.stream(*args, **kwargs))


def store(folder):
    made = dw.RunStore(folder / "runs.sqlite")
    made.add(run())
    return made


def plot_with(**given):
    return dw.LivePlot().add_run(**given)


def store_call(method):
    def call(folder, **given):
        return getattr(store(folder), method)(**given)

    return call


SHORT = {"task": "swiss_roll", "steps": 1}
BASE = {
    # function, its right arguments, and whether it wants a folder
    "Settings": (dw.Settings, {"optimizer": "PRODIGY", "lr": 1.0, "schedule": "COSINE", "warmup": 0.0, "d_coef": 1.0}),
    "Settings.from_json": (dw.Settings.from_json, {"text": SETTINGS.to_json()}),
    "Settings.replace": (SETTINGS.replace, {"optimizer": "ADAM", "lr": 1.0}),
    "preset": (dw.preset, {"optimizer": "ADAFACTOR", "key": "adaptive"}),
    "spec": (dw.spec, {"key": "PRODIGY"}),
    "spec_of": (dw.spec_of, {"cls": torch.optim.RAdam}),
    "build_optimizer": (dw.build_optimizer, {"settings": SETTINGS, "params": with_weights, "batch_size": 1}),
    "build_schedule": (dw.build_schedule, {"settings": SETTINGS, "optimizer": optimizer, "steps": 3}),
    "applied_lr": (dw.applied_lr, {"optimizer": optimizer}),
    "memory": (
        dw.memory,
        {"settings": SETTINGS, "shapes": [(2, 2)], "lora": None, "layers": "attention", "dtype": "float32"},
    ),
    "memory of a model": (dw.memory, {"settings": SETTINGS, "shapes": "sd15", "lora": 4, "layers": "attention"}),
    "export": (
        dw.export,
        {"settings": SETTINGS, "to": "python", "steps": 3, "batch_size": 1, "accumulation": 1, "dtype": "float32"},
    ),
    "RunPlan": (dw.RunPlan, {"settings": SETTINGS, **SHORT, "seed": 0, "device": "cpu", "grad_norm": False}),
    "train": (
        dw.train,
        {"settings": SETTINGS, **SHORT, "progress": False, "store": None, "seed": 0, "dtype": "float32"},
    ),
    "stream": (streamed, {"settings": SETTINGS, **SHORT, "batch_size": 8}),
    "sweep": (
        dw.sweep,
        {"settings": SETTINGS, "over": {"lr": [1e-3]}, **SHORT, "executor": None, "progress": False, "store": None},
    ),
    "resume": (dw.resume, {"run": waiting, "progress": False, "store": None}),
    "Run": (dw.Run, {"plan": dw.RunPlan(SETTINGS), "name": "mine"}),
    "compare": (dw.compare, {"runs": lambda: [run()], "x": "step"}),
    "read_logs": (dw.read_logs, {"path": lambda: Path(__file__).parents[1] / "data"}),
    "register_task": (dw.register_task, {"task": None, "replace": False}),
    "Task": (
        dw.Task,
        {"key": "mine", "title": "Mine", "summary": "s", "build": print, "steps": 3, "batch_size": 2, "lr": 1.0},
    ),
    "RunStore": (dw.RunStore, {"path": None}),
    "RunStoreTable": (dw.RunStoreTable, {"store": None, "plot": None}),
    "RunsTable": (dw.RunsTable, {"runs": lambda: [run()]}),
    "Form": (dw.Form, {"settings": SETTINGS, "steps": 3}),
    "SchedulePreview": (dw.SchedulePreview, {"settings": SETTINGS, "steps": 3}),
    "LivePlot": (dw.LivePlot, {"smoothing": 0.9, "height": 300, "panels": ()}),
    "LivePlot.add_run": (
        plot_with,
        {
            "key": "a",
            "name": "A",
            "history": lambda: run().history,
            "color": None,
            "schedule": False,
            "visible": True,
            "details": None,
            "group": "",
            "samples_per_step": None,
        },
    ),
    "RunBar": (dw.RunBar, {"task": "swiss_roll", "steps": 3}),
    "lab": (dw.lab, {"settings": SETTINGS, "task": "swiss_roll", "steps": 3, "store": None}),
    "RunStore.add": (store_call("add"), {"run": run}),
    "RunStore.load": (store_call("load"), {"id": "a"}),
    "RunStore.delete": (store_call("delete"), {"id": "a"}),
    "RunStore.rename": (store_call("rename"), {"id": "a", "name": "b"}),
    "RunStore.search": (store_call("search"), {"text": "a"}),
    "RunStore.export": (store_call("export"), {"ids": "a", "path": "p"}),
}
CASES = [(function, argument) for function, (_, given) in BASE.items() for argument in given]


def right(value):
    """A right argument; one that is used up by a call is made anew."""
    return value() if callable(value) and getattr(value, "__module__", "") == __name__ else value


def inside(error):
    """The place of an error that no `raise` of this package made; empty for one in its own words."""
    if isinstance(error, traitlets.TraitError):
        return ""  # traitlets name the trait and what it takes
    if len(str(error)) > 2000:
        return f"a message of {len(str(error))} characters: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    own = last.filename.startswith(HOME) and "raise " in (
        linecache.getline(last.filename, last.lineno) + (last.line or "")
    )
    return "" if own else f"{type(error).__name__}: {error} at {last.filename.removeprefix(HOME)}:{last.lineno}"


@pytest.mark.parametrize(("function", "argument"), CASES, ids=[".".join(case) for case in CASES])
def test_a_wrong_argument_is_taken_or_answered_in_words(function, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, base = BASE[function]
    raw = []
    for kind, wrong in things().items():
        given = {name: right(value) for name, value in base.items() if name != argument}
        if function.startswith("RunStore."):
            given["folder"] = tmp_path
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                call(**given, **{argument: wrong})
        except Exception as error:  # noqa: BLE001  # whatever is raised is looked at
            if place := inside(error):
                raw.append(f"{argument}={kind}: {place[:200]}")
    assert not raw, "\n".join(raw)
