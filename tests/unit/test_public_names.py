"""The names on which others rely. A name may come; none of these may go or move."""

import subprocess
import sys

import diffopt_widgets as dw

NAMES = {
    *(
        "Form",
        "History",
        "LivePlot",
        "MissingBackend",
        "Range",
        "Run",
        "RunBar",
        "RunPlan",
        "RunStore",
        "RunStoreTable",
        "RunsTable",
    ),
    *("SchedulePreview", "Settings", "SettingsError", "StepRecord", "StoreError", "Task", "Watcher", "applied_lr"),
    *(
        "build_optimizer",
        "build_schedule",
        "compare",
        "compare_options",
        "export",
        "lab",
        "launch",
        "list_optimizers",
        "list_tasks",
        "lr_find",
        "memory",
        "preset",
    ),
    *(
        "read_logs",
        "register_task",
        "report",
        "resume",
        "resume_loop",
        "spec",
        "spec_of",
        "stream",
        "sweep",
        "train",
        "watch",
        "with_rate_of",
    ),
}


def test_every_public_name_is_there_and_no_other_unlisted():
    assert set(dw.__all__) == NAMES | {"__version__"}


def test_no_room_or_module_has_the_name_of_a_public_function():
    code = """
import pkgutil, diffopt_widgets as dw
print(*sorted({module.name for module in pkgutil.iter_modules(dw.__path__)} & set(dw.__all__)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
