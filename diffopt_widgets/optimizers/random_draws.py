"""RandomDraws: seeds the random numbers that an optimizer draws in its steps, so that a run goes on bit for bit."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from diffopt_widgets.optimizers.quirks import quirks_of
from diffopt_widgets.tasks.seeds import seeded

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.settings import Settings


class RandomDraws:
    """The global random numbers that the steps of one optimizer draw from.

    Args:
        settings: of the optimizer.
        dtype: precision of the weights.
        device: where they are.
    """

    def __init__(self, settings: Settings, dtype: str, device: torch.device) -> None:
        self._sources = drawn_from(settings, dtype)
        self._quirks = quirks_of(settings.spec.package)
        self._device = device

    def seeded(self, seed: int) -> contextlib.AbstractContextManager[None]:
        """A context in which what a step draws begins with a seed; torch's own generators are then as before."""
        if "package" in self._sources:
            self._quirks.seed(seed, self._device)
        return seeded(seed, self._device) if "torch" in self._sources else contextlib.nullcontext()


def drawn_from(settings: Settings, dtype: str) -> frozenset[str]:
    """Whose global random numbers a step draws from, as `Use.draws` names them, with weights of this precision.

    >>> from diffopt_widgets import Settings
    >>> sorted(drawn_from(Settings("ADAMW_ADV"), "bfloat16")), sorted(drawn_from(Settings("ADAMW_ADV"), "float32"))
    (['package'], [])
    """
    felt = (use for use in settings.spec.uses if use.only_in in {"", dtype} and settings.options[use.name])
    return frozenset(use.draws for use in felt if use.draws)
