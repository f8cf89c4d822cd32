"""Evidence: the observed effect of each option in runs. `diffopt probe --write` makes the table, a JSON file beside this one.

Reading it loads no back end; see `diffopt_widgets.probe` for how it is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from diffopt_widgets.catalogue.schema import REQUIREMENTS, OptimizerSpec, Standing, Use
from diffopt_widgets.plain_text import printed_readably

TABLE = Path(__file__).with_name("evidence.json")
DEVICES = {"cpu": "CPU", "cuda": "NVIDIA GPU"}
"""Devices that the table can have, with their names in a sentence."""


class Seen(Enum):
    """Observed effect of an option."""

    LIVE = "live"  # the weights differ
    INERT = "inert"  # the weights are the same, to the bit
    UNAVAILABLE = "unavailable"  # the back end does not take it, or raises
    ELSEWHERE = "elsewhere"  # the weights are the same, as they should be: it changes the speed, the log, …
    UNTRIED = "untried"  # something that it needs was missing

    def agrees(self, standing: Standing) -> bool:
        """Return whether the catalogue's standing fits; an option that could not be tried fits every standing."""
        if self is Seen.UNTRIED:
            return True
        return standing.value == ("live" if self is Seen.ELSEWHERE else self.value)


_STANDINGS = {
    Standing.INERT: "accepted here, changes nothing",
    Standing.UNAVAILABLE: "not available here",
    Standing.UNCATALOGUED: "not catalogued: whether it changes the run, and for which values, is not known",
}


@printed_readably
@dataclass(frozen=True, slots=True)
class Finding:
    """Observed effect of one option of one optimizer, with the evidence as text."""

    seen: Seen
    words: str
    """Change and its result: "0.9 → 0.45: the weights first differ at step 2"."""
    step: int | None = None
    """First step after which the weights differ; None if they never do."""


@printed_readably
@dataclass(frozen=True, slots=True)
class Probed:
    """Findings on one device, by optimizer and option, with the versions of the packages."""

    versions: Mapping[str, str]
    findings: Mapping[str, Mapping[str, Finding]]


def findings(optimizer: str, option: str) -> dict[str, Finding]:
    """Return the findings about an option, by device; empty if it was never probed."""
    return {
        device: probed.findings[optimizer][option]
        for device, probed in table().items()
        if option in probed.findings.get(optimizer, {})
    }


def evidence(entry: OptimizerSpec, option: str) -> str:
    """Describe the findings about an option, with device and versions; "" if it was never probed."""
    by_device = findings(entry.key, option)
    tried = {device: finding for device, finding in by_device.items() if finding.seen is not Seen.UNTRIED} or by_device
    return "; ".join(_sentence(entry, device, finding) for device, finding in tried.items())


def effect(entry: OptimizerSpec, use: Use) -> str:
    """Describe the effect of changing an option, as far as it was observed.

    >>> from diffopt_widgets.catalogue import spec
    >>> effect(spec("ADAMW"), spec("ADAMW").use("beta1")), effect(spec("ADAMW"), spec("ADAMW").use("foreach"))
    ('changing it changes the run', 'it changes how a step is done, and not the weights')
    """
    if use.standing is not Standing.LIVE:
        text = _STANDINGS[use.standing]
        return f"{text}: {use.reason}" if use.reason else text
    if untried(entry.key, use.name):
        return "not seen yet, since what it needs was not there"
    if use.only_in:
        return f"only with {REQUIREMENTS[use.only_in]} does it change a run (Weights in the run bar, dtype in code)"
    seen = {finding.seen for finding in findings(entry.key, use.name).values()}
    if Seen.ELSEWHERE in seen and Seen.LIVE not in seen:
        return "it changes how a step is done, and not the weights"
    return "changing it changes the run"


def untried(optimizer: str, option: str) -> bool:
    """Return whether an option was probed but could not be tried on any device."""
    seen = {finding.seen for finding in findings(optimizer, option).values()}
    return seen == {Seen.UNTRIED}


def _sentence(entry: OptimizerSpec, device: str, finding: Finding) -> str:
    if finding.seen is Seen.UNTRIED:
        return finding.words
    versions = table()[device].versions
    named = [f"{package} {versions[package]}" for package in dict.fromkeys(("torch", entry.package))]
    return f"{finding.words} ({', '.join([DEVICES[device], *named])})"


@cache
def table() -> dict[str, Probed]:
    """Return the checked-in table, by device; do not change it."""
    return read_table(TABLE.read_text("utf-8"))


def read_table(text: str) -> dict[str, Probed]:
    """Read the table by device from the JSON that `write_table` makes."""
    return {
        device: Probed(
            part["versions"],
            {
                key: {
                    name: Finding(Seen(finding["seen"]), finding["words"], finding.get("step"))
                    for name, finding in options.items()
                }
                for key, options in part["optimizers"].items()
            },
        )
        for device, part in json.loads(text).items()
    }


def write_table(table: Mapping[str, Probed]) -> str:
    """Write the table as JSON with one option on each line, so that a diff is easy to read.

    >>> probed = {"cpu": Probed({"torch": "2.13.0"}, {"SGD": {"lr": Finding(Seen.LIVE, "0.1 → 1: …", 1)}})}
    >>> read_table(write_table(probed)) == probed
    True
    """
    parts = (f'  "{device}": {{\n{_part(probed)}\n  }}' for device, probed in table.items())
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _part(probed: Probed) -> str:
    versions = ",\n".join(f"      {_json(name)}: {_json(version)}" for name, version in sorted(probed.versions.items()))
    optimizers = ",\n".join(
        f"      {_json(key)}: {{\n"
        + ",\n".join(_line(name, finding) for name, finding in options.items())
        + "\n      }"
        for key, options in probed.findings.items()
    )
    return f'    "versions": {{\n{versions}\n    }},\n    "optimizers": {{\n{optimizers}\n    }}'


def _line(name: str, finding: Finding) -> str:
    step = {} if finding.step is None else {"step": finding.step}
    return f"        {_json(name)}: {_json({'seen': finding.seen.value, **step, 'words': finding.words})}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
