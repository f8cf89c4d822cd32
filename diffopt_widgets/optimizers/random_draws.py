"""Seeding of the random numbers that an optimizer draws in its steps, so that a run can be repeated to the bit."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from diffopt_widgets.optimizers.quirks import quirks_of
from diffopt_widgets.tasks.seeds import seeded

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.settings import Settings


class RandomDraws:
    """Global random numbers that the steps of one optimizer draw from.

    Args:
        settings: of the optimizer.
        dtype: precision of the weights.
        device: of the weights.
    """

    def __init__(self, settings: Settings, dtype: str, device: torch.device) -> None:
        self._sources = drawn_from(settings, dtype)
        self._quirks = quirks_of(settings.spec.package)
        self._device = device

    def seeded(self, seed: int) -> contextlib.AbstractContextManager[None]:
        """Return a context in which the random numbers of a step start from a seed; it restores torch's own generators."""
        if "package" in self._sources:
            self._quirks.seed(seed, self._device)
        return seeded(seed, self._device) if "torch" in self._sources else contextlib.nullcontext()


def drawn_from(settings: Settings, dtype: str) -> frozenset[str]:
    """Return the sources of global random numbers of a step, as in `Use.draws`, for weights of this precision.

    >>> from diffopt_widgets import Settings
    >>> sorted(drawn_from(Settings("ADAMW_ADV"), "bfloat16")), sorted(drawn_from(Settings("ADAMW_ADV"), "float32"))
    (['package'], [])
    """
    active = (use for use in settings.spec.uses if use.only_in in {"", dtype} and settings.options[use.name])
    return frozenset(use.draws for use in active if use.draws)
