"""Tasks of the bench."""

from __future__ import annotations

from diffopt_widgets.tasks.digits import DIGITS
from diffopt_widgets.tasks.points import SWISS_ROLL
from diffopt_widgets.tasks.task import ParameterGroup, Problem, Samples, Task

__all__ = ["ParameterGroup", "Problem", "Samples", "Task", "get_task", "list_tasks"]

_TASKS = {task.key: task for task in (SWISS_ROLL, DIGITS)}


def list_tasks() -> tuple[str, ...]:
    """Return the keys of all tasks.

    >>> list_tasks()
    ('swiss_roll', 'digits')
    """
    return tuple(_TASKS)


def get_task(key: str) -> Task:
    """Return the task with this key.

    Raises:
        KeyError: there is none; the message lists the keys.

    >>> get_task("digits").batch_size
    64

    """
    try:
        return _TASKS[key]
    except KeyError:
        raise KeyError(f"there is no task {key!r}; choose one of {', '.join(_TASKS)}") from None
