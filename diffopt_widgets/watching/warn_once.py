"""WarnOnce: one warning per topic, which never ends the training."""

from __future__ import annotations

import logging
import warnings

from diffopt_widgets.plain_text import printable

_log = logging.getLogger(__name__)


class WarnOnce:
    """Warn once per topic, and never raise.

    >>> import warnings
    >>> warn = WarnOnce()
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("disk", "the disk is full"); warn("disk", "the disk is full")
    >>> [str(warning.message) for warning in caught]
    ['the disk is full']
    """

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def __call__(self, topic: str, text: str, *, stacklevel: int = 3) -> None:
        """Warn with this text, unless there was a warning on this topic before.

        When warnings are errors, the text is logged instead.
        """
        if topic in self._warned:
            return
        self._warned.add(topic)
        try:
            warnings.warn(printable(text), stacklevel=stacklevel)
        except UserWarning:
            _log.warning(text)
