"""What each option does on the GPU: tried by the product's own probe, and named beside what the CPU showed."""

import json
from collections import Counter

import pytest

from diffopt_widgets.catalogue import evidence as probed
from diffopt_widgets.catalogue import list_optimizers, spec
from diffopt_widgets.catalogue.evidence import Finding, Probed, Seen
from diffopt_widgets.probe.prober import Prober
from diffopt_widgets.probe.table import disagreements, installed

NAMED = ("live", "inert", "unavailable", "elsewhere", "untried")


def tried(rows, device, keys):
    """Return what is seen of each option, one optimizer after the other; what cannot be tried is untried, with why."""
    seen = {}
    for key in rows.each(keys):
        prober, seen[key] = Prober(spec(key), device), {}
        for use in prober.uses:
            with rows.failing(f"{key}.{use.name}"):
                seen[key][use.name] = Finding(Seen.UNTRIED, "it could not be tried")
                seen[key][use.name] = prober.find(use)
    return seen


def counted(findings):
    count = Counter(finding.seen.value for options in findings for finding in options.values())
    return ", ".join(f"{count[name]} {name}" for name in NAMED if count[name])


def differences(seen, cpu):
    """Return each option of which the devices show something else, in a sentence."""
    return [
        f"{key}.{name}: {cpu[key][name].seen.value} on the CPU, {finding.seen.value} here ({finding.words})"
        for key, options in seen.items()
        for name, finding in options.items()
        if finding.seen is not cpu[key][name].seen
    ]


@pytest.fixture(scope="module")
def seen(rows):
    """Every option of every optimizer, tried now on the GPU, or in a dry run on the CPU."""
    keys = sorted(list_optimizers(), key=lambda key: spec(key).package != "bitsandbytes")  # those may differ most
    found = tried(rows, rows.device, keys)
    whole = {key: found[key] for key in list_optimizers() if key in found}
    table = Probed(installed(list_optimizers()), whole)
    rows.fact("probed", {rows.device: json.loads(probed.write_table({rows.device: table}))[rows.device]})
    return table


def test_each_package_is_what_the_catalogue_says(rows, seen):
    cpu = probed.table()["cpu"].findings
    for package in dict.fromkeys(spec(key).package for key in list_optimizers()):
        mine = {key: options for key, options in seen.findings.items() if spec(key).package == package}
        if not mine:
            continue
        beside = counted(cpu[key] for key in mine)
        said = disagreements(Probed(seen.versions, mine))
        apart = differences(mine, cpu)
        words = counted(mine.values()) + ("; " + "; ".join(apart) if apart else "")
        if rows.device == "cuda":
            rows.add(f"{package}, {len(mine)} optimizers", beside, device="cpu")
        rows.add(f"{package}, {len(mine)} optimizers", words, not said, differ=len(apart), disagree=said)
    assert rows.missed() == []
