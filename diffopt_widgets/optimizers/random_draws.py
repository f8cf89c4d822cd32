"""Which random numbers an optimizer draws in its steps, so that the loop can seed them: a run then goes on bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from diffopt_widgets.settings import Settings


def drawn_from(settings: Settings, dtype: str) -> frozenset[str]:
    """Whose global random numbers a step draws from, as `Use.draws` names them, with weights of this precision.

    >>> from diffopt_widgets import Settings
    >>> sorted(drawn_from(Settings("ADAMW_ADV"), "bfloat16")), sorted(drawn_from(Settings("ADAMW_ADV"), "float32"))
    (['adv_optm'], [])
    """
    felt = (use for use in settings.spec.uses if use.only_in in {"", dtype} and settings.options[use.name])
    return frozenset(use.draws for use in felt if use.draws)


def seed_adv_optm(seed: int, device: torch.device) -> None:
    """Seed the generator that all of adv_optm's optimizers on a device round with."""
    from adv_optm.util.param_update import get_generator

    get_generator(device).manual_seed(seed)
