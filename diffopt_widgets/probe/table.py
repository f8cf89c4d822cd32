"""Probe over the whole catalogue: it makes the table of evidence, and compares it and the catalogue with new findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from importlib import metadata

from diffopt_widgets.catalogue import evidence as probed
from diffopt_widgets.catalogue import is_path, list_optimizers, spec
from diffopt_widgets.catalogue.evidence import Finding, Probed, Seen
from diffopt_widgets.probe.values import ProbeError
from diffopt_widgets.probe.words import listed


def probe(
    optimizers: Iterable[str] | None = None, device: str = "cpu", begins: Callable[[str], object] = str
) -> Probed:
    """Try every option of some optimizers (all when None) on one device.

    Args:
        optimizers: keys of the catalogue, or paths of other classes; of these, only options for which a value can be found
            are tried.
        device: `"cpu"` or `"cuda"`.
        begins: called with each optimizer and option, as "PRODIGY d_coef", before it is tried.

    Raises:
        MissingBackend: the device is missing.
        ProbeError: some options cannot be tried; the message names each of them and what to add.
    """
    from diffopt_widgets.probe.prober import Prober
    from diffopt_widgets.training.loop import find_device

    find_device(device)
    findings: dict[str, dict[str, Finding]] = {}
    problems = []
    for key in list_optimizers() if optimizers is None else optimizers:
        prober, findings[key] = Prober(spec(key), device), {}
        for use in prober.uses:
            begins(f"{key} {use.name}")
            try:
                findings[key][use.name] = prober.find(use)
            except ProbeError as error:
                if is_path(key):  # nobody has said which values suit its options
                    words = str(error).removeprefix(f"{key}.{use.name}: ").partition(". Give ")[0]
                    findings[key][use.name] = Finding(Seen.UNTRIED, words)
                else:
                    problems.append(str(error))
    if problems:
        raise ProbeError("\n".join(problems))
    return Probed(installed(findings), findings)


def installed(optimizers: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of torch and of the packages of some optimizers, without the build tag.

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
    """Describe each difference between the catalogue and the findings in a sentence, with its fix."""
    return [
        f"{key}.{name}: the catalogue says {spec(key).use(name).standing.value}, the runs say {finding.seen.value} "
        f"({finding.words}). Fix the catalogue; or, if the option needs something before it can act, add that to NEEDS "
        "of probe/values.py."
        for key, options in probed.findings.items()
        for name, finding in options.items()
        if not is_path(key) and not finding.seen.agrees(spec(key).use(name).standing)
    ]


def outdated(table: Probed, seen: Probed) -> list[str]:
    """Describe each difference between the table and the new findings in a sentence.

    If torch or the package of an optimizer has another version now, only this is reported for the optimizer.
    """
    changed = {name for name, version in seen.versions.items() if table.versions.get(name, version) != version}
    differences = [
        f"{name}: the table was made with {table.versions[name]}, {seen.versions[name]} is installed"
        for name in sorted(changed)
    ]
    for key, options in seen.findings.items():
        if not is_path(key) and changed.isdisjoint(_behind(key)):
            before = table.findings.get(key, {})
            differences += [f"{key}.{name}: it is no longer an option" for name in before if name not in options]
            differences += [
                f"{key}.{name}: the table says {before[name].words!r}, but the runs show {finding.words!r}"
                if name in before
                else f"{key}.{name}: it is not in the table"
                for name, finding in options.items()
                if before.get(name) != finding
            ]
    return differences


def faults(seen: Probed, device: str) -> list[str]:
    """Describe each difference between the findings on a device and the catalogue or the checked-in table."""
    table = probed.table().get(device)
    return disagreements(seen) + (outdated(table, seen) if table else [])


def lacking(key: str, device: str = "cpu") -> str:
    """Describe the evidence of one optimizer that the table lacks, with the command that adds it; empty if it is complete.

    No option is tried; `faults` checks that the table is right.

    >>> lacking("SGD")
    ''
    """
    part = probed.table().get(device)
    findings = part.findings.get(key, {}) if part else {}
    names = [use.name for use in (spec(key).lr, *spec(key).uses)]
    missing = [name for name in names if name not in findings]
    gone = [name for name in findings if name not in names]
    if not missing and not gone:
        return ""
    clauses = [f"has no evidence of {listed(missing)}"] if missing else []
    clauses += [f"has evidence of {listed(gone)}, which it does not take"] if gone else []
    on = "" if device == "cpu" else f" --device {device}"
    return f"{key} {listed(clauses)} ({probed.DEVICES[device]}). To make it: diffopt probe --write {key}{on}"


def check_versions(keys: Collection[str], device: str) -> None:
    """Check that the optimizers that are probed again have the same package versions as the rest of the table.

    Raises:
        ProbeError: they have other versions; the message names the packages.
    """
    table = _written().get(device)
    if table is None:
        return
    staying = {
        package for key in table.findings if key in list_optimizers() and key not in keys for package in _behind(key)
    }
    changed = [
        f"{name} {table.versions[name]} made it and {version} is installed"
        for name, version in sorted(installed(keys).items())
        if name in staying and table.versions.get(name, version) != version
    ]
    if changed:
        raise ProbeError(
            f"the rest of the table is of another version: {listed(changed)}. Install that version, or write the table whole: "
            "diffopt probe --write"
        )


def write(seen: Probed, device: str) -> None:
    """Write the findings for some optimizers on a device into the checked-in table; the others keep theirs.

    Raises:
        ProbeError: the findings of the others are from other versions of the same packages.
    """
    check_versions(seen.findings, device)
    table = _written()
    old = table.get(device, Probed({}, {}))
    merged = {**old.findings, **seen.findings}
    findings = {key: merged[key] for key in list_optimizers() if key in merged}
    needed = {package for key in findings for package in _behind(key)}
    versions = {name: version for name, version in {**old.versions, **seen.versions}.items() if name in needed}
    probed.TABLE.write_text(probed.write_table({**table, device: Probed(versions, findings)}), "utf-8", newline="\n")


def _written() -> dict[str, Probed]:
    """Read the table from its file, as it is now."""
    return probed.read_table(probed.TABLE.read_text("utf-8")) if probed.TABLE.exists() else {}


def _behind(key: str) -> tuple[str, str]:
    """Return the packages whose versions decide the findings on an optimizer."""
    return "torch", spec(key).package
