"""Signs of work while a command computes: a line at once, and in a terminal a bar of what is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def waiting(words: str, total: int) -> Iterator[Callable[[str], None]]:
    """Say on the error stream what is being done; call the function that it yields with the name of each part that begins.

    In a terminal there is a bar, which vanishes at the end. Elsewhere one line is written.

    >>> with waiting("Counting", 2) as begins:
    ...     begins("ADAMW")
    ...     begins("LION")
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"{words} …", markup=False, highlight=False, soft_wrap=True)
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # What the command prints meanwhile must go where it belongs, and not through the bar.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bars:
        task = bars.add_task(words, total=total)
        begun = -1

        def begin(name: str) -> None:
            nonlocal begun
            begun += 1
            bars.update(task, completed=begun, description=f"{words}: {name}", refresh=True)

        yield begin
