"""Progress bars of runs in scripts and in cells that train."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run


@contextlib.contextmanager
def progress_bars(*, shown: bool = True) -> Iterator[Callable[[Run], None]]:
    """Show the progress of runs; call the function that it yields with a run at each publish. Without `shown` nothing appears."""
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    rows: dict[str, TaskID] = {}
    # Refreshed by hand: some notebooks do not show updates that come from a thread.
    # The process's streams are left alone, and each has a console of its own: several may train at once, in threads.
    with Progress(
        *columns, console=Console(), auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as bars:

        def show(run: Run) -> None:
            if run.key not in rows:
                rows[run.key] = bars.add_task(run.name, total=run.plan.steps, speed="")
            speed = f"{run.steps_per_second:.3g} steps/s" if run.steps_per_second else ""
            loss = f"loss {run.final_loss:.3g}" if run.final_loss is not None else ""
            bars.update(rows[run.key], completed=len(run.history), speed=f"{loss}  {speed}", refresh=True)

        yield show
