"""KeyGuard: makes a box of plain ipywidgets usable by the keyboard alone."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from diffopt_widgets.widgets.page.page_widget import PageWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ipywidgets as widgets


class KeyGuard(PageWidget):
    """Invisible child of a box that keeps plain keys inside the box, and the focus near a button that becomes disabled.

    Without it a notebook takes an arrow key on a menu, or a letter on a button, for a command of its own, such as cutting
    the cell; and a person who presses a button that is then disabled loses the focus. It also marks a field in a box of
    class `dw-wrong` as invalid for screen readers, and sends typed texts before the click of a button.

    Args:
        texts: the text fields of that box, from first to last.

    >>> import ipywidgets
    >>> box = ipywidgets.VBox([ipywidgets.Button(description="Run"), KeyGuard()])
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("key_guard.js",)
    STYLES = ()

    def __init__(self, texts: Sequence[widgets.Text] = ()) -> None:
        self._texts = tuple(texts)
        super().__init__()
        self.on_msg(self._receive)

    def __repr__(self) -> str:
        return f"KeyGuard({len(self._texts)} text fields)"

    def release(self, ids: Sequence[str]) -> None:
        """Make the page let go of models that are closed next; none of them may have a view any more."""
        self.send({"release": list(ids)})

    def _receive(self, _: object, content: object, __: object) -> None:
        """Take over the typed texts when a button is pressed; the button's own message comes next."""
        typed = content.get("texts") if isinstance(content, dict) else None
        if isinstance(typed, list) and len(typed) == len(self._texts):
            for field, text in zip(self._texts, typed, strict=True):
                field.value = str(text)
