"""Tasks of the bench, and those of its users."""

from __future__ import annotations

from diffopt_widgets.tasks.registry import UnknownTask, get_task, list_tasks, own_task, register_task, task_key
from diffopt_widgets.tasks.task import ParameterGroup, Problem, Samples, Task

__all__ = [
    "ParameterGroup",
    "Problem",
    "Samples",
    "Task",
    "UnknownTask",
    "get_task",
    "list_tasks",
    "own_task",
    "register_task",
    "task_key",
]
