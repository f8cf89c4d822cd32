"""Reader for DAdaptAdamPreprint, the first version of DAdaptAdam, which kohya's scripts call `DAdaptation`.

Source: dadaptation 3.2, `dadaptation.experimental`.
"""

from __future__ import annotations

from diffopt_widgets.rates.estimating import DAdaptAdam


class DAdaptAdamPreprint(DAdaptAdam):
    """Reader of the same rate; the sums behind its raw estimate are not kept."""

    def d_hat(self) -> None:
        """Return None: the raw estimate is not known."""
