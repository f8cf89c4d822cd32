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

    class OwnConsole(Console):
        def on_broken_pipe(self) -> None:
            """Say nothing more. A rich Console ends the process here, and the training with it."""
            self.quiet = True

    # The process's streams are left alone, and each has a console of its own: several may train at once, in threads.
    # Refreshed by hand: some notebooks do not show updates that come from a thread.
    console = OwnConsole()
    bars = Progress(*columns, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    @contextlib.contextmanager
    def harmless() -> Iterator[None]:
        """Stop showing progress where it cannot be written (a full disk, a closed terminal, a character it lacks)."""
        try:
            yield
        except (OSError, ValueError):
            console.quiet = True

    def show(run: Run) -> None:
        if run.key not in rows:
            rows[run.key] = bars.add_task(run.name, total=run.plan.steps, speed="")
        speed = f"{run.steps_per_second:.3g} steps/s" if run.steps_per_second else ""
        loss = f"loss {run.final_loss:.3g}" if run.final_loss is not None else ""
        with harmless():
            bars.update(rows[run.key], completed=len(run.history), speed=f"{loss}  {speed}", refresh=True)

    with harmless():
        bars.start()
    try:
        yield show
    finally:
        with harmless():
            bars.stop()
