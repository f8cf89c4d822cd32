"""The probe over the whole catalogue: making its table, and holding the table and the catalogue against what is seen."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from diffopt_widgets.catalogue import evidence as probed
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.evidence import Finding, Probed
from diffopt_widgets.probe.prober import Prober
from diffopt_widgets.probe.values import ProbeError
from diffopt_widgets.training.loop import find_device


def probe(optimizers: Iterable[str] | None = None, device: str = "cpu") -> Probed:
    """Try every option of some optimizers (all when None) on one device.

    Args:
        optimizers: keys of the catalogue.
        device: `"cpu"` or `"cuda"`.

    Raises:
        MissingBackend: the device is not there.
        ProbeError: options cannot be tried; the message names each of them and says what to add.
    """
    find_device(device)
    found: dict[str, dict[str, Finding]] = {}
    problems = []
    for key in list_optimizers() if optimizers is None else optimizers:
        prober, found[key] = Prober(spec(key), device), {}
        for use in prober.uses:
            try:
                found[key][use.name] = prober.find(use)
            except ProbeError as error:
                problems.append(str(error))
    if problems:
        raise ProbeError("\n".join(problems))
    return Probed(installed(found), found)


def installed(optimizers: Iterable[str]) -> dict[str, str]:
    """The installed versions of torch and of the packages of some optimizers, without the mark of the build.

    >>> sorted(installed(["PRODIGY"]))
    ['prodigyopt', 'torch']
    """
    versions = {}
    for package in {"torch", *(spec(key).package for key in optimizers)}:
        try:
            versions[package] = metadata.version(package).partition("+")[0]
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def disagreements(probed: Probed) -> list[str]:
    """Where the catalogue says something else than was seen, one sentence for each, with what to do."""
    return [
        f"{key}.{name}: the catalogue says {spec(key).use(name).standing.value}, the runs say {finding.seen.value} "
        f"({finding.words}). Fix the catalogue; or, if the option needs something before it can act, add that to NEEDS "
        "of probe/values.py."
        for key, options in probed.findings.items()
        for name, finding in options.items()
        if not finding.seen.agrees(spec(key).use(name).standing)
    ]


def outdated(kept: Probed, seen: Probed) -> list[str]:
    """Where a kept table differs from what was seen now, one sentence for each.

    Of optimizers whose package, or torch, has another version now, only that is said.
    """
    found = []
    changed = {name for name, version in seen.versions.items() if kept.versions.get(name, version) != version}
    found += [
        f"{name}: the table was made with {kept.versions[name]}, {seen.versions[name]} is installed"
        for name in sorted(changed)
    ]
    for key, options in seen.findings.items():
        if not changed & {"torch", spec(key).package}:
            before = kept.findings.get(key, {})
            found += [f"{key}.{name}: it is no option any more" for name in before if name not in options]
            found += [
                f"{key}.{name}: the table says {before[name].words!r}, seen was {finding.words!r}"
                if name in before
                else f"{key}.{name}: it is not in the table"
                for name, finding in options.items()
                if before.get(name) != finding
            ]
    return found


def faults(seen: Probed, device: str) -> list[str]:
    """Everything in which the catalogue or the table that is checked in differs from what was seen on a device."""
    kept = probed.table().get(device)
    return disagreements(seen) + (outdated(kept, seen) if kept else [])


def write(seen: Probed, device: str) -> None:
    """Write what was seen of the whole catalogue on a device into the table that is checked in."""
    probed.TABLE.write_text(probed.write_table({**probed.table(), device: seen}), "utf-8")
