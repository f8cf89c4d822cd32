"""A progress bar for runs in scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffopt_widgets.runs import Run


@contextlib.contextmanager
def progress_bar(run: Run) -> Iterator[Callable[[Run], None]]:
    """Show how far a run is; what it gives is called at each publish."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    # Refreshed by hand: some notebooks do not show updates that come from a thread.
    with Progress(*columns, auto_refresh=False) as bar:
        row = bar.add_task(run.name, total=run.plan.steps, speed="")

        def show(run: Run) -> None:
            speed = f"{run.steps_per_second:.3g} steps/s" if run.steps_per_second else ""
            loss = f"loss {run.final_loss:.3g}" if run.final_loss is not None else ""
            bar.update(row, completed=len(run.history), speed=f"{loss}  {speed}", refresh=True)

        yield show
