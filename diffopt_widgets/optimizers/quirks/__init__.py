"""Quirks of single packages, each in a file of its own. The rest of the package calls `quirks_of(package)` only."""

from __future__ import annotations

from diffopt_widgets.optimizers.quirks.adv_optm import AdvOptmQuirks
from diffopt_widgets.optimizers.quirks.package_quirks import PackageQuirks

_QUIRKS = {"adv_optm": AdvOptmQuirks()}
_NONE = PackageQuirks()


def quirks_of(package: str) -> PackageQuirks:
    """Return the quirks of a package, by its name as in `OptimizerSpec.package`."""
    return _QUIRKS.get(package, _NONE)


__all__ = ["PackageQuirks", "quirks_of"]
