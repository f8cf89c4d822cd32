"""Tasks by key: the bench's own, and those that a user registers."""

from __future__ import annotations

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.tasks.digits import DIGITS, DIGITS_FINETUNE, DIGITS_LORA
from diffopt_widgets.tasks.points import SWISS_ROLL
from diffopt_widgets.tasks.task import Task

_BENCH = {task.key: task for task in (SWISS_ROLL, DIGITS, DIGITS_LORA, DIGITS_FINETUNE)}
_OWN: dict[str, Task] = {}


@printed_readably
class UnknownTask(KeyError):
    """No task has this key; the message says which there are, and how one more is registered."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would put it in quotes


def list_tasks() -> tuple[str, ...]:
    """Return the keys of all tasks, the bench's own first.

    >>> list_tasks()
    ('swiss_roll', 'digits', 'digits_lora', 'digits_finetune')
    """
    return (*_BENCH, *_OWN)


def get_task(key: str) -> Task:
    """Return the task with this key.

    Raises:
        UnknownTask: there is none; the message names the tasks. It is a KeyError.

    >>> get_task("digits").batch_size
    64
    """
    task = (_BENCH.get(key) or _OWN.get(key)) if isinstance(key, str) else None
    if task is None:
        raise UnknownTask(
            f"there is no task {safe_repr(key)}; choose one of {', '.join(list_tasks())}. A task of your own must be registered first, "
            "in each new process: dw.register_task(task)"
        )
    return task


def register_task(task: Task, *, replace: bool = False) -> None:
    """Make a task of your own known by its key, in this process: to `train`, `RunPlan`, `dw.lab()` and runs out of a store.

    Args:
        task: with a key that no other task has.
        replace: whether it may take the place of a task of your own with the same key.

    Raises:
        ValueError: the key is taken.
        TypeError: it is not a `dw.Task`.
    """
    if not isinstance(task, Task):
        raise TypeError(f"register_task takes a dw.Task, and this is {_kind(task)}")
    if task.key in _BENCH and task is not _BENCH[task.key]:
        raise ValueError(f"the bench has a task {task.key!r} of its own; give yours another key")
    if task.key in _OWN and task is not _OWN[task.key] and not replace:
        raise ValueError(
            f"there is a task {task.key!r} already; give this one another key, or put it in the place of the other with "
            "register_task(task, replace=True)"
        )
    if task.key not in _BENCH:
        _OWN[task.key] = task


def task_key(task: str | Task) -> str:
    """Return the key of a task that is named or given; a given one is registered, in the place of an earlier one of its key.

    Raises:
        UnknownTask: no task has that name.
        ValueError: the given task has a key of the bench's own.
        TypeError: it is neither.
    """
    if isinstance(task, str):
        return get_task(task).key
    if not isinstance(task, Task):
        raise TypeError(f"task is {_kind(task)}; give a key such as 'digits', or a dw.Task")
    register_task(task, replace=True)
    return task.key


def own_task(key: str) -> Task | None:
    """Return a task that a user has registered; None for the bench's own."""
    return _OWN.get(key)


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
