"""StandIn: what a saved page shows in place of a live widget, without kernel or JavaScript."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import traitlets

from diffopt_widgets.widgets.page.html import NO_MATH, escape
from diffopt_widgets.widgets.page.page_widget import PageWidget


@dataclass(frozen=True)
class Still:
    """State of a widget, for pages without widgets."""

    html: str
    """For web pages."""
    text: str = ""
    """For text, and for LaTeX where there is no picture."""
    png: bytes | None = None
    """For LaTeX and PDF."""


_LEFT = ' style="text-align: left"'
TEXT_WIDTH = 88
"""Number of characters of a line of text, which a page of LaTeX has room for."""


def still_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, below: str = "") -> Still:
    """Make a table, as HTML and as text.

    >>> print(still_table("Two runs", ("Run", "Loss"), [("a", "0.5"), ("long", "1")], below="Both done.").text)
    Two runs
    <BLANKLINE>
    Run   Loss
    a     0.5
    long  1
    <BLANKLINE>
    Both done.
    """
    head = "".join(f'<th scope="col"{_LEFT * (i == 0)}>{escape(cell)}</th>' for i, cell in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(f'<td{_LEFT * (i == 0)}>{escape(cell)}</td>' for i, cell in enumerate(row))}</tr>"
        for row in rows
    )
    html = (
        f"<table><caption{_LEFT}>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (heads, *rows)
    ]
    parts = [textwrap.fill(title, TEXT_WIDTH), "\n".join(lines), textwrap.fill(below, TEXT_WIDTH)]
    note = f"<p><small>{escape(below)}</small></p>" if below else ""
    return Still(html + note, "\n\n".join(part for part in parts if part))


class StandIn:
    """Second display below a live widget, visible only where the live widget is not.

    That is the case in a notebook opened without its kernel, on GitHub, in nbviewer and after nbconvert. The live widget
    itself hides every element of the class `dw-for-…` with its id, as long as it is in the page.

    Args:
        own_id: id by which the live widget finds it.
    """

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self._display_id = f"dw-saved-{uuid4().hex}"
        self._still: Still | None = None

    @property
    def shown(self) -> bool:
        """True when it was displayed."""
        return self._still is not None

    def show(self, still: Still) -> None:
        """Display it; call this right after displaying the live widget. Displayed again, all its displays are the same."""
        from IPython.display import display

        self._still = still
        display(self._bundle(still), raw=True, display_id=self._display_id)

    def update(self, still: Still) -> None:
        """Show something else in every display; does nothing before `show`."""
        from IPython.display import update_display

        if self.shown:
            self._still = still
            update_display(self._bundle(still), raw=True, display_id=self._display_id)

    def renew(self, still: Still) -> None:
        """Update what has changed; a page that shows it already is left alone."""
        if self._still != still:
            self.update(still)

    def _bundle(self, still: Still) -> dict[str, str]:
        looks = f' class="dw-saved-picture dw-for-{escape(self._own_id)} {NO_MATH}"' if still.html else ""
        html = f"<div{looks}>{still.html}</div>"
        bundle = {"text/html": html, "text/plain": still.text}
        if still.png is not None:
            bundle["image/png"] = base64.b64encode(still.png).decode("ascii")
        return bundle


class StillWidget(PageWidget):
    """PageWidget that is saved with a stand-in when it is displayed alone.

    A subclass says what that shows, in `still`, and calls `renew_still` after a change. Its page is within an element that
    also has the style of `hiddenStandIn(model)`.
    """

    stand_in_id = traitlets.Unicode().tag(sync=True)
    """Id by which its stand-in refers to this widget."""

    _stand_in: StandIn | None = None
    """None while the widget is being made."""

    def __init__(self, *args: Any, **traits: Any) -> None:  # Any: a widget's traits
        own_id = uuid4().hex[:12]
        self._stand_in = StandIn(own_id)
        super().__init__(*args, stand_in_id=own_id, **traits)

    def still(self) -> Still:
        """Return what the widget shows now, for pages without widgets."""
        raise NotImplementedError

    def renew_still(self) -> None:
        """Bring the stand-in up to date, if the widget was displayed alone."""
        if self._stand_in is not None and self._stand_in.shown:
            self._stand_in.renew(self.still())

    def _ipython_display_(self, **_: Any) -> None:
        from IPython.display import display

        data, metadata = self._repr_mimebundle_() or ({}, {})  # anywidget's, with what Colab needs
        display(data, metadata=metadata, raw=True)
        if self._stand_in is not None:
            self._stand_in.show(self.still())
