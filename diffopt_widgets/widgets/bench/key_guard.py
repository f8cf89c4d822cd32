"""KeyGuard: makes a box of plain ipywidgets usable by the keyboard alone."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from diffopt_widgets.widgets.page.page_widget import PageWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ipywidgets as widgets


class KeyGuard(PageWidget):
    """Put among the children of a box: plain keys stay inside that box, and so does the focus of a button switched off.

    Without it a notebook takes an arrow on a menu, or a letter on a button, for one of its own commands, such as cutting
    the cell; and whoever presses a button that is then disabled loses the place. A field in a box of class `dw-wrong` is
    marked as invalid for those who hear it, and a button that is pressed comes after what was typed. It is not seen.

    Args:
        texts: the fields for text in that box, from its first to its last.

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

    def _receive(self, _: object, content: object, __: object) -> None:
        """A button is pressed, whose own message comes next."""
        typed = content.get("texts") if isinstance(content, dict) else None
        if isinstance(typed, list) and len(typed) == len(self._texts):
            for field, text in zip(self._texts, typed, strict=True):
                field.value = str(text)
