"""A Jupyter bench for optimizers: every option explained, and the learning rate that is really applied.

Each public name is imported on first use: importing the package loads neither torch nor plotly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffopt_widgets.catalogue import list_optimizers as list_optimizers
    from diffopt_widgets.catalogue import spec as spec
    from diffopt_widgets.catalogue.introspect.uncatalogued import spec_of as spec_of
    from diffopt_widgets.drawing.figures import compare as compare
    from diffopt_widgets.execution.driver import resume as resume
    from diffopt_widgets.execution.driver import train as train
    from diffopt_widgets.execution.launch import launch as launch
    from diffopt_widgets.execution.range_test import lr_find as lr_find
    from diffopt_widgets.execution.report import report as report
    from diffopt_widgets.execution.sweeps import sweep as sweep
    from diffopt_widgets.interop import export as export
    from diffopt_widgets.optimizers.factory import MissingBackend as MissingBackend
    from diffopt_widgets.optimizers.factory import build_optimizer as build_optimizer
    from diffopt_widgets.optimizers.factory import build_schedule as build_schedule
    from diffopt_widgets.rates.applied import applied_lr as applied_lr
    from diffopt_widgets.records import History as History
    from diffopt_widgets.records import StepRecord as StepRecord
    from diffopt_widgets.runs.option_figures import compare_options as compare_options
    from diffopt_widgets.runs.run import Run as Run
    from diffopt_widgets.runs.space import Range as Range
    from diffopt_widgets.runs.space import with_rate_of as with_rate_of
    from diffopt_widgets.settings import Settings as Settings
    from diffopt_widgets.settings import SettingsError as SettingsError
    from diffopt_widgets.settings import preset as preset
    from diffopt_widgets.settings.plan import RunPlan as RunPlan
    from diffopt_widgets.state_size.count import memory as memory
    from diffopt_widgets.store import RunStore as RunStore
    from diffopt_widgets.store import StoreError as StoreError
    from diffopt_widgets.store import read_logs as read_logs
    from diffopt_widgets.tasks import Task as Task
    from diffopt_widgets.tasks import list_tasks as list_tasks
    from diffopt_widgets.tasks import register_task as register_task
    from diffopt_widgets.training.loop import stream as stream
    from diffopt_widgets.watching.loop_checkpoint import resume_loop as resume_loop
    from diffopt_widgets.watching.watcher import Watcher as Watcher
    from diffopt_widgets.watching.watcher import watch as watch
    from diffopt_widgets.widgets.bench.bench import lab as lab
    from diffopt_widgets.widgets.bench.run_bar import RunBar as RunBar
    from diffopt_widgets.widgets.form.form import Form as Form
    from diffopt_widgets.widgets.form.schedule import SchedulePreview as SchedulePreview
    from diffopt_widgets.widgets.plot.live import LivePlot as LivePlot
    from diffopt_widgets.widgets.tables.runs_table import RunsTable as RunsTable
    from diffopt_widgets.widgets.tables.store_table import RunStoreTable as RunStoreTable

__version__ = "0.1.0"

_HOMES = {
    "Form": "widgets.form.form",
    "History": "records",
    "LivePlot": "widgets.plot.live",
    "MissingBackend": "optimizers.factory",
    "Range": "runs.space",
    "Run": "runs.run",
    "RunBar": "widgets.bench.run_bar",
    "RunPlan": "settings.plan",
    "RunStore": "store",
    "RunStoreTable": "widgets.tables.store_table",
    "RunsTable": "widgets.tables.runs_table",
    "SchedulePreview": "widgets.form.schedule",
    "Settings": "settings",
    "SettingsError": "settings",
    "StepRecord": "records",
    "StoreError": "store",
    "Task": "tasks",
    "Watcher": "watching.watcher",
    "applied_lr": "rates.applied",
    "build_optimizer": "optimizers.factory",
    "build_schedule": "optimizers.factory",
    "compare": "drawing.figures",
    "compare_options": "runs.option_figures",
    "export": "interop",
    "lab": "widgets.bench.bench",
    "launch": "execution.launch",
    "list_optimizers": "catalogue",
    "list_tasks": "tasks",
    "lr_find": "execution.range_test",
    "memory": "state_size.count",
    "preset": "settings",
    "read_logs": "store",
    "register_task": "tasks",
    "report": "execution.report",
    "resume": "execution.driver",
    "resume_loop": "watching.loop_checkpoint",
    "spec": "catalogue",
    "spec_of": "catalogue.introspect.uncatalogued",
    "stream": "training.loop",
    "sweep": "execution.sweeps",
    "train": "execution.driver",
    "watch": "watching.watcher",
    "with_rate_of": "runs.space",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # the names are strings


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
