"""RunStoreTable: the runs of a store, to search, name, annotate, delete and draw."""

from __future__ import annotations

import logging
import math
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets

from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.settings.arguments import check_kind, check_text, checked_path
from diffopt_widgets.widgets.page.folders import without_folders
from diffopt_widgets.widgets.page.stand_in import Still, StillWidget
from diffopt_widgets.widgets.plot.live import LivePlot
from diffopt_widgets.widgets.tables.run_row import clean_name
from diffopt_widgets.widgets.tables.still import in_words, store_still

if TYPE_CHECKING:
    from diffopt_widgets.records import History
    from diffopt_widgets.store import RunStore, RunSummary

LONGEST_NOTE = 2000
UNDO_STEPS = 20

log = logging.getLogger(__name__)


@printed_readably
class RunStoreTable(StillWidget):
    """One row for each run of a store: search, rename and annotate runs, delete them with undo, and draw the ticked ones.

    Show it with its plot: `widgets.VBox([table, table.plot])`. A change in the page is written into the store at once.
    Changes that other programs make appear after `refresh()`, or a click on Refresh.

    Args:
        store: the store whose runs are shown.
        plot: the plot that draws the ticked runs; by default a new one.
        layout: an ipywidgets Layout.

    >>> import pathlib, tempfile
    >>> from diffopt_widgets.records import History
    >>> from diffopt_widgets.store import RunStore
    >>> store = RunStore(pathlib.Path(tempfile.mkdtemp()) / "runs.sqlite")
    >>> for name in ("first", "second"):
    ...     store.begin(name, History(("all",)), id=name).end("done")
    >>> table = RunStoreTable(store)
    >>> table.query = "sec"
    >>> [row["name"] for row in table.rows]
    ['second']
    >>> table.draw("second")
    >>> [curve.name for curve in table.plot.curves()]
    ['second']
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = (
        *("page/dom.js", "page/text.js", "page/tip.js"),
        "runs_text.js",
        "runs_icons.js",
        "runs_name.js",
        "store_row.js",
        "store_table.js",
    )
    STYLES = ("page/theme.css", "runs_table.css", "store_table.css")

    rows: traitlets.List[Any] = traitlets.List(
        read_only=True, help="A dict for each run that matches: key, name, note, status, steps, loss, started, shown."
    ).tag(sync=True)
    query = traitlets.Unicode(help="Only runs with all of these words are listed.").tag(sync=True)
    removed = traitlets.Unicode(read_only=True, help="The run that Undo brings back; empty when none.").tag(sync=True)
    notice = traitlets.Unicode(help="Something that went wrong, shown above the table.").tag(sync=True)
    file = traitlets.Unicode(read_only=True, help="The store's path, from the working directory or home.").tag(
        sync=True
    )

    def __init__(
        self,
        store: RunStore | str | os.PathLike[str],
        plot: LivePlot | None = None,
        *,
        layout: Any = None,  # an ipywidgets Layout, or a dict for one
    ) -> None:
        from diffopt_widgets.store import RunStore

        if not isinstance(store, RunStore):
            store = RunStore(checked_path("store", store))
        if plot is not None:
            check_kind("plot", plot, LivePlot, "a plot", "Write dw.LivePlot(), or leave it out.")
        self.store = store
        self.plot = plot if plot is not None else LivePlot(hint="Tick a run: its curves appear here")
        self._histories: dict[str, History] = {}
        """Histories of the drawn runs, as far as the plot has them."""
        self._deleted: list[tuple[str, str]] = []
        self.set_trait("file", without_folders(str(store.path)))
        self.refresh()
        super().__init__(**({} if layout is None else {"layout": layout}))
        self.observe(lambda _: self.refresh(), ["query"])
        self.plot.observe(lambda _: self.refresh(), ["runs"])
        self.on_msg(self._receive)
        self.observe(lambda _: self.renew_still(), ["rows"])

    def __repr__(self) -> str:
        return f"RunStoreTable({self.store.path.name}, {in_words(row['name'] for row in self.rows)})"

    def still(self) -> Still:
        """Return the table as it is now, for pages without widgets."""
        return store_still(self.rows, self.store.path.name)

    def refresh(self) -> None:
        """Read the list of runs anew.

        Raises:
            StoreError: the store cannot be read.
        """
        matches = self.store.search(self.query)
        self.set_trait("rows", [self._row(run) for run in matches])
        self.set_trait("removed", self._deleted[-1][1] if self._deleted else "")

    def draw(self, key: str, *, shown: bool = True) -> None:
        """Draw a run in the plot as it is now, or remove it from the plot.

        Raises:
            StoreError, KeyError: the store cannot be read, or has no such run.
        """
        if shown and self.plot.has_run(key) and key in self._histories:
            self._follow(key)
            return
        if self.plot.has_run(key):
            self.plot.remove_run(key)
        self._histories.pop(key, None)
        if shown:
            run = self.store.load(key)
            self._histories[key] = run.history
            self.plot.add_run(key, run.name, run.history, schedule=run.draws_schedule)
            self.plot.end_run(key)

    def _follow(self, key: str) -> None:
        """Draw the new records of a run; its colour, place and visibility stay."""
        run, drawn = self.store.load(key), self._histories[key]
        known, now = len(drawn), run.history
        if now.groups == drawn.groups and np.array_equal(now.step[:known], drawn.step):
            if len(now) > known:
                drawn.extend_columns(now.step[known:], {name: now.column(name)[known:] for name in now.names()})
                self.plot.resume_run(key)
                self.plot.end_run(key)
        else:  # another file has replaced the store
            shown = self.plot.shown.now[key]
            self.plot.remove_run(key)
            self._histories[key] = now
            self.plot.add_run(key, run.name, now, schedule=run.draws_schedule, color=shown.color, visible=shown.visible)
            self.plot.end_run(key)
        if run.name != self.plot.shown.now[key].name:
            self.plot.rename_run(key, run.name)

    def rename(self, key: str, name: str) -> None:
        """Give a run another name, in the store and in the plot.

        Raises:
            StoreError, KeyError: the store cannot be written, or has no such run.
            ValueError: the name is empty or too long.
        """
        check_text("name", name, 'Write a name, such as "first try".')
        self.store.rename(key, clean_name(name))
        if self.plot.has_run(key):
            self.plot.rename_run(key, clean_name(name))
        self.refresh()

    def delete(self, key: str) -> None:
        """Delete a run in the store; `restore` brings it back.

        Raises:
            StoreError, KeyError: the store cannot be written, or has no such run.
        """
        name = self.store.summary(key).name
        self.store.delete(key)
        self._deleted = [*self._deleted[1 - UNDO_STEPS :], (key, name)]
        self.draw(key, shown=False)
        self.refresh()

    def restore(self) -> None:
        """Bring back the run that was deleted last in this table; do nothing when there is none.

        Raises:
            StoreError, KeyError: the store cannot be written, or no longer has the run.
        """
        if self._deleted:
            key, _ = self._deleted.pop()
            self.store.restore(key)
            self.refresh()

    def _row(self, run: RunSummary) -> dict[str, Any]:
        loss = run.final_loss
        return {
            "key": run.id,
            "name": run.name,
            "note": run.note,
            "status": run.status,
            "message": without_folders(run.message),
            "steps": run.steps,
            "loss": loss if loss is not None and math.isfinite(loss) else None,
            "started": run.started.astimezone().strftime("%Y-%m-%d %H:%M"),
            "shown": self.plot.has_run(run.id),
        }

    def _receive(self, _: object, content: object, __: object) -> None:
        """Handle a message from the page. Errors are shown above the table, since nobody would see them otherwise."""
        message = content if isinstance(content, dict) else {}
        try:
            self._handle(message)
        except Exception as error:  # from the disk, or an observer of other code
            log.exception("an action in the table of stored runs failed")
            self.notice = without_folders(str(error.args[0]) if error.args else type(error).__name__)

    def _handle(self, message: dict[str, Any]) -> None:
        key = str(message.get("key", ""))
        match message.get("k"):
            case "rename":
                self._rename_from_page(key, str(message.get("name", "")))
            case "note":
                self.store.annotate(key, str(message.get("note", ""))[:LONGEST_NOTE])
                self.refresh()
            case "draw":
                self.draw(key, shown=bool(message.get("shown")))
            case "remove":
                self.delete(key)
            case "restore":
                self.restore()
            case "refresh":
                self._refresh_all()
            case "dismiss":
                self.notice = ""

    def _refresh_all(self) -> None:
        """Read the list anew, and new records of all drawn runs, also of those that the search leaves out."""
        for shown in list(self._histories):
            try:
                self.draw(shown)
            except KeyError:  # another program has deleted it
                self.draw(shown, shown=False)
        self.refresh()

    def _rename_from_page(self, key: str, text: str) -> None:
        """Rename a run and send the result to the page, which then drops the typed text or marks it as wrong."""
        try:
            self.rename(key, text)
        except ValueError as error:
            self.send({"k": "named", "key": key, "wrong": str(error)})
            return
        self.send({"k": "named", "key": key, "wrong": ""})
