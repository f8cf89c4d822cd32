"""Whether the packages behind an optimizer are there, in a version that fits: asked without importing any of them.

The versions that fit are those that this package's own metadata asks for.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.specifiers import SpecifierSet

    from diffopt_widgets.catalogue.schema import OptimizerSpec

_OURS = "diffopt-widgets"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an optimizer cannot run here, and what to do."""

    mark: str
    """In two words, for a menu: "not installed"."""
    reason: str
    """As a sentence without its full stop: "prodigyopt is not installed"."""
    fix: str
    """The command that fixes it: `pip install --upgrade "prodigyopt>=1.1.2"`."""

    def __str__(self) -> str:
        return f"{self.reason}. To fix it: {self.fix}"


def troubles(entries: Iterable[OptimizerSpec]) -> dict[str, Trouble]:
    """Why optimizers of the catalogue cannot run here, by key; those of which nothing is known are left out.

    A class outside the catalogue is imported already, so its package is there.

    >>> from diffopt_widgets.catalogue import spec
    >>> troubles([spec("PRODIGY")])
    {}
    """
    wanted = _wanted()
    sources = {("torch", "torch"): package_trouble("torch", "torch", wanted)}
    found: dict[str, Trouble] = {}
    for entry in entries:
        if entry.catalogued:
            module = entry.target.partition(":")[0]
            if module.startswith(f"{__package__.partition('.')[0]}."):  # a class of ours, on top of a package
                module = entry.package
            source = (entry.package, module)
            if source not in sources:
                sources[source] = package_trouble(*source, wanted)
            if why := sources["torch", "torch"] or sources[source]:
                found[entry.key] = why
    return found


def trouble(entry: OptimizerSpec) -> Trouble | None:
    """The same for one optimizer; None when nothing is known that would keep it from running."""
    return troubles([entry]).get(entry.key)


def package_trouble(package: str, module: str, wanted: Mapping[str, SpecifierSet] | None = None) -> Trouble | None:
    """Why a package cannot be used; None when it is there.

    Args:
        package: as pip knows it.
        module: a module of it.
        wanted: the versions that fit, by canonical name; those of this package's metadata when not given.

    >>> str(package_trouble("no-such-package", "no_such_module"))
    'no-such-package is not installed. To fix it: pip install --upgrade no-such-package'
    """
    versions = (_wanted() if wanted is None else wanted).get(_canonical(package))
    if not _is_there(module.partition(".")[0]):
        return Trouble("not installed", f"{package} is not installed", _command(package, versions))
    version = installed_version(package)
    return None if version is None else _version_trouble(package, version, versions)


def version_trouble(package: str, version: str) -> Trouble | None:
    """Why an installed version of a package does not fit; None when it does.

    >>> print(version_trouble("prodigyopt", "0.1"))
    prodigyopt 0.1 is installed, and >=1.1.2 is needed. To fix it: pip install --upgrade "prodigyopt>=1.1.2"
    """
    return _version_trouble(package, version, _wanted().get(_canonical(package)))


def _version_trouble(package: str, version: str, versions: SpecifierSet | None) -> Trouble | None:
    if versions is None or versions.contains(version, prereleases=True):
        return None
    reason = f"{package} {version} is installed, and {versions} is needed"
    return Trouble("other version", reason, _command(package, versions))


def upgrade(package: str) -> str:
    """The command that installs a version of a package that fits, whatever is there.

    >>> upgrade("no-such-package")
    'pip install --upgrade no-such-package'
    """
    return _command(package, _wanted().get(_canonical(package)))


def _command(package: str, versions: SpecifierSet | None) -> str:
    return f'pip install --upgrade "{package}{versions}"' if versions else f"pip install --upgrade {package}"


def installed_version(package: str) -> str | None:
    """The version of a package; None when it is not installed as one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _wanted() -> dict[str, SpecifierSet]:
    """The versions of other packages that this one works with, by canonical name."""
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(_OURS) or []
    except metadata.PackageNotFoundError:  # run from a folder
        return {}
    asked = [Requirement(line) for line in lines if ";" not in line]  # those of extras have a condition
    return {_canonical(found.name): found.specifier for found in asked if found.specifier}


def _canonical(package: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(package)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it was put together by hand, and is there
        return True
