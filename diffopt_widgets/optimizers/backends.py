"""Check that the packages behind an optimizer are installed in a suitable version, without importing any of them.

The suitable versions are those in this package's own metadata.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from diffopt_widgets.plain_text import printed_readably

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.specifiers import SpecifierSet

    from diffopt_widgets.catalogue.schema import OptimizerSpec

_OURS = "diffopt-widgets"


@printed_readably
@dataclass(frozen=True, slots=True)
class Trouble:
    """Reason why an optimizer cannot run here, and its fix."""

    mark: str
    """Reason in two words, for a menu: "not installed"."""
    reason: str
    """Reason as a sentence without its full stop: "prodigyopt is not installed"."""
    fix: str
    """Command that fixes it: `pip install --upgrade "prodigyopt>=1.1.2"`."""

    def __str__(self) -> str:
        return f"{self.reason}. To fix it: {self.fix}"


def troubles(entries: Iterable[OptimizerSpec]) -> dict[str, Trouble]:
    """Find the optimizers of the catalogue that cannot run here, by key, each with its reason.

    A class outside the catalogue is already imported, so its package is there.

    >>> from diffopt_widgets.catalogue import spec
    >>> troubles([spec("PRODIGY")])
    {}
    """
    suitable = _suitable()
    sources = {("torch", "torch"): package_trouble("torch", "torch", suitable)}
    by_key: dict[str, Trouble] = {}
    for entry in entries:
        if entry.catalogued:
            module = entry.target.partition(":")[0]
            if module.startswith(
                f"{__package__.partition('.')[0]}."
            ):  # this package's class, on top of another package
                module = entry.package
            source = (entry.package, module)
            if source not in sources:
                sources[source] = package_trouble(*source, suitable)
            if why := sources["torch", "torch"] or sources[source]:
                by_key[entry.key] = why
    return by_key


def trouble(entry: OptimizerSpec) -> Trouble | None:
    """Find the reason why one optimizer cannot run here; None when there is none."""
    return troubles([entry]).get(entry.key)


def package_trouble(package: str, module: str, suitable: Mapping[str, SpecifierSet] | None = None) -> Trouble | None:
    """Find the reason why a package cannot be used; None when it can.

    Args:
        package: its name for pip.
        module: a module of it.
        suitable: the suitable versions, by canonical name; None takes them from this package's metadata.

    >>> str(package_trouble("no-such-package", "no_such_module"))
    'no-such-package is not installed. To fix it: pip install --upgrade no-such-package'
    """
    versions = (_suitable() if suitable is None else suitable).get(_canonical(package))
    if not _is_there(module.partition(".")[0]):
        return Trouble("not installed", f"{package} is not installed", _command(package, versions))
    version = installed_version(package)
    return None if version is None else _version_trouble(package, version, versions)


def version_trouble(package: str, version: str) -> Trouble | None:
    """Find the reason why an installed version of a package is not suitable; None when it is.

    >>> print(version_trouble("prodigyopt", "0.1"))
    prodigyopt 0.1 is installed, and >=1.1.2 is needed. To fix it: pip install --upgrade "prodigyopt>=1.1.2"
    """
    return _version_trouble(package, version, _suitable().get(_canonical(package)))


def _version_trouble(package: str, version: str, versions: SpecifierSet | None) -> Trouble | None:
    if versions is None or versions.contains(version, prereleases=True):
        return None
    reason = f"{package} {version} is installed, and {versions} is needed"
    return Trouble("other version", reason, _command(package, versions))


def upgrade(package: str) -> str:
    """Return the command that installs a suitable version of a package, whatever is installed.

    >>> upgrade("no-such-package")
    'pip install --upgrade no-such-package'
    """
    return _command(package, _suitable().get(_canonical(package)))


def _command(package: str, versions: SpecifierSet | None) -> str:
    return f'pip install --upgrade "{package}{versions}"' if versions else f"pip install --upgrade {package}"


def installed_version(package: str) -> str | None:
    """Return the installed version of a package; None when it is not installed as a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _suitable() -> dict[str, SpecifierSet]:
    """Return the versions of other packages that this one works with, by canonical name."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(_OURS) or []
    except metadata.PackageNotFoundError:  # run from a folder
        return {}
    requirements = [Requirement(line) for line in lines if ";" not in line]  # those of extras have a condition
    return {_canonical(one.name): one.specifier for one in requirements if one.specifier}


def _canonical(package: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(package)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module that was made by hand, and exists
        return True
