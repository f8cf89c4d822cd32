"""PresentSwitch: shows a bench to a class, with large type and plots that fill the screen."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import traitlets

from diffopt_widgets.widgets.page.page_widget import PageWidget


class PresentSwitch(PageWidget):
    """Button that switches present mode, and its keys.

    In present mode the bench fills the screen, or the window where the browser allows no more; the form is folded, the type
    is large and the colours are strong. F on any control of the bench begins it; Escape ends it. Outside a bench it shows
    nothing.

    Args:
        keys: for each letter that acts in present mode, what it does in words, and a function that does it.

    >>> switch = PresentSwitch({"p": ("pause", lambda: print("paused"))})
    >>> switch.on, switch.letters
    (False, [['p', 'pause']])
    >>> switch.press("p")
    paused
    """

    FOLDER = pathlib.Path(__file__).parent / "static"
    SCRIPTS = ("page/dom.js", "present.js")
    STYLES = ("page/theme.css", "present.css")
    on = traitlets.Bool(help="True in present mode; set it to begin or end the mode from a cell.").tag(sync=True)
    letters: traitlets.List[Any] = traitlets.List(read_only=True, help="Letters, each with what it does.").tag(
        sync=True
    )

    def __init__(self, keys: Mapping[str, tuple[str, Callable[[], None]]]) -> None:
        self._acts = {letter: act for letter, (_, act) in keys.items()}
        self.set_trait("letters", [[letter, words] for letter, (words, _) in keys.items()])
        super().__init__()
        self.on_msg(self._receive)

    def __repr__(self) -> str:
        return f"PresentSwitch({'on' if self.on else 'off'})"

    def press(self, letter: str) -> None:
        """Do what this letter does in present mode.

        Raises:
            KeyError: the letter does nothing.
        """
        self._acts[letter]()

    def _receive(self, _: object, content: object, __: object) -> None:
        if content == {"ask": "on"}:  # of a page that was loaded anew
            self.send({"on": self.on})
        letter = content.get("press") if isinstance(content, dict) else None
        if letter in self._acts:
            self.press(str(letter))
