"""RunsTable: the runs with colour, name, status and numbers, and buttons to act on them."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import traitlets

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.runs.collection import Collection
from diffopt_widgets.runs.compared import Verdict, trained_words, verdict
from diffopt_widgets.runs.run import Run
from diffopt_widgets.settings.arguments import check_flag, check_kind, check_text, checked_list
from diffopt_widgets.settings.variations import name_by_difference
from diffopt_widgets.widgets.page.event_loop import on_loop
from diffopt_widgets.widgets.page.folders import without_folders
from diffopt_widgets.widgets.page.stand_in import Still, StillWidget
from diffopt_widgets.widgets.tables.differences import compare_settings
from diffopt_widgets.widgets.tables.run_row import cannot_continue, cannot_remove, clean_name, row_of
from diffopt_widgets.widgets.tables.still import in_words, runs_still

log = logging.getLogger(__name__)


@printed_readably
class RunsTable(StillWidget):
    """One row for each run: its numbers, and buttons to act on it. Runs that differ by their seed only share a row, which opens.

    A click on a column's heading sorts; a table of many rows can be filtered, and grouped by an option that varies.

    Used alone it needs no wiring: a name typed in it becomes `run.name`, and the table itself hides, removes and restores
    runs. The callbacks are called after an action of a person in the page, and not when code calls the methods.

    Args:
        runs: the runs at first, such as the result of `sweep`.
        on_rename: called with a run's key and its new name.
        on_visible: called with a run's key and its new visibility, a bool.
        on_remove: called with a run's key.
        on_restore: called with the key of a run whose removal was undone.
        on_repeat: called with a run's key; without it there is no such button.
        on_continue: called with the key of a run that can continue; without it there is no such button.
        on_stop: called with the key of a run that trains or waits; without it there is no such button.
        collection: the owner of the runs and of their appearance, where other views paint them too; by default a new one.
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
        "runs_order.js",
        "runs_icons.js",
        "runs_name.js",
        "runs_row.js",
        "runs_group.js",
        "runs_compare.js",
        "runs_table.js",
    )
    STYLES = ("page/theme.css", "runs_table.css")

    rows: traitlets.List[Any] = traitlets.List(
        read_only=True,
        help="A dict for each run: key, name, color, differs, setting, visible, status, progress, its numbers.",
    ).tag(sync=True)
    comparison = traitlets.Dict(read_only=True, help="The settings of the shown runs, line by line.").tag(sync=True)
    removed = traitlets.Unicode(read_only=True, help="The run that Undo brings back; empty when none.").tag(sync=True)
    offers = traitlets.Dict(read_only=True, help="Whether a run can be repeated, continued and stopped here.").tag(
        sync=True
    )
    outcome = traitlets.Unicode(read_only=True, help="Which run ended best, in words; empty while runs go on.").tag(
        sync=True
    )
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
        on_stop: Callable[[str], None] | None = None,
        collection: Collection | None = None,
        layout: Any = None,  # an ipywidgets Layout, or a dict for one
    ) -> None:
        self._on_rename, self._on_visible = on_rename or _ignore, on_visible or _ignore
        self._on_remove, self._on_restore = on_remove or _ignore, on_restore or _ignore
        self._on_repeat, self._on_continue = on_repeat or _ignore, on_continue or _ignore
        self._on_stop = on_stop or _ignore
        self._collection = Collection() if collection is None else collection
        self._changed_row: dict[str, Any] | None = None
        self._compared: frozenset[str] | None = None
        self.verdict = Verdict()
        """How the compared runs ended against each other; print it for its words."""
        acts = {"repeat": on_repeat, "continue": on_continue, "stop": on_stop}
        self.set_trait("offers", {name: act is not None for name, act in acts.items()})
        first = checked_list("runs", runs, ("plan", "history", "key"), "runs", "Write dw.RunsTable([run, other]).")
        names = name_by_difference([run.plan for run in first]) if first else []
        for run, name in zip(first, names, strict=True):
            self._collection.add(run, differs=name)
        self._publish()  # before the widget opens, so that its first message has everything
        super().__init__(**({} if layout is None else {"layout": layout}))
        self.on_msg(self._receive)
        self._collection.shown.observe(
            lambda: on_loop(self._cells, self._paint)
        )  # a click in a legend may come from any thread

    def __repr__(self) -> str:
        return f"RunsTable({in_words(self.names.values())})"

    def still(self) -> Still:
        """Return the table as it is now, for pages without widgets."""
        compared = self.verdict.runs
        trained = f"{trained_words([run.plan for run in compared])}. " if len(compared) > 1 else ""
        return runs_still(self.rows, f"{trained}{self.outcome}".strip())

    @property
    def runs(self) -> tuple[Run, ...]:
        """Runs in the table, from the top."""
        return self._collection.runs

    @property
    def names(self) -> dict[str, str]:
        """Name of each run by its key."""
        return {row["key"]: row["name"] for row in self.rows}

    @property
    def visible(self) -> dict[str, bool]:
        """Visibility of each run by its key."""
        return {row["key"]: row["visible"] for row in self.rows}

    def add(self, run: Run, color: str | None = None, *, differs: str = "", visible: bool = True) -> None:
        """Add a row at the end.

        Args:
            run: the run; call `show` when it has new records or another status.
            color: any CSS colour; by default the least used one of the palette.
            differs: its differences from other runs, in a few words; shown below its name unless the name has them.
            visible: whether it is shown at first.

        Raises:
            ValueError: it is in the table already, or `color` is no colour.
        """
        check_kind("run", run, Run, "a run", "Give what dw.train(…) returned.")
        check_kind("color", color, (str, type(None)), "a CSS colour", 'Write color="#1f77b4", or leave it out.')
        check_text("differs", differs, 'Write a few words, such as "d_coef 0.5".')
        check_flag("visible", visible)
        self._collection.add(run, color, differs=differs, visible=visible)

    def show(self, run: Run) -> None:
        """Bring a run's numbers up to date; one that is not in the table is passed over.

        While nothing changes nothing is sent, and while its status stays the same only its own row.
        """
        check_kind("run", run, Run, "a run", "Give what dw.train(…) returned.")
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
        """Bring back the run that was removed last, to its place; return its key, or None when there is none."""
        return self._collection.restore()

    def rename(self, key: str, name: str) -> None:
        """Give a run another name, in the table and as `run.name`.

        Raises:
            KeyError: the table has no such run.
            ValueError: the name is empty or too long.
        """
        self._check(key)
        check_text("name", name, 'Write a name, such as "first try".')
        self._collection.rename(key, clean_name(name))

    def set_visible(self, key: str, visible: bool) -> None:
        """Mark a run as shown or hidden.

        Raises:
            KeyError: the table has no such run.
        """
        self._check(key)
        check_flag("visible", visible)
        self._collection.shown.change(key, visible=visible)

    def compare(self, runs: Iterable[Run] | None) -> None:
        """Mark the best of these runs when all have ended; None compares all runs in the table, which is so at first."""
        compared = None if runs is None else frozenset(run.key for run in runs)
        if compared != self._compared:
            self._compared = compared
            self._publish()

    def set_differs(self, key: str, text: str) -> None:
        """Set the text, a few words, on a run's differences from the others.

        Raises:
            KeyError: the table has no such run.
        """
        self._check(key)
        check_text("text", text, 'Write a few words, such as "d_coef 0.5".')
        self._collection.shown.change(key, differs=text)

    def send_state(self, key: Any = None) -> None:  # as in ipywidgets: a name, a set of names or None for all
        """Send traits to the page; when only one row changed, send that row alone."""
        if key == "rows" and self._changed_row is not None:
            self.send({"k": "row", "row": self._changed_row})
        else:
            super().send_state(key)

    def _check(self, key: str) -> None:
        if not isinstance(key, str) or key not in self._collection:
            raise KeyError(
                f"the table has no run with the key {safe_repr(key)}; its runs have {', '.join(self.names) or 'none'}"
            )

    def _paint(self) -> None:
        """Paint the changes in the appearance of runs."""
        now = {run.key: self._collection.shown.now[run.key] for run in self._collection.runs}
        painted = {row["key"]: row for row in self.rows}
        if list(now) != list(painted) or any(run.visible != painted[key]["visible"] for key, run in now.items()):
            self._publish()
            return
        for key, run in now.items():
            if any(painted[key][name] != getattr(run, name) for name in ("name", "color", "differs", "setting")):
                self._refresh(key)

    def _publish(self) -> None:
        """Update every trait, in one message to the page."""
        runs, now = self._collection.runs, self._collection.shown.now
        shown = [run for run in runs if now[run.key].visible]
        settings = {
            now[run.key].setting or run.key: run for run in reversed(shown)
        }  # the first of several seeds stands for all
        columns = [run for run in shown if settings[now[run.key].setting or run.key] is run]
        lines = compare_settings([run.plan for run in columns]) if len(columns) > 1 else ()
        comparison = {"keys": [run.key for run in columns], "lines": [asdict(line) for line in lines]}
        compared = [run for run in runs if self._compared is None or run.key in self._compared]
        self.verdict = verdict(compared)
        best = {run.key for run in self.verdict.best_runs}
        about = self.verdict.distinction
        with self.hold_sync():
            self.set_trait("rows", [row_of(run, now[run.key], about if run.key in best else "") for run in runs])
            self.set_trait("outcome", "" if self.verdict.going else str(self.verdict))
            self.set_trait("comparison", comparison)
            self.set_trait("removed", self._collection.removed)
        self.renew_still()

    def _refresh(self, key: str) -> None:
        """Update one row."""
        rows = list(self.rows)
        place = next((i for i, row in enumerate(rows) if row["key"] == key), None)
        if place is None:  # added in another thread a moment ago: all rows are painted when the cells' loop comes to it
            return
        run, before = self._collection.find(key), rows[place]
        if run.status != before["status"] or (
            run.ended and row_of(run, self._collection.shown.now[key], before["best"]) != before
        ):
            self._publish()
            return
        rows[place] = row_of(run, self._collection.shown.now[key], before["best"])
        # A message with one row may get lost; a change of status sends all rows, and so repairs a loss.
        self._changed_row = rows[place] if rows[place]["status"] == before["status"] else None
        try:
            self.set_trait("rows", rows)
        finally:
            self._changed_row = None
        if rows[place]["status"] != "running" or before["status"] != "running":  # else it changes ten times a second
            self.renew_still()

    def _receive(self, _: object, content: object, __: object) -> None:
        """Handle a message from the page. Errors are shown above the table, since nobody would see them otherwise."""
        message = content if isinstance(content, dict) else {}
        kind, key = message.get("k"), message.get("key")
        try:
            if isinstance(key, str) and key in self._collection:
                self._handle(key, message)
            elif kind == "restore":
                if restored := self.restore():
                    self._on_restore(restored)
            elif kind == "dismiss":
                self.notice = ""
            # else the message is about a run that has been removed meanwhile
        except Exception as error:  # from a callback or an observer of other code
            log.exception("a callback after a change in the table of runs failed")
            problem = f"The change was made, but a callback after it failed: {type(error).__name__}: {error}"
            self.notice = without_folders(problem)

    def _handle(self, key: str, message: dict[str, Any]) -> None:
        run = self._collection.find(key)
        match message.get("k"):
            case "rename":
                self._rename_from_page(key, str(message.get("name", "")))
            case "visible":
                visible = bool(message.get("visible"))
                self.set_visible(key, visible)
                self._on_visible(key, visible)
            case "remove" if not cannot_remove(run):
                self.remove(key)
                self._on_remove(key)
            case "repeat":
                self._on_repeat(key)
            case "continue" if not cannot_continue(run):
                self._on_continue(key)
            case "stop" if not run.ended:
                self._on_stop(key)

    def _rename_from_page(self, key: str, text: str) -> None:
        """Rename a run and send the result to the page, which then drops the typed text or marks it as wrong."""
        try:
            name = clean_name(text)
        except ValueError as error:
            self.send({"k": "named", "key": key, "wrong": str(error)})
            return
        self.rename(key, name)
        self.send({"k": "named", "key": key, "wrong": ""})
        self._on_rename(key, name)


def _ignore(*_: object) -> None:
    """Default callback: do nothing."""
