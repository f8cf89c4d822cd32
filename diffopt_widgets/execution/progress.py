"""Progress bars of runs in scripts and in cells that train."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from diffopt_widgets.plain_text import readable

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run


WIDE = 60
"""Columns of a terminal from which on there is room for a bar."""

MOST_BARS = 12
"""Number of runs above which they share one progress bar."""


class HarmlessStream:
    """Stream that drops what cannot be written (a full disk, a closed terminal), and replaces characters that it lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.problem: Exception | None = None
        """Why something was dropped."""

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text if that is possible."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with self._harmless():
            self._stream.write(readable(text, encoding))
        return len(text)

    def flush(self) -> None:
        """Write what waits, if that is possible."""
        with self._harmless():
            self._stream.flush()

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, AttributeError) as error:  # None is a stream too, in a program without any
            self.problem = self.problem or error


@contextlib.contextmanager
def progress_bars(*, shown: bool = True, runs: int = 1) -> Iterator[Callable[[Run], None]]:
    """Show the progress of runs; call the function that it yields with a run at each publish. Without `shown` nothing appears.

    Args:
        shown: whether to show anything.
        runs: number of the runs; above `MOST_BARS` they share one bar.
    """
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    rows: dict[str, TaskID] = {}
    shares: dict[str, float] = {}
    ended: set[str] = set()

    # The process's streams are left alone, and each has a console of its own: several may train at once, in threads.
    # Refreshed by hand: some notebooks do not show updates that come from a thread.
    console = Console(file=cast("IO[str]", HarmlessStream(sys.stdout)))
    name, count = TextColumn("{task.description}"), MofNCompleteColumn()
    wide = (name, BarColumn(), count, TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    columns = wide if console.width >= WIDE else (name, count)
    with Progress(*columns, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as bars:

        def show_together(run: Run) -> None:
            if not rows:
                rows[""] = bars.add_task("", total=runs, speed="")
            shares[run.key] = 1.0 if run.ended else len(run.history) / run.plan.steps
            (ended.add if run.ended else ended.discard)(run.key)  # one that was stopped may go on
            bars.update(
                rows[""], completed=sum(shares.values()), description=f"{len(ended)} runs ended, of", refresh=True
            )

        def show(run: Run) -> None:
            if run.key not in rows:
                rows[run.key] = bars.add_task(run.name, total=run.plan.steps, speed="")
            speed = f"{run.steps_per_second:.3g} steps/s" if run.steps_per_second else ""
            loss = f"loss {run.final_loss:.3g}" if run.final_loss is not None else ""
            bars.update(rows[run.key], completed=len(run.history), speed=f"{loss}  {speed}", refresh=True)

        yield show_together if runs > MOST_BARS else show
