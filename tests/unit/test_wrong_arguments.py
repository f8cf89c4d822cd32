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
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import traitlets

import diffopt_widgets as dw
from diffopt_widgets.drawing.panels import metric_panel

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


def varied():
    """Runs of two options, not trained: what is drawn has no result."""
    over = ((lr, d_coef) for lr in (0.5, 1.0) for d_coef in (0.5, 1.0))
    return [dw.Run(dw.RunPlan(dw.Settings("PRODIGY", lr=lr, d_coef=d_coef), **SHORT)) for lr, d_coef in over]


def with_weights():
    return [torch.nn.Parameter(torch.ones(2, 2))]


def optimizer():
    return torch.optim.SGD(with_weights(), lr=0.1)


def streamed(*args, **kwargs):
    return list(dw.stream(*args, **kwargs))


def launched(**given):
    """Launch without its processes, which take seconds to start and get what was checked before."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("diffopt_widgets.execution.launch._carry_out", lambda *_: None)
        dw.launch(**given)


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


def watching(**given):
    """A watch that ends, so that nothing is left at the end of the process."""
    store = given.pop("folder", None) and given.pop("store", None)
    with dw.watch(**given, **({"store": store} if store is not None else {})):
        pass


def watched(call):
    """A call of a watch that has taken a step; there a wrong value gives a warning and never ends the training."""
    stepped = torch.optim.SGD(with_weights(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with dw.watch(stepped, show=False) as watcher:
            stepped.step()
            call(watcher)


def history(steps=2):
    made = dw.History(("all",))
    made.extend(dw.StepRecord(i, 0.1, 1.0, (0.1,), (0.1,)) for i in range(1, steps + 1))
    return made


def on(make, method):
    """A method of a new object."""

    def call(**given):
        return getattr(make(), method)(**given)

    return call


def plot():
    made = dw.LivePlot()
    made.add_run("a", "A", history())
    return made


def table():
    return dw.RunsTable([waiting()])


def form():
    return dw.Form("ADAMW")


def store_table(folder):
    return dw.RunStoreTable(store(folder))


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
        {
            "settings": SETTINGS,
            "over": {"lr": [1e-3]},
            **SHORT,
            "executor": None,
            "stacked": False,
            "progress": False,
            "store": None,
        },
    ),
    "launch": (
        launched,
        {
            "settings": SETTINGS,
            **SHORT,
            "processes": 2,
            "progress": False,
            "plot": None,
            "store": None,
            "device": "cpu",
        },
    ),
    "lr_find": (dw.lr_find, {"settings": SETTINGS, "task": "swiss_roll", "steps": 20, "low": 1e-4, "high": 1.0}),
    "with_rate_of": (dw.with_rate_of, {"run": run, "optimizer": "ADAMW"}),
    "resume": (dw.resume, {"run": waiting, "progress": False, "store": None}),
    "Run": (dw.Run, {"plan": dw.RunPlan(SETTINGS), "name": "mine"}),
    "compare": (dw.compare, {"runs": lambda: [run()], "x": "step"}),
    "compare_options": (dw.compare_options, {"runs": varied, "x": "lr", "y": "d_coef", "kind": "map"}),
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
    "RunStore.begin": (store_call("begin"), {"name": "n", "history": history, "about": None, "id": ""}),
    "RunStore.resume": (store_call("resume"), {"id": "a", "history": history}),
    "RunStore.has": (store_call("has"), {"id": "a"}),
    "RunStore.summary": (store_call("summary"), {"id": "a"}),
    "RunStore.annotate": (store_call("annotate"), {"id": "a", "note": "b"}),
    "RunStore.restore": (store_call("restore"), {"id": "a"}),
    "watch": (
        watching,
        {
            "optimizer": optimizer,
            "scheduler": None,
            "model": None,
            "names": None,
            "name": "",
            "measure": (),
            "every": 1,
            "start": 0,
            "samples_per_step": None,
            "show": False,
            "plot": None,
            "store": None,
            "about": None,
        },
    ),
    "Watcher.log": (
        lambda values=None, loss=1.0: watched(lambda w: w.log(values, loss=loss)),
        {"values": {"accuracy": 1.0}, "loss": 1.0},
    ),
    "Watcher.log_at": (
        lambda **given: watched(lambda w: w.log_at(**given)),
        {"step": "last", "values": {"loss": 1.0}},
    ),
    "Watcher.checkpoint": (
        lambda **given: watched(lambda w: w.checkpoint(**given)),
        {
            "model": None,
            "optimizer": None,
            "scheduler": None,
            "scaler": None,
            "more": None,
            "folder": "checkpoints",
            "every": "5 min",
            "keep": 3,
        },
    ),
    "resume_loop": (
        dw.resume_loop,
        {
            "folder": "checkpoints",
            "model": None,
            "optimizer": optimizer,
            "scheduler": None,
            "scaler": None,
            "more": None,
        },
    ),
    "History": (dw.History, {"groups": ("all",)}),
    "History.column": (on(history, "column"), {"name": "loss"}),
    "History.extend": (on(history, "extend"), {"records": ()}),
    "History.extend_columns": (on(history, "extend_columns"), {"step": [3], "columns": {"loss": [1.0]}, "keep": ()}),
    "History.add_groups": (on(history, "add_groups"), {"names": ["b"]}),
    "History.from_columns": (dw.History.from_columns, {"groups": ("all",), "step": [1], "columns": {"loss": [1.0]}}),
    "StepRecord": (
        lambda **given: history().extend([dw.StepRecord(**given)]),
        {
            "step": 3,
            "seconds": 0.1,
            "loss": 1.0,
            "lr": (0.1,),
            "applied_lr": (0.1,),
            "d": None,
            "d_hat": None,
            "grad_norm": None,
            "metrics": None,
        },
    ),
    "LivePlot.draw_run": (on(plot, "draw_run"), {"key": "b", "history": history}),
    "LivePlot.add_panel": (on(plot, "add_panel"), {"panel": lambda: metric_panel("grad_norm")}),
    "LivePlot.end_run": (on(plot, "end_run"), {"key": "a"}),
    "LivePlot.rename_run": (on(plot, "rename_run"), {"key": "a", "name": "B", "details": None, "group": None}),
    "LivePlot.set_visible": (on(plot, "set_visible"), {"key": "a", "visible": True}),
    "LivePlot.remove_run": (on(plot, "remove_run"), {"key": "a"}),
    "LivePlot.refresh": (on(plot, "refresh"), {"final": True}),
    "LivePlot.svg": (on(plot, "svg"), {"columns": None}),
    "LivePlot.to_csv": (on(plot, "to_csv"), {"path": "plot.csv"}),
    "LivePlot.to_svg": (on(plot, "to_svg"), {"path": "plot.svg"}),
    "LivePlot.to_html": (on(plot, "to_html"), {"path": "plot.html"}),
    "Form.type": (on(form, "type"), {"name": "lr", "text": "1"}),
    "Form.choose": (on(form, "choose"), {"optimizer": "LION"}),
    "Form.load": (on(form, "load"), {"preset": "library"}),
    "Form.paste": (on(form, "paste"), {"text": "Settings('LION')"}),
    "Form.slider": (on(form, "slider"), {"name": "lr"}),
    "RunsTable.add": (on(table, "add"), {"run": waiting, "color": None, "differs": "", "visible": True}),
    "RunsTable.remove": (on(table, "remove"), {"key": "a"}),
    "RunsTable.rename": (on(table, "rename"), {"key": "a", "name": "b"}),
    "RunsTable.set_visible": (on(table, "set_visible"), {"key": "a", "visible": True}),
    "RunsTable.set_differs": (on(table, "set_differs"), {"key": "a", "text": "b"}),
    "RunsTable.show": (on(table, "show"), {"run": waiting}),
    "RunStoreTable.draw": (lambda folder, **given: store_table(folder).draw(**given), {"key": "a", "shown": True}),
    "RunStoreTable.rename": (lambda folder, **given: store_table(folder).rename(**given), {"key": "a", "name": "b"}),
    "RunStoreTable.delete": (lambda folder, **given: store_table(folder).delete(**given), {"key": "a"}),
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


SLOW = {"LivePlot.to_html"}


def cases():
    for case in CASES:
        yield pytest.param(*case, id=".".join(case), marks=[pytest.mark.slow] * (case[0] in SLOW))


@pytest.mark.slow
@pytest.mark.parametrize(("function", "argument"), list(cases()))
def test_a_wrong_argument_is_taken_or_answered_in_words(function, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, base = BASE[function]
    raw = []
    for kind, wrong in things().items():
        given = {name: right(value) for name, value in base.items() if name != argument}
        if function.startswith(("RunStore.", "RunStoreTable.")):
            given["folder"] = tmp_path
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                call(**given, **{argument: wrong})
        except Exception as error:  # noqa: BLE001  # whatever is raised is looked at
            if place := inside(error):
                raw.append(f"{argument}={kind}: {place[:200]}")
    assert not raw, "\n".join(raw)
