"""ComparisonMenu: a button for each ready comparison, and a text on what to look for."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from diffopt_widgets.plain_text import printed_readably
from diffopt_widgets.tasks import get_task
from diffopt_widgets.widgets.page.page_widget import PageWidget

if TYPE_CHECKING:
    from diffopt_widgets.runs.comparisons import Comparison

ABOUT = (
    "Ready comparisons: each trains a few runs side by side that differ in one thing, from the same weights and batches, after "
    "those in progress. The form does not change. Point at a button, or tap it once, to read what to look for."
)


@printed_readably
class ComparisonMenu(PageWidget):
    """Row of buttons; the text below is about the comparison under the mouse, or else the one that was started last.

    The menu itself starts nothing: it calls `on_choose` with the comparison of the pressed button. Who starts it sets
    `pressed`, so that a button whose comparison was refused does not stay pressed.

    >>> from diffopt_widgets.runs.comparisons import comparisons
    >>> ComparisonMenu(comparisons()).items[0]["title"]
    'D coefficient under cosine'
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("page/dom.js", "comparison_menu.js")
    STYLES = ("page/theme.css", "comparison_menu.css")
    items: traitlets.List[Any] = traitlets.List(read_only=True).tag(sync=True)
    about = traitlets.Unicode(ABOUT, read_only=True).tag(sync=True)
    pressed = traitlets.Unicode(help="Key of the comparison that was started last.").tag(sync=True)

    def __init__(
        self, comparisons: Sequence[Comparison], *, on_choose: Callable[[Comparison], None] = lambda _: None
    ) -> None:
        self._by_key = {comparison.key: comparison for comparison in comparisons}
        self._on_choose = on_choose
        items = [{"key": c.key, "title": c.title, "look_for": f"{_size_text(c)} {c.look_for}"} for c in comparisons]
        self.set_trait("items", items)
        super().__init__()
        self.on_msg(self._receive)

    def __repr__(self) -> str:
        return f"ComparisonMenu({len(self._by_key)} comparisons)"

    def choose_next(self) -> None:
        """Press the button after that of the comparison that was started last, or the first one."""
        keys = list(self._by_key)
        after = keys.index(self.pressed) + 1 if self.pressed in keys else 0
        self.choose(keys[after % len(keys)])

    def choose(self, key: str) -> None:
        """Press the button of a comparison.

        Raises:
            KeyError: there is no such comparison.
        """
        self._on_choose(self._by_key[key])

    def _receive(self, _: object, content: object, __: object) -> None:
        key = content.get("choose") if isinstance(content, dict) else None
        if key in self._by_key:
            self.choose(str(key))


def _size_text(comparison: Comparison) -> str:
    """Size of a comparison as text: "3 runs of 300 steps on Handwritten digits."."""
    return f"{comparison.size} runs of {comparison.plan.steps} steps on {get_task(comparison.plan.task).title}."
