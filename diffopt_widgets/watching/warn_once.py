"""Telling something once, in a way that cannot end the training."""

from __future__ import annotations

import logging
import warnings

_log = logging.getLogger(__name__)


class WarnOnce:
    """Warns of each thing once.

    >>> import warnings
    >>> tell = WarnOnce()
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     tell("disk", "the disk is full"); tell("disk", "the disk is full")
    >>> [str(warning.message) for warning in seen]
    ['the disk is full']
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, what: str, text: str, *, stacklevel: int = 3) -> None:
        """Tell a text, if nothing was told under this name before.

        Where warnings are made errors it is logged instead.
        """
        if what in self._told:
            return
        self._told.add(what)
        try:
            warnings.warn(text, stacklevel=stacklevel)
        except UserWarning:
            _log.warning(text)
