"""RunsTable: the runs so far, with colour, name, how they ended, and what can be done with them."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import traitlets

from diffopt_widgets.runs.collection import Collection
from diffopt_widgets.runs.run import name_by_difference
from diffopt_widgets.widgets.page.event_loop import on_loop
from diffopt_widgets.widgets.page.page_widget import PageWidget
from diffopt_widgets.widgets.tables.differences import compare_settings
from diffopt_widgets.widgets.tables.run_row import cannot_continue, cannot_remove, clean_name, row_of

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run

log = logging.getLogger(__name__)


class RunsTable(PageWidget):
    """One row for each run: its numbers, and what can be done with it.

    Used alone it needs no wiring: a name typed there becomes `run.name`, and runs are hidden, removed and brought back in
    the table itself. What a person does in the page is done first and then told to the callbacks; what code does with the
    methods is not told.

    Args:
        runs: the runs to begin with, such as `sweep` returns.
        on_rename: called with a run's key and its new name.
        on_visible: called with a run's key and whether it is shown.
        on_remove: called with a run's key.
        on_restore: called with the key of a run whose removal was undone.
        on_repeat: called with a run's key; without it there is no such button.
        on_continue: called with the key of a run that can go on; without it there is no such button.
        collection: the owner of the runs and of how they are shown, where others paint them too; one of its own by default.
        layout: an ipywidgets Layout.

    >>> from diffopt_widgets import Settings, sweep
    >>> runs = sweep(Settings("PRODIGY"), {"d_coef": [0.5, 1.0]}, task="swiss_roll", steps=2, progress=False)
    >>> table = RunsTable(runs)
    >>> table.rename(runs[0].key, "half")
    >>> table.remove(runs[1].key)
    >>> [(row["name"], row["status"]) for row in table.rows], runs[0].name
    ([('half', 'done')], 'half')
    >>> table.restore() == runs[1].key
    True
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = (
        *("page/dom.js", "page/text.js", "page/tip.js"),
        "runs_text.js",
        "runs_icons.js",
        "runs_name.js",
        "runs_row.js",
        "runs_compare.js",
        "runs_table.js",
    )
    STYLES = ("page/theme.css", "runs_table.css")

    rows: traitlets.List[Any] = traitlets.List(
        read_only=True, help="A dict for each run: key, name, color, differs, visible, status, progress, its numbers."
    ).tag(sync=True)
    comparison = traitlets.Dict(read_only=True, help="The settings of the shown runs, line by line.").tag(sync=True)
    removed = traitlets.Unicode(read_only=True, help="The run that Undo brings back; empty when none.").tag(sync=True)
    offers = traitlets.Dict(read_only=True, help="Whether a run can be repeated and continued here.").tag(sync=True)
    notice = traitlets.Unicode(help="Something that went wrong elsewhere, shown above the table.").tag(sync=True)

    def __init__(
        self,
        runs: Iterable[Run] = (),
        *,
        on_rename: Callable[[str, str], None] | None = None,
        on_visible: Callable[[str, bool], None] | None = None,
        on_remove: Callable[[str], None] | None = None,
        on_restore: Callable[[str], None] | None = None,
        on_repeat: Callable[[str], None] | None = None,
        on_continue: Callable[[str], None] | None = None,
        collection: Collection | None = None,
        layout: Any = None,  # an ipywidgets Layout, or a dict for one
    ) -> None:
        self._tell_renamed, self._tell_visible = on_rename or _nobody, on_visible or _nobody
        self._tell_removed, self._tell_restored = on_remove or _nobody, on_restore or _nobody
        self._repeat, self._continue = on_repeat or _nobody, on_continue or _nobody
        self._collection = Collection() if collection is None else collection
        self._changed_row: dict[str, Any] | None = None
        self.set_trait("offers", {"repeat": on_repeat is not None, "continue": on_continue is not None})
        given = list(runs)
        names = name_by_difference([run.plan for run in given]) if given else []
        for run, name in zip(given, names, strict=True):
            self._collection.add(run, differs=name)
        self._publish()  # before the widget opens, so that its first message holds everything
        super().__init__(**({} if layout is None else {"layout": layout}))
        self.on_msg(self._receive)
        self._collection.shown.observe(lambda: on_loop(self._cells, self._paint))  # a click in a legend has any thread

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs in the table, from the top."""
        return self._collection.runs

    @property
    def names(self) -> dict[str, str]:
        """The name of each run by its key."""
        return {row["key"]: row["name"] for row in self.rows}

    @property
    def visible(self) -> dict[str, bool]:
        """Whether each run is shown, by its key."""
        return {row["key"]: row["visible"] for row in self.rows}

    def add(self, run: Run, color: str | None = None, *, differs: str = "", visible: bool = True) -> None:
        """Add a row at the end.

        Args:
            run: the run; call `show` when it has new records or another status.
            color: any CSS colour; by default the one of the palette that is used least.
            differs: what sets it apart, in a few words, shown below its name where the name does not say it.
            visible: whether it is shown at first.

        Raises:
            ValueError: it is in the table already.
        """
        self._collection.add(run, color, differs=differs, visible=visible)

    def show(self, run: Run) -> None:
        """Bring a run's numbers up to date; one that is not in the table is passed over.

        While nothing changes nothing is sent, and while its status stays the same only its own row.
        """
        if run.key not in self._collection:
            return
        if run.name != self._collection.shown.now[run.key].name:
            self._collection.rename(run.key, run.name)
        self._refresh(run.key)

    def remove(self, key: str) -> None:
        """Take a run's row away; `restore` brings it back.

        Raises:
            KeyError: the table has no such run.
        """
        self._check(key)
        self._collection.remove(key)

    def restore(self) -> str | None:
        """Bring the run that was removed last back to its place; returns its key, or None when there is none."""
        return self._collection.restore()

    def rename(self, key: str, name: str) -> None:
        """Give a run another name, in the table and as `run.name`.

        Raises:
            KeyError: the table has no such run.
            ValueError: the name is empty or too long.
        """
        self._check(key)
        self._collection.rename(key, clean_name(name))

    def set_visible(self, key: str, visible: bool) -> None:
        """Mark a run as shown or hidden.

        Raises:
            KeyError: the table has no such run.
        """
        self._check(key)
        self._collection.shown.change(key, visible=visible)

    def set_differs(self, key: str, text: str) -> None:
        """Say in a few words what sets a run apart.

        Raises:
            KeyError: the table has no such run.
        """
        self._check(key)
        self._collection.shown.change(key, differs=text)

    def send_state(self, key: Any = None) -> None:  # as ipywidgets has it: a name, a set of names or None for all
        """Send traits to the page; of the rows only the one that changed, where no other did."""
        if key == "rows" and self._changed_row is not None:
            self.send({"k": "row", "row": self._changed_row})
        else:
            super().send_state(key)

    def _check(self, key: str) -> None:
        if key not in self._collection:
            raise KeyError(f"the table has no run with the key {key!r}")

    def _paint(self) -> None:
        """Paint what has changed of how runs are shown."""
        now = {run.key: self._collection.shown.now[run.key] for run in self._collection.runs}
        painted = {row["key"]: row for row in self.rows}
        if list(now) != list(painted) or any(one.visible != painted[key]["visible"] for key, one in now.items()):
            self._publish()
            return
        for key, one in now.items():
            if any(painted[key][name] != getattr(one, name) for name in ("name", "color", "differs")):
                self._refresh(key)

    def _publish(self) -> None:
        """Bring every trait up to date, in one message to the page."""
        runs, now = self._collection.runs, self._collection.shown.now
        shown = [run for run in runs if now[run.key].visible]
        lines = compare_settings([run.plan for run in shown]) if len(shown) > 1 else ()
        comparison = {"keys": [run.key for run in shown], "lines": [asdict(line) for line in lines]}
        with self.hold_sync():
            self.set_trait("rows", [row_of(run, now[run.key]) for run in runs])
            self.set_trait("comparison", comparison)
            self.set_trait("removed", self._collection.removed)

    def _refresh(self, key: str) -> None:
        """Bring one row up to date."""
        rows = list(self.rows)
        place = next(i for i, row in enumerate(rows) if row["key"] == key)
        before, rows[place] = rows[place], row_of(self._collection.find(key), self._collection.shown.now[key])
        # A message of one row may get lost; a change of status is sent with all rows, and so fixes that.
        self._changed_row = rows[place] if rows[place]["status"] == before["status"] else None
        try:
            self.set_trait("rows", rows)
        finally:
            self._changed_row = None

    def _receive(self, _: object, content: object, __: object) -> None:
        """Do what the page asks. Nothing raised here would be seen by anyone, so it is shown above the table."""
        message = content if isinstance(content, dict) else {}
        kind, key = message.get("k"), message.get("key")
        try:
            if isinstance(key, str) and key in self._collection:
                self._obey(key, message)
            elif kind == "restore":
                if restored := self.restore():
                    self._tell_restored(restored)
            elif kind == "dismiss":
                self.notice = ""
            # else it is about a run that has meanwhile been removed
        except Exception as error:  # somebody else's callback or observer
            log.exception("what follows a change in the table of runs failed")
            self.notice = f"The change is made, but something that follows it failed: {type(error).__name__}: {error}"

    def _obey(self, key: str, message: dict[str, Any]) -> None:
        run = self._collection.find(key)
        match message.get("k"):
            case "rename":
                self._rename_from_page(key, str(message.get("name", "")))
            case "visible":
                visible = bool(message.get("visible"))
                self.set_visible(key, visible)
                self._tell_visible(key, visible)
            case "remove" if not cannot_remove(run):
                self.remove(key)
                self._tell_removed(key)
            case "repeat":
                self._repeat(key)
            case "continue" if not cannot_continue(run):
                self._continue(key)

    def _rename_from_page(self, key: str, text: str) -> None:
        """Rename, and tell the page how it went, so that it lets go of what was typed or marks it."""
        try:
            name = clean_name(text)
        except ValueError as error:
            self.send({"k": "named", "key": key, "wrong": str(error)})
            return
        self.rename(key, name)
        self.send({"k": "named", "key": key, "wrong": ""})
        self._tell_renamed(key, name)


def _nobody(*_: object) -> None:
    """Stands where there is no callback."""
