"""What each option was seen to do in runs: the table that `diffopt probe --write` makes, beside this file as JSON.

Reading it loads no back end; `training.probe` says how it is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from diffopt_widgets.catalogue.schema import REQUIREMENTS, OptimizerSpec, Standing, Use

TABLE = Path(__file__).with_name("evidence.json")
DEVICES = {"cpu": "CPU", "cuda": "NVIDIA GPU"}
"""The devices that can have a part in the table, and how a sentence names them."""


class Seen(Enum):
    """What the runs showed."""

    LIVE = "live"  # the weights differ
    INERT = "inert"  # the weights are the same, to the bit
    UNAVAILABLE = "unavailable"  # the back end does not take it, or raises
    ELSEWHERE = "elsewhere"  # the weights are the same, as they should be: it changes the speed, the log, …
    UNTRIED = "untried"  # what it needs was not there

    def agrees(self, standing: Standing) -> bool:
        """Whether the catalogue may say so; what could not be tried contradicts nothing."""
        if self is Seen.UNTRIED:
            return True
        return standing.value == ("live" if self is Seen.ELSEWHERE else self.value)


_STANDINGS = {
    Standing.INERT: "accepted here, changes nothing",
    Standing.UNAVAILABLE: "not available here",
    Standing.UNCATALOGUED: "not catalogued: whether it changes the run, and for which values, is not known",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one option was seen to do for one optimizer, with the evidence in words."""

    seen: Seen
    words: str
    """What was changed and what came of it: "0.9 → 0.45: the weights first differ at step 2"."""
    step: int | None = None
    """The first step after which the weights differ; None where they never did."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was seen on one device, by optimizer and option, and the versions of the packages that were seen."""

    versions: Mapping[str, str]
    findings: Mapping[str, Mapping[str, Finding]]


def findings(optimizer: str, option: str) -> dict[str, Finding]:
    """What was seen of an option, by device; empty where nobody looked yet."""
    return {
        device: probed.findings[optimizer][option]
        for device, probed in table().items()
        if option in probed.findings.get(optimizer, {})
    }


def evidence(found: OptimizerSpec, option: str) -> str:
    """What was seen of an option in a sentence, with the device and the versions; "" where nobody looked yet."""
    looked = findings(found.key, option)
    tried = {device: finding for device, finding in looked.items() if finding.seen is not Seen.UNTRIED} or looked
    return "; ".join(_sentence(found, device, finding) for device, finding in tried.items())


def effect(found: OptimizerSpec, use: Use) -> str:
    """What changing an option does here, in words: no more than was seen.

    >>> from diffopt_widgets.catalogue import spec
    >>> effect(spec("ADAMW"), spec("ADAMW").use("beta1")), effect(spec("ADAMW"), spec("ADAMW").use("foreach"))
    ('changing it changes the run', 'it changes how a step is done, and not the weights')
    """
    if use.standing is not Standing.LIVE:
        words = _STANDINGS[use.standing]
        return f"{words}: {use.reason}" if use.reason else words
    if untried(found.key, use.name):
        return "not seen yet, since what it needs was not there"
    if use.only_in:
        return f"only with {REQUIREMENTS[use.only_in]} does it change a run (Weights in the run bar, dtype in code)"
    seen = {finding.seen for finding in findings(found.key, use.name).values()}
    if Seen.ELSEWHERE in seen and Seen.LIVE not in seen:
        return "it changes how a step is done, and not the weights"
    return "changing it changes the run"


def untried(optimizer: str, option: str) -> bool:
    """Whether an option was looked at and could be tried nowhere."""
    seen = {finding.seen for finding in findings(optimizer, option).values()}
    return seen == {Seen.UNTRIED}


def _sentence(found: OptimizerSpec, device: str, finding: Finding) -> str:
    if finding.seen is Seen.UNTRIED:
        return finding.words
    versions = table()[device].versions
    named = [f"{package} {versions[package]}" for package in dict.fromkeys(("torch", found.package))]
    return f"{finding.words} ({', '.join([DEVICES[device], *named])})"


@cache
def table() -> dict[str, Probed]:
    """The table as it is checked in, by device. Not to be changed."""
    return read_table(TABLE.read_text("utf-8"))


def read_table(text: str) -> dict[str, Probed]:
    """The table by device, from the JSON that `write_table` makes."""
    return {
        device: Probed(
            part["versions"],
            {
                key: {
                    name: Finding(Seen(found["seen"]), found["words"], found.get("step"))
                    for name, found in options.items()
                }
                for key, options in part["optimizers"].items()
            },
        )
        for device, part in json.loads(text).items()
    }


def write_table(table: Mapping[str, Probed]) -> str:
    """The table as JSON, one option to a line, so that a change reads as what it is.

    >>> once = {"cpu": Probed({"torch": "2.13.0"}, {"SGD": {"lr": Finding(Seen.LIVE, "0.1 → 1: …", 1)}})}
    >>> read_table(write_table(once)) == once
    True
    """
    parts = (f'  "{device}": {{\n{_part(probed)}\n  }}' for device, probed in table.items())
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _part(probed: Probed) -> str:
    versions = ",\n".join(f"      {_json(name)}: {_json(version)}" for name, version in sorted(probed.versions.items()))
    optimizers = ",\n".join(
        f"      {_json(key)}: {{\n" + ",\n".join(_line(name, found) for name, found in options.items()) + "\n      }"
        for key, options in probed.findings.items()
    )
    return f'    "versions": {{\n{versions}\n    }},\n    "optimizers": {{\n{optimizers}\n    }}'


def _line(name: str, finding: Finding) -> str:
    step = {} if finding.step is None else {"step": finding.step}
    return f"        {_json(name)}: {_json({'seen': finding.seen.value, **step, 'words': finding.words})}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
