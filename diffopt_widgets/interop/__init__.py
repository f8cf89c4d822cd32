"""Settings as other programs read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffopt_widgets.settings import Settings


def export(settings: Settings, to: str = "python") -> str:
    """Write settings for another program.

    Args:
        settings: what to write.
        to: `"python"`, plain torch code.

    Raises:
        ValueError: there is no such form.
    """
    from diffopt_widgets.interop.code import to_python

    writers = {"python": to_python}
    if to not in writers:
        raise ValueError(f"cannot export to {to!r}; there is {', '.join(writers)}")
    return writers[to](settings)
