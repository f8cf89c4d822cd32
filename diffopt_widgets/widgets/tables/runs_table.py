"""RunsTable: the runs so far, with colour, name, how they ended, and what can be done with them."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import traitlets

from diffopt_widgets.drawing.panels import next_color
from diffopt_widgets.runs.run import name_by_difference
from diffopt_widgets.widgets.page.page_widget import PageWidget
from diffopt_widgets.widgets.tables.differences import compare_settings
from diffopt_widgets.widgets.tables.run_row import Entry, cannot_continue, cannot_remove, clean_name, row_of

if TYPE_CHECKING:
    from diffopt_widgets.runs.run import Run

UNDO_STEPS = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Removed:
    entry: Entry
    place: int
    """Where it stood."""


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
        layout: Any = None,  # an ipywidgets Layout, or a dict for one
    ) -> None:
        self._tell_renamed, self._tell_visible = on_rename or _nobody, on_visible or _nobody
        self._tell_removed, self._tell_restored = on_remove or _nobody, on_restore or _nobody
        self._repeat, self._continue = on_repeat or _nobody, on_continue or _nobody
        self._entries: dict[str, Entry] = {}
        self._removed: list[_Removed] = []
        self._changed_row: dict[str, Any] | None = None
        self.set_trait("offers", {"repeat": on_repeat is not None, "continue": on_continue is not None})
        given = list(runs)
        names = name_by_difference([run.plan for run in given]) if given else []
        for run, name in zip(given, names, strict=True):
            self._insert(Entry(run, self._next_color(), name, visible=True), len(self._entries))
        self._publish()  # before the widget opens, so that its first message holds everything
        super().__init__(**({} if layout is None else {"layout": layout}))
        self.on_msg(self._receive)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs in the table, from the top."""
        return tuple(entry.run for entry in self._entries.values())

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
        if run.key in self._entries:
            raise ValueError(f"the run {run.name!r} is in the table already")
        self._removed = [one for one in self._removed if one.entry.run.key != run.key]
        self._insert(Entry(run, color or self._next_color(), differs, visible), len(self._entries))
        self._publish()

    def show(self, run: Run) -> None:
        """Bring a run's numbers up to date; one that is not in the table is passed over.

        While nothing changes nothing is sent, and while its status stays the same only its own row.
        """
        if run.key in self._entries:
            self._refresh(run.key)

    def remove(self, key: str) -> None:
        """Take a run's row away; `restore` brings it back.

        Raises:
            KeyError: the table has no such run.
        """
        entry = self._entry(key)
        place = list(self._entries).index(key)
        del self._entries[key]
        self._removed = [*self._removed[1 - UNDO_STEPS :], _Removed(entry, place)]
        self._publish()

    def restore(self) -> str | None:
        """Bring the run that was removed last back to its place; returns its key, or None when there is none."""
        if not self._removed:
            return None
        last = self._removed.pop()
        self._insert(last.entry, last.place)
        self._publish()
        return last.entry.run.key

    def rename(self, key: str, name: str) -> None:
        """Give a run another name, in the table and as `run.name`.

        Raises:
            KeyError: the table has no such run.
            ValueError: the name is empty or too long.
        """
        self._entry(key).run.name = clean_name(name)
        self._refresh(key)

    def set_visible(self, key: str, visible: bool) -> None:
        """Mark a run as shown or hidden.

        Raises:
            KeyError: the table has no such run.
        """
        self._entry(key).visible = visible
        self._publish()

    def set_differs(self, key: str, text: str) -> None:
        """Say in a few words what sets a run apart.

        Raises:
            KeyError: the table has no such run.
        """
        self._entry(key).differs = text
        self._refresh(key)

    def send_state(self, key: Any = None) -> None:  # as ipywidgets has it: a name, a set of names or None for all
        """Send traits to the page; of the rows only the one that changed, where no other did."""
        if key == "rows" and self._changed_row is not None:
            self.send({"k": "row", "row": self._changed_row})
        else:
            super().send_state(key)

    def _entry(self, key: str) -> Entry:
        if key not in self._entries:
            raise KeyError(f"the table has no run with the key {key!r}")
        return self._entries[key]

    def _next_color(self) -> str:
        gone = (one.entry.color for one in self._removed)  # they may come back
        return next_color([*(entry.color for entry in self._entries.values()), *gone])

    def _insert(self, entry: Entry, place: int) -> None:
        items = list(self._entries.items())
        self._entries = dict([*items[:place], (entry.run.key, entry), *items[place:]])

    def _publish(self) -> None:
        """Bring every trait up to date, in one message to the page."""
        shown = [entry.run for entry in self._entries.values() if entry.visible]
        lines = compare_settings([run.plan for run in shown]) if len(shown) > 1 else ()
        comparison = {"keys": [run.key for run in shown], "lines": [asdict(line) for line in lines]}
        with self.hold_sync():
            self.set_trait("rows", [row_of(entry) for entry in self._entries.values()])
            self.set_trait("comparison", comparison)
            self.set_trait("removed", self._removed[-1].entry.run.name if self._removed else "")

    def _refresh(self, key: str) -> None:
        """Bring one row up to date."""
        rows = list(self.rows)
        place = next(i for i, row in enumerate(rows) if row["key"] == key)
        before, rows[place] = rows[place], row_of(self._entries[key])
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
            if isinstance(key, str) and key in self._entries:
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
        run = self._entries[key].run
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
