"""ComparisonMenu: a button for each ready comparison, with what to look for in it."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from diffopt_widgets.tasks import get_task
from diffopt_widgets.widgets.page.page_widget import PageWidget

if TYPE_CHECKING:
    from diffopt_widgets.runs.comparisons import Comparison

ABOUT = (
    "Ready comparisons: each trains a few runs that differ in one thing, from the same weights and on the same batches, "
    "after what is in progress. The form stays as it is."
)


class ComparisonMenu(PageWidget):
    """Buttons in a row; below them, what to look for in the one that is pointed at, or that was pressed last.

    It starts nothing by itself: `on_choose` is called with the comparison of the button that was pressed.

    >>> from diffopt_widgets.runs.comparisons import comparisons
    >>> ComparisonMenu(comparisons()).items[0]["title"]
    'D coefficient under cosine'
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("page/dom.js", "comparison_menu.js")
    STYLES = ("page/theme.css", "comparison_menu.css")
    items: traitlets.List[Any] = traitlets.List(read_only=True).tag(sync=True)
    about = traitlets.Unicode(ABOUT, read_only=True).tag(sync=True)
    pressed = traitlets.Unicode(help="Key of the comparison that was pressed last.").tag(sync=True)

    def __init__(
        self, comparisons: Sequence[Comparison], *, on_choose: Callable[[Comparison], None] = lambda _: None
    ) -> None:
        self._by_key = {comparison.key: comparison for comparison in comparisons}
        self._on_choose = on_choose
        listed = [{"key": c.key, "title": c.title, "look_for": f"{_size(c)} {c.look_for}"} for c in comparisons]
        self.set_trait("items", listed)
        super().__init__()
        self.on_msg(self._receive)

    def choose(self, key: str) -> None:
        """Press a button, as a person would.

        Raises:
            KeyError: there is no such comparison.
        """
        comparison = self._by_key[key]
        self.pressed = key
        self._on_choose(comparison)

    def _receive(self, _: object, content: object, __: object) -> None:
        key = content.get("choose") if isinstance(content, dict) else None
        if key in self._by_key:
            self.choose(str(key))


def _size(comparison: Comparison) -> str:
    """How much training a comparison is: "3 runs of 300 steps on Handwritten digits"."""
    runs = math.prod(len(values) for values in comparison.over.values())
    return f"{runs} runs of {comparison.plan.steps} steps on {get_task(comparison.plan.task).title}."
