"""KeyGuard: makes a box of plain ipywidgets usable by the keyboard alone."""

from __future__ import annotations

import pathlib

import anywidget
import traitlets

from diffopt_widgets.pages import page_code

STATIC = pathlib.Path(__file__).parent / "static"
SCRIPTS = ("form_dom.js", "key_guard.js")


class KeyGuard(anywidget.AnyWidget):
    """Put among the children of a box: plain keys stay inside that box, and so does the focus of a button switched off.

    Without it a notebook takes an arrow on a menu, or a letter on a button, for one of its own commands, such as cutting
    the cell; and whoever presses a button that is then disabled loses the place. It is not seen.

    >>> import ipywidgets
    >>> box = ipywidgets.VBox([ipywidgets.Button(description="Run"), KeyGuard()])
    """

    _esm = traitlets.Unicode().tag(sync=True)

    @traitlets.default("_esm")
    def _read_esm(self) -> str:
        return page_code(STATIC, SCRIPTS)
