"""ShownRuns: the only owner of how runs are shown. Plot, table and samples paint its contents and keep no copy of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from diffopt_widgets.catalogue.values import safe_repr
from diffopt_widgets.drawing.markup import is_color
from diffopt_widgets.plain_text import showable


@dataclass(frozen=True, slots=True)
class Shown:
    """Appearance of a run in every view."""

    key: str
    name: str
    color: str
    visible: bool = True
    differs: str = ""
    """Its differences from the other runs, in a few words."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Settings in which it differs from the other runs."""
    group: str = ""
    """Group of the run; a legend keeps the runs of one group together."""
    setting: str = ""
    """Name of the setting that it shares with runs of other seeds; they are shown as one. "" for a run that is shown alone."""
    dash: str = "solid"
    """Line style, which tells it from others of its colour."""

    def __post_init__(self) -> None:
        """Refuse what is no colour, since every view writes it into a page, and make all texts fit to be shown.

        Raises:
            ValueError: `color` is no CSS colour.
        """
        if not is_color(self.color):
            raise ValueError(
                f"color is {safe_repr(self.color)}; it must be a CSS colour, such as '#1f77b4' or 'tomato'"
            )
        for name in ("name", "differs", "group", "setting"):
            object.__setattr__(self, name, showable(getattr(self, name)))
        details = {showable(str(name)): showable(str(value)) for name, value in self.details.items()}
        object.__setattr__(self, "details", details)


class ShownRuns:
    """Appearance of all runs, in their order; each view observes it and paints again after a change.

    Any thread may change it. An observer is called after the change, in the thread that made it, and reads `now`.

    Args:
        on_rename: called before the observers with the key and the new name of a renamed run.

    >>> shown, seen = ShownRuns(), []
    >>> shown.observe(lambda: seen.append([run.name for run in shown.now.values()]))
    >>> shown.add(Shown("a", "PRODIGY", "#1B80C4"))
    >>> shown.change("a", name="baseline")
    >>> shown.change("a", name="baseline")
    >>> seen
    [['PRODIGY'], ['baseline']]
    """

    def __init__(self, on_rename: Callable[[str, str], None] = lambda *_: None) -> None:
        self._on_rename = on_rename
        self._now: Mapping[str, Shown] = MappingProxyType({})
        self._lock = threading.Lock()
        self._observers: list[Callable[[], None]] = []

    @property
    def now(self) -> Mapping[str, Shown]:
        """Snapshot of the runs by their keys; a later change does not alter this mapping."""
        return self._now

    def observe(self, paint: Callable[[], None]) -> None:
        """Call `paint` after each change from now on."""
        self._observers.append(paint)

    def add(self, run: Shown) -> None:
        """Add a run after the others.

        Raises:
            ValueError: there is a run with this key already.
        """

        def put(runs: dict[str, Shown]) -> None:
            if run.key in runs:
                raise ValueError(f"there is already a run with the key {run.key!r}")
            runs[run.key] = run

        self.edit(put)

    def change(self, key: str, **changes: Any) -> None:  # Any: values of Shown's fields
        """Change how a run is shown. Raises KeyError when there is none with this key."""

        def put(runs: dict[str, Shown]) -> None:
            runs[key] = replace(runs[key], **changes)

        self.edit(put)

    def remove(self, key: str) -> None:
        """Remove a run. Raises KeyError when there is none with this key."""

        def take(runs: dict[str, Shown]) -> None:
            del runs[key]

        self.edit(take)

    def edit(self, change: Callable[[dict[str, Shown]], None]) -> None:
        """Make several changes at once to the copy that `change` receives; observers are called only if something differs."""
        with self._lock:
            before, runs = self._now, dict(self._now)
            change(runs)
            self._now = MappingProxyType(runs)
        for key, run in runs.items():
            if key in before and before[key].name != run.name:
                self._on_rename(key, run.name)
        if list(before.items()) != list(runs.items()):
            for paint in tuple(self._observers):  # not under the lock, since painting may need another lock
                paint()
