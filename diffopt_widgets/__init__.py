"""A Jupyter bench for optimizers: every option explained, and the learning rate that is really applied.

Each public name is imported on first use: importing the package loads neither torch nor plotly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffopt_widgets.bench import lab as lab
    from diffopt_widgets.catalogue import list_optimizers as list_optimizers
    from diffopt_widgets.catalogue import spec as spec
    from diffopt_widgets.catalogue.uncatalogued import spec_of as spec_of
    from diffopt_widgets.driver import resume as resume
    from diffopt_widgets.driver import train as train
    from diffopt_widgets.interop import export as export
    from diffopt_widgets.plan import RunPlan as RunPlan
    from diffopt_widgets.plot.figures import compare as compare
    from diffopt_widgets.plot.live import LivePlot as LivePlot
    from diffopt_widgets.records import History as History
    from diffopt_widgets.records import StepRecord as StepRecord
    from diffopt_widgets.runs import Run as Run
    from diffopt_widgets.settings import Settings as Settings
    from diffopt_widgets.settings import SettingsError as SettingsError
    from diffopt_widgets.settings import preset as preset
    from diffopt_widgets.store import RunStore as RunStore
    from diffopt_widgets.store import StoreError as StoreError
    from diffopt_widgets.store import read_logs as read_logs
    from diffopt_widgets.sweeps import sweep as sweep
    from diffopt_widgets.tasks import list_tasks as list_tasks
    from diffopt_widgets.training.effective_lr import applied_lr as applied_lr
    from diffopt_widgets.training.factory import MissingBackend as MissingBackend
    from diffopt_widgets.training.factory import build_optimizer as build_optimizer
    from diffopt_widgets.training.factory import build_schedule as build_schedule
    from diffopt_widgets.training.loop import stream as stream
    from diffopt_widgets.training.state_size import memory as memory
    from diffopt_widgets.ui.form import Form as Form
    from diffopt_widgets.ui.run_bar import RunBar as RunBar
    from diffopt_widgets.ui.runs_table import RunsTable as RunsTable
    from diffopt_widgets.ui.schedule import SchedulePreview as SchedulePreview
    from diffopt_widgets.ui.store_table import RunStoreTable as RunStoreTable
    from diffopt_widgets.watcher import Watcher as Watcher
    from diffopt_widgets.watcher import watch as watch

__version__ = "0.1.0"

_HOMES = {
    "Form": "ui.form",
    "History": "records",
    "LivePlot": "plot.live",
    "MissingBackend": "training.factory",
    "Run": "runs",
    "RunBar": "ui.run_bar",
    "RunPlan": "plan",
    "RunStore": "store",
    "RunStoreTable": "ui.store_table",
    "RunsTable": "ui.runs_table",
    "SchedulePreview": "ui.schedule",
    "Settings": "settings",
    "SettingsError": "settings",
    "StepRecord": "records",
    "StoreError": "store",
    "Watcher": "watcher",
    "applied_lr": "training.effective_lr",
    "build_optimizer": "training.factory",
    "build_schedule": "training.factory",
    "compare": "plot.figures",
    "export": "interop",
    "lab": "bench",
    "list_optimizers": "catalogue",
    "list_tasks": "tasks",
    "memory": "training.state_size",
    "preset": "settings",
    "read_logs": "store",
    "resume": "driver",
    "spec": "catalogue",
    "spec_of": "catalogue.uncatalogued",
    "stream": "training.loop",
    "sweep": "sweeps",
    "train": "driver",
    "watch": "watcher",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # the names are strings


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
