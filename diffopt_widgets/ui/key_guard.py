"""KeyGuard: makes a box of plain ipywidgets usable by the keyboard alone."""

from __future__ import annotations

import pathlib

from diffopt_widgets.pages import PageWidget


class KeyGuard(PageWidget):
    """Put among the children of a box: plain keys stay inside that box, and so does the focus of a button switched off.

    Without it a notebook takes an arrow on a menu, or a letter on a button, for one of its own commands, such as cutting
    the cell; and whoever presses a button that is then disabled loses the place. A field in a box of class `dw-wrong` is
    marked as invalid for those who hear it. It is not seen.

    >>> import ipywidgets
    >>> box = ipywidgets.VBox([ipywidgets.Button(description="Run"), KeyGuard()])
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("../../plot/static/keep_keys.js", "key_guard.js")
    STYLES = ()
