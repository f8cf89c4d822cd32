"""The probe over the whole catalogue: making its table, and holding the table and the catalogue against what is seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import metadata

from diffopt_widgets.catalogue import evidence as probed
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.evidence import Finding, Probed
from diffopt_widgets.probe.prober import Prober
from diffopt_widgets.probe.values import ProbeError
from diffopt_widgets.probe.words import listed
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
    for package in {"torch", *(package for key in optimizers for package in _behind(key))}:
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
        if changed.isdisjoint(_behind(key)):
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


def lacking(key: str, device: str = "cpu") -> str:
    """Say which evidence of one optimizer the table lacks, with the command that adds it; empty where it is complete.

    Nothing is tried: whether the table is right is for `faults`.

    >>> lacking("SGD")
    ''
    """
    part = probed.table().get(device)
    kept = part.findings.get(key, {}) if part else {}
    names = [use.name for use in (spec(key).lr, *spec(key).uses)]
    missing = [name for name in names if name not in kept]
    gone = [name for name in kept if name not in names]
    if not missing and not gone:
        return ""
    said = [f"has no evidence of {listed(missing)}"] if missing else []
    said += [f"has evidence of {listed(gone)}, which it does not take"] if gone else []
    on = "" if device == "cpu" else f" --device {device}"
    return f"{key} {listed(said)} ({probed.DEVICES[device]}). To make it: diffopt probe --write {key}{on}"


def check_versions(keys: Collection[str], device: str) -> None:
    """Check that parts of the table that are tried anew are of the same versions as the parts that stay.

    Raises:
        ProbeError: they would not be; the message names the packages.
    """
    kept = _written().get(device)
    if kept is None:
        return
    staying = {
        package for key in kept.findings if key in list_optimizers() and key not in keys for package in _behind(key)
    }
    changed = [
        f"{name} {kept.versions[name]} made it and {version} is installed"
        for name, version in sorted(installed(keys).items())
        if name in staying and kept.versions.get(name, version) != version
    ]
    if changed:
        raise ProbeError(
            f"the rest of the table is of another version: {listed(changed)}. Install that version, or write the table whole: "
            "diffopt probe --write"
        )


def write(seen: Probed, device: str) -> None:
    """Write what was seen of some optimizers on a device into the table that is checked in; the others keep what they have.

    Raises:
        ProbeError: those others were seen with other versions of the same packages.
    """
    check_versions(seen.findings, device)
    table = _written()
    kept = table.get(device, Probed({}, {}))
    found = {**kept.findings, **seen.findings}
    findings = {key: found[key] for key in list_optimizers() if key in found}
    needed = {package for key in findings for package in _behind(key)}
    versions = {name: version for name, version in {**kept.versions, **seen.versions}.items() if name in needed}
    probed.TABLE.write_text(probed.write_table({**table, device: Probed(versions, findings)}), "utf-8")


def _written() -> dict[str, Probed]:
    """The table as it stands in its file now."""
    return probed.read_table(probed.TABLE.read_text("utf-8")) if probed.TABLE.exists() else {}


def _behind(key: str) -> tuple[str, str]:
    """The packages whose versions decide what is seen of an optimizer."""
    return "torch", spec(key).package
