"""Rest of widgets that no page shows any more: their models in page and kernel go, until they are displayed again.

A cell that is run again makes new widgets, and the old ones would stay for as long as the kernel: ipywidgets and the page
hold every model that is open. A model that rests is held only by those who use it. It has all its values, and whoever
displays it, or puts it into another widget, wakes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakSet, ref

import ipywidgets

from diffopt_widgets.widgets.plot.bundle import PlotlyBundle

_shown: WeakSet[Rest] = WeakSet()
"""Those that were displayed in a cell."""


class Rest:
    """Puts a widget with everything inside it to rest, and wakes it.

    It rests when each cell that displayed it has been run again, the page says that it and its parts are seen nowhere, and
    nothing in it is at work. A page that does not say what it shows, or a cell without an id, lets nothing rest.

    Args:
        widget: the widget.
        parts: widgets inside it that may be displayed elsewhere too.
        busy: returns whether something in it is at work.
        release: called with the ids of models that are closed next.
    """

    def __init__(
        self,
        widget: ipywidgets.DOMWidget,
        parts: Sequence[ipywidgets.DOMWidget],
        *,
        busy: Callable[[], bool],
        release: Callable[[list[str]], None],
    ) -> None:
        self._widget = ref(widget)
        self._busy, self._release = busy, release
        self._cells: dict[str, str] = {}
        """Execution in which each cell displayed it."""
        self._was_seen = self._replaced = False
        self._parts = [ref(part) for part in (widget, *parts)]
        for part in (widget, *parts):
            part._view_count = 0  # noqa: SLF001  # from now on the page tells how many views it has
            part.observe(self._counted, "_view_count")

    def displayed(self) -> None:
        """Note that the cell that is running displays the widget, and let rest those whose place it takes."""
        cell, execution = _running_cell()
        _shown.add(self)
        self._replaced = False
        self._cells[cell] = execution
        if not cell:
            return
        for other in list(_shown):
            other.cleared(cell, execution)

    def cleared(self, cell: str, execution: str) -> None:
        """Note that a cell shows only what this execution displays, and let the widget rest if it was shown there before."""
        if self._cells.get(cell, execution) != execution:
            del self._cells[cell]
            self._replaced = not self._cells
            self.settle()

    def settle(self) -> None:
        """Let the widget rest if it can."""
        if self._replaced and self._was_seen and not self._seen() and not self._busy() and (widget := self._widget()):
            _shown.discard(self)
            awake = [part for part in _everything(widget) if part.comm is not None]
            self._release([part.model_id for part in awake])
            for part in reversed(awake):
                part.close()
                for name in _DISPLAYS:  # which `close` has hidden
                    part.__dict__.pop(name, None)
                part.__class__, part.__dict__[_REST] = _resting(part.__class__), self

    def wake(self) -> None:
        """Open the models that rest again; they keep their ids."""
        widget = self._widget()
        resting = [part for part in _everything(widget) if part.comm is None] if widget else []
        if resting:
            self._was_seen = False
        for part in resting:
            if part.__dict__.pop(_REST, None):
                part.__class__ = type(part).__base__
            part.open()

    def _seen(self) -> bool:
        return any(part._view_count for held in self._parts if (part := held()))  # noqa: SLF001

    def _counted(self, change: Any) -> None:
        self._was_seen |= bool(change["new"])
        self.settle()


def close_everything(widget: ipywidgets.Widget) -> None:
    """Close a widget and the widgets inside it; displayed again, they open again."""
    for part in reversed(list(_everything(widget))):
        part.close()
        for name in _DISPLAYS:  # which `close` has hidden
            part.__dict__.pop(name, None)


_DISPLAYS = ("_repr_mimebundle_", "_ipython_display_")
"""What IPython calls to display a widget; ipywidgets 7 and 8 have one of them, some widgets of ours another."""
_REST = "_diffopt_rest"
"""Attribute by which a widget that rests knows who can wake it."""


def _resting(kind: type[ipywidgets.Widget]) -> type[ipywidgets.Widget]:
    """Make the class that a widget of this kind has while it rests; only a class can have a `model_id` that wakes.

    It is not kept for other widgets: ipywidgets gives many of them a class of their own, which would stay with it for ever.
    """

    def waking(name: str) -> Callable[..., Any]:
        def call(part: Any, *args: Any, **kwargs: Any) -> Any:  # Any: as the method itself
            part.__dict__[_REST].wake()
            return getattr(part, name)(*args, **kwargs)

        return call

    methods = {name: waking(name) for name in _DISPLAYS if hasattr(kind, name)}
    model_id = property(lambda part: part.__dict__[_REST].wake() or part.model_id)
    own = {"model_id": model_id, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), {**methods, **own})


def _everything(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """Iterate over the widgets inside a widget, then the widget itself; what other widgets share is left out."""
    for name in widget.keys:
        value = getattr(widget, name)
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, ipywidgets.Widget) and not isinstance(inner, PlotlyBundle):
                yield from _everything(inner)
    yield widget


def _running_cell() -> tuple[str, str]:
    """Return the id of the cell that is running and that of its execution; empty ones outside a notebook."""
    from IPython.core.getipython import get_ipython

    with contextlib.suppress(AttributeError, KeyError, TypeError):
        shell: Any = get_ipython()
        parent = shell.kernel.get_parent("shell")
        return str(parent["metadata"]["cellId"]), str(parent["header"]["msg_id"])
    return "", ""
